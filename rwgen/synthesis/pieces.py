"""Holes of an image, and the piece of the image that fits a hole best."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
from rwgen.network.preprocess import PIXEL_RANGE, check_image

PIECE_MARGIN = 8
"""Rows and columns around a hole that are compared with the surroundings of the pieces that may
fill it; a piece has as many around it in the image."""


def hole_mask(hole: ImageLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A hole as [height, width].

    Args:
        hole: the same, of bool, or an image that is white there (brighter than mid gray).
        size: (height, width) of the image that has the hole.

    Raises:
        InvalidInputError: it has another size than the image, is empty, or is the whole image.
    """
    values = as_pixels(hole)
    if values.dtype != np.bool_:
        values = check_image(values if values.ndim == 3 else np.stack([values] * 3, axis=-1))
        values = values.mean(axis=2) > PIXEL_RANGE / 2
    if values.shape != size:
        raise InvalidInputError(
            f"expected a hole of the image's size, {size[1]}x{size[0]} pixels. "
            f"Received: {'x'.join(map(str, values.shape[::-1]))}"
        )
    if not values.any() or values.all():
        received = "the whole image" if values.any() else "none of it"
        raise InvalidInputError(
            f"expected a hole, white, in an image, black elsewhere. Received: {received}"
        )
    return np.asarray(values)


def fitting_piece(
    image: NDArray[np.floating], hole: NDArray[np.bool_], *, tileable: bool = False
) -> NDArray[np.floating] | None:
    """The image, shifted so that at the hole it shows the piece that fits there best.

    That is the piece whose surroundings are most like the hole's.

    Args:
        image: [height, width, 3].
        hole: [height, width].
        tileable: whether the piece may lie across the image's borders.

    Returns:
        The same shape, shifted as on a torus; None if no piece of the hole's shape with its
        surroundings is whole.
    """
    allowed = _whole_pieces(hole, tileable=tileable)
    if not allowed.any():
        return None
    ring = (_surroundings(hole) & ~hole)[..., np.newaxis]
    pixels = (image - image.mean(axis=(0, 1))).astype(np.float64)
    distance = _correlation(ring, pixels**2) - 2 * _correlation(pixels * ring, pixels)
    distance = np.where(allowed, distance.sum(axis=2), np.inf)
    shift = np.unravel_index(distance.argmin(), hole.shape)
    return np.roll(image, (-int(shift[0]), -int(shift[1])), axis=(0, 1))


def has_piece(hole: NDArray[np.bool_], *, tileable: bool = False) -> bool:
    """Whether an image with a hole has a piece that fits; see `fitting_piece` for the arguments."""
    return bool(_whole_pieces(hole, tileable=tileable).any())


def _whole_pieces(hole: NDArray[np.bool_], *, tileable: bool) -> NDArray[np.bool_]:
    """For each shift, whether there is a whole piece of the hole's shape with its surroundings."""
    around = _surroundings(hole)
    allowed: NDArray[np.bool_] = _correlation(around, hole) < 0.5
    if not tileable:
        for axis in (0, 1):
            places = np.flatnonzero(around.any(axis=1 - axis))
            shifts = np.arange(hole.shape[axis])
            inside = shifts + places[-1] < hole.shape[axis]
            inside |= places[0] + shifts >= hole.shape[axis]  # a shift back
            allowed &= np.expand_dims(inside, 1 - axis)
    return allowed


def _surroundings(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The hole and the pixels around it that are compared."""
    around: NDArray[np.bool_] = scipy.ndimage.maximum_filter(hole, 2 * PIECE_MARGIN + 1)
    return around


def _correlation(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of first(p) second(p + shift) for every shift, on a torus."""
    product = np.fft.rfft2(first, axes=(0, 1)).conj() * np.fft.rfft2(second, axes=(0, 1))
    sums: NDArray[np.float64] = np.fft.irfft2(product, first.shape[:2], axes=(0, 1))
    return sums
