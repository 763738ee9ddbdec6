"""Numbers that say how much of a picture an image shows, besides those of `rwgen.metrics`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.images import resize_image

COARSE_SIDE = 16
"""Side, in pixels, of the images whose rough contours are compared."""

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, on values as they are stored


def mean_distance(image: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean Euclidean distance of pixels.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same shape.

    Returns:
        The mean over pixels of the length of the difference of both colours; from 0, for equal
        images, to 442 between black and white.
    """
    difference = image.astype(np.float64) - other.astype(np.float64)
    return float(np.mean(np.sqrt(np.sum(difference**2, axis=-1))))


def distance_of_plain(image: NDArray[Any]) -> float:
    """Mean Euclidean distance of an image to a plane of its mean colour, which shows nothing."""
    return mean_distance(image, np.broadcast_to(np.mean(image, axis=(0, 1)), image.shape))


def coarse_correlation(image: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Correlation of rough contours: of luminance, both scaled to 16x16 pixels.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same of any size.

    Returns:
        Pearson's correlation, -1..1; None where an image is plain.
    """
    small = [_coarse(x) for x in (image, other)]
    if any(np.ptp(x) == 0 for x in small):
        return None
    return float(np.corrcoef(small[0], small[1])[0, 1])


def _coarse(image: NDArray[Any]) -> NDArray[np.float64]:
    pixels = resize_image(image, COARSE_SIDE, COARSE_SIDE).astype(np.float64)
    luminance: NDArray[np.float64] = (pixels @ np.asarray(_LUMINANCE)).ravel()
    return luminance
