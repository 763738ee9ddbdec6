"""Colors of one image for another, by a linear map.

The content term compares features with those of the photo, and an untrained network's features are
mostly brightness and color: it holds on to the photo's palette while the style term asks for the
painting's. Given the painting's palette first, the photo holds on to its shapes only
(docs/math.md, "Colors of the content").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_VARIANCE = 1.0
"""Added to the variances of colors, in squared levels of 0..255: rounding of pixels alone gives a
uniform image about a tenth of it, which a map must not amplify."""


def match_colors(
    image: NDArray[Any], references: Sequence[NDArray[Any]], shares: Sequence[float] = (1.0,)
) -> NDArray[np.float32]:
    """Map the colors of an image linearly to the mean and covariance of others.

    Of all linear maps of colors with this result, it is the one that changes them least on average
    (Monge-Kantorovich; Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer", 2007, eq. 9).

    Args:
        image: [height, width, 3], RGB in 0..255.
        references: the same, of any sizes.
        shares: share of each reference, which sum to 1; mean and covariance are those of a picture
            in which each reference fills its share.

    Returns:
        The shape of `image`, not clipped to 0..255.
    """
    mean, covariance = _moments([image], [1.0])
    target_mean, target = _moments(references, shares)
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    linear = inverse @ _power(root @ target @ root, 0.5) @ inverse
    matched = (np.asarray(image, np.float64) - mean) @ linear + target_mean
    return matched.astype(np.float32)


def _moments(
    images: Sequence[NDArray[Any]], shares: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [3] and covariance [3, 3] of the colors of a mixture of images."""
    colors = [np.asarray(image, np.float64).reshape(-1, 3) for image in images]
    weighted = list(zip(shares, colors, strict=True))
    mean = sum(share * values.mean(axis=0) for share, values in weighted)
    covariance = MIN_VARIANCE * np.eye(3)
    for share, values in weighted:
        centered = values - mean
        covariance += share * centered.T @ centered / len(values)
    return np.asarray(mean), covariance


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Power of a symmetric positive definite matrix."""
    values, directions = np.linalg.eigh(matrix)
    power: NDArray[np.float64] = (directions * values**exponent) @ directions.T
    return power
