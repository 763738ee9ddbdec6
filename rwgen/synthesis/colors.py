"""Whose colors a style transfer has: linear maps of colors, luminance and chroma.

The content term compares features with those of the photo, and an untrained network's features are
mostly brightness and color: it holds on to the photo's palette while the style term asks for the
painting's. Given one palette for both, the photo holds on to its shapes only (docs/math.md,
"Colors").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.synthesis.config import Colors

MIN_VARIANCE = 1.0
"""Added to the variances of colors, in squared levels of 0..255: rounding of pixels alone gives a
uniform image about a tenth of it, which a map must not amplify."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601), which sum to 1."""


def search_colors(
    colors: Colors,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    shares: Sequence[float],
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Give content and styles the colors that a search takes their features in.

    Args:
        colors: whose colors the result has.
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes.
        shares: share of each style; they sum to 1.

    Returns:
        Content and styles, of the same shapes, not clipped to 0..255.
    """
    if colors in ("style", "content-after"):
        return match_colors(content, styles, shares), list(styles)
    if colors == "mixed":
        return content, list(styles)
    if colors == "content":
        content, styles = gray(content), [gray(style) for style in styles]
    return content, [match_colors(style, [content]) for style in styles]


def result_colors(colors: Colors, image: NDArray[Any], content: NDArray[Any]) -> NDArray[Any]:
    """Give the image that a search found the colors of the result.

    Args:
        colors: whose colors the result has.
        image: [height, width, 3], RGB in 0..255, not clipped.
        content: the same shape, in its own colors.

    Returns:
        The same shape and dtype.
    """
    return with_chroma(image, content) if colors.startswith("content") else image


def luminance(image: NDArray[Any]) -> NDArray[np.float64]:
    """Luminance of gamma-encoded pixels, [height, width, 1], of RGB [height, width, 3]."""
    weighted: NDArray[np.float64] = np.asarray(image, np.float64) @ np.array(LUMINANCE)
    return weighted[..., np.newaxis]


def gray(image: NDArray[Any]) -> NDArray[np.float32]:
    """An image without its colors: all channels are its luminance."""
    return np.repeat(luminance(image), 3, axis=2).astype(np.float32)


def with_chroma(image: NDArray[Any], colors: NDArray[Any]) -> NDArray[Any]:
    """Luminance of one image with the chroma of another.

    Chroma, RGB minus luminance, is exactly that of `colors`. Where a color of this chroma cannot
    have the image's luminance, it has the nearest that it can.

    Args:
        image: [height, width, 3], RGB.
        colors: the same shape, RGB in 0..255.

    Returns:
        The same shape, RGB in 0..255, of the dtype of `image`.
    """
    chroma = colors - luminance(colors)
    least = -chroma.min(axis=2, keepdims=True)
    most = 255 - chroma.max(axis=2, keepdims=True)
    mixed: NDArray[Any] = (chroma + luminance(image).clip(least, most)).astype(image.dtype)
    return mixed


def match_colors(
    image: NDArray[Any], references: Sequence[NDArray[Any]], shares: Sequence[float] = (1.0,)
) -> NDArray[np.float32]:
    """Map the colors of an image linearly to the mean and covariance of others.

    Of all linear maps of colors with this result, it is the one that changes them least on average
    (Monge-Kantorovich; Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer", 2007, eq. 9). Between gray images, it matches the mean and the
    variance of luminance.

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
