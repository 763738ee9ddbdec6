"""Regions painted on the page of `rwgen studio`, as masks for `rwgen style`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.images import fit_longest_side, read_image, resize_image
from rwgen.synthesis.regions import region_colors

COLORS = {"red": "#e5484d", "yellow": "#f5d90a", "green": "#30a46c", "blue": "#0090ff"}
"""Colors of the brush. What is not painted is black, a region as well."""

MAX_CANVAS_SIDE = 800
"""Longest side, in pixels, of what is painted on; masks are resized to their images."""


def canvas(path: str | None) -> NDArray[np.uint8] | None:
    """An image to paint regions on, [height, width, 3].

    Args:
        path: file of the image; None if there is none.

    Raises:
        ImageError: the file cannot be read.
    """
    if path is None:
        return None
    pixels = read_image(path)
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_CANVAS_SIDE:
        pixels = resize_image(pixels, *fit_longest_side(height, width, MAX_CANVAS_SIDE))
    shown: NDArray[np.uint8] = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return shown


def masks(
    content: Mapping[str, Any] | None, style: Mapping[str, Any] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Masks of the content and the style image, or None if neither is painted.

    Args:
        content: value of Gradio's editor: `layers`, each [height, width, 4] of 8 bits.
        style: the same of the style image.

    Returns:
        [height, width, 3] of each, in `COLORS` and black.

    Raises:
        InvalidInputError: a region of the content has no counterpart in the style image.
    """
    found = [_mask(value) for value in (content, style)]
    used = [set() if mask is None else _names(mask) for mask in found]
    if not (used[0] | used[1]) - {""}:
        return None
    missing = sorted(used[0] - used[1], reverse=True)  # colors first
    if found[0] is None or found[1] is None or missing or used[0] == {""}:
        received = "no color in the content"
        if missing:
            received = f"{f'no {missing[0]}' if missing[0] else 'nothing unpainted'} in the style"
            received += " image"
        raise InvalidInputError(
            "Regions: expected each color of the content in the style image too, and something "
            f"unpainted in both or in none. Received: {received}. Paint it, or erase all regions."
        )
    return found[0], found[1]


def _mask(value: Mapping[str, Any] | None) -> NDArray[np.uint8] | None:
    """Colors of the brush where it has been, black elsewhere."""
    if not value or not value["layers"]:
        return None
    palette = np.array([_rgb(color) for color in COLORS.values()])
    mask = np.zeros((*value["layers"][0].shape[:2], 3), np.uint8)
    for layer in value["layers"]:
        own = layer[..., :3].astype(int)
        # The brush has smooth edges, whose colors are between those of two regions.
        nearest = np.square(own[..., np.newaxis, :] - palette).sum(axis=-1).argmin(axis=-1)
        is_painted = layer[..., 3] > 127
        mask[is_painted] = palette[nearest[is_painted]]
    return mask


def _names(mask: NDArray[np.uint8]) -> set[str]:
    """Names of the regions' colors; empty stands for what is not painted."""
    names = {_rgb(color): name for name, color in COLORS.items()} | {(0, 0, 0): ""}
    return {names[tuple(color)] for color in region_colors(mask).tolist()}


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
