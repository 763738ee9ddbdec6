"""Measures of how much of a picture an image shows, beyond those of `rwgen.metrics`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.images import resize_image

COARSE_SIDE = 16
"""Side in pixels of the images whose rough contours are compared."""

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, on gamma-encoded values


def mean_distance(image: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the mean Euclidean distance between pixels.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: image of the same shape.

    Returns:
        Mean over pixels of the Euclidean distance between the two colors, from 0 for equal images
        to 442 between black and white.
    """
    difference = image.astype(np.float64) - other.astype(np.float64)
    return float(np.mean(np.sqrt(np.sum(difference**2, axis=-1))))


def distance_of_plain(image: NDArray[Any]) -> float:
    """Return the mean Euclidean distance between an image and a plain image of its mean color."""
    return mean_distance(image, np.broadcast_to(np.mean(image, axis=(0, 1)), image.shape))


def coarse_correlation(image: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Return the correlation of rough contours: of luminances scaled to 16x16 pixels.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: image of any size.

    Returns:
        Pearson correlation in -1..1, or None if an image is plain.
    """
    small = [_coarse(x) for x in (image, other)]
    if any(np.ptp(x) == 0 for x in small):
        return None
    return float(np.corrcoef(small[0], small[1])[0, 1])


def _coarse(image: NDArray[Any]) -> NDArray[np.float64]:
    pixels = resize_image(image, COARSE_SIDE, COARSE_SIDE).astype(np.float64)
    luminance: NDArray[np.float64] = (pixels @ np.asarray(_LUMINANCE)).ravel()
    return luminance
