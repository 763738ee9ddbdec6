"""Margins: pixels beyond the borders of a result that a search has too, and that are cut off.

Networks continue an image beyond its border by a mirror image of it. A search uses that: what it
paints along a border counts twice, so that some styles end in a strip of one color and textures in
rows of dots there (docs/math.md, "Margins").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_SHARE = 8
"""Number of widest margins along the shorter side of a result."""


def margin_within(size: Sequence[int], margin: int) -> int:
    """The margin of a result of (height, width): as given, or less for a small result."""
    return min(margin, min(size) // LARGEST_SHARE)


def with_margin(size: Sequence[int], margin: int) -> tuple[int, int]:
    """The size (height, width) of a search for a result of `size`."""
    return size[0] + 2 * margin, size[1] + 2 * margin


def searched_size(size: Sequence[int], margin: int) -> tuple[int, int]:
    """The same with the margin that `margin_within` leaves of the one given."""
    return with_margin(size, margin_within(size, margin))


def add_margin(image: NDArray[Any], margin: int) -> NDArray[Any]:
    """Continue an image [height, width, ...] by its mirror image on all sides."""
    sides = [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, sides, mode="symmetric")


def cut_margin(image: NDArray[Any], margin: int) -> NDArray[Any]:
    """Remove the outermost pixels of an image [height, width, ...] on all sides."""
    height, width = image.shape[:2]
    return image[margin : height - margin, margin : width - margin]
