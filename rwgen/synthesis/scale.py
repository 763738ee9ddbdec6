"""The size of a style image, which decides the size of its strokes."""

from __future__ import annotations

from collections.abc import Sequence

from rwgen.images import fit_longest_side


def style_size(result: Sequence[int], scale: float, size: Sequence[int]) -> tuple[int, int]:
    """Size at which a style image is taken.

    Args:
        result: (height, width) of the result.
        scale: longest side of the style image in units of the result's.
        size: (height, width) of the style image.

    Returns:
        (height, width), never larger than `size`: an enlarged image has no more strokes.
    """
    wanted = min(scale * max(result), max(size))  # a huge scale has no integer
    return fit_longest_side(size[0], size[1], max(1, round(wanted)))
