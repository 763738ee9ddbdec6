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
from rwgen.synthesis.regions import Region

MIN_VARIANCE = 1.0
"""Added to the variances of colors, in squared levels of 0..255: rounding of pixels alone gives a
uniform image about a tenth of it, which a map must not amplify."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601), which sum to 1."""


def search_colors(
    colors: Colors,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    regions: Sequence[Region],
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Give content and styles the colors that a search takes their features in.

    Args:
        colors: whose colors the result has.
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes.
        regions: which styles go where, with weights of the images' sizes. Each region is mapped to
            the colors of its own sources, and each style to those of the regions that it fills.

    Returns:
        Content and styles, of the same shapes, not clipped to 0..255.
    """
    if colors in ("style", "content-after"):
        return _in_colors_of_styles(content, styles, regions), list(styles)
    if colors == "mixed":
        return content, list(styles)
    if colors == "content":
        content, styles = gray(content), [gray(style) for style in styles]
    return content, [
        _in_colors_of_content(style, number, content, regions)
        for number, style in enumerate(styles)
    ]


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


def _in_colors_of_styles(
    content: NDArray[Any], styles: Sequence[NDArray[Any]], regions: Sequence[Region]
) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    for region in regions:
        sources = region.sources
        part = match_colors(
            content,
            [styles[source.style] for source in sources],
            [source.share for source in sources],
            region.weights,
            [source.weights for source in sources],
        )
        parts.append(part if region.weights is None else part * region.weights[..., np.newaxis])
    matched: NDArray[np.float32] = np.stack(parts).sum(axis=0)
    return matched


def _in_colors_of_content(
    style: NDArray[Any], number: int, content: NDArray[Any], regions: Sequence[Region]
) -> NDArray[Any]:
    used = [
        (region.weights, source.weights)
        for region in regions
        for source in region.sources
        if source.style == number
    ]
    if not used:
        return style
    filled, parts = ([w for w in weights if w is not None] for weights in zip(*used, strict=True))
    # Without weights, everything is used.
    where = np.sum(filled, axis=0) if len(filled) == len(used) else None
    what = np.sum(parts, axis=0) if len(parts) == len(used) else None
    return match_colors(style, [content], weights=what, reference_weights=[where])


def match_colors(
    image: NDArray[Any],
    references: Sequence[NDArray[Any]],
    shares: Sequence[float] = (1.0,),
    weights: NDArray[Any] | None = None,
    reference_weights: Sequence[NDArray[Any] | None] | None = None,
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
        weights: [height, width], how much each pixel of the image counts; None counts all alike.
        reference_weights: the same of each reference.

    Returns:
        The shape of `image`, all of it mapped, not clipped to 0..255.
    """
    mean, covariance = _moments([image], [1.0], [weights])
    counts = reference_weights or [None] * len(references)
    target_mean, target = _moments(references, shares, counts)
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    linear = inverse @ _power(root @ target @ root, 0.5) @ inverse
    matched = (np.asarray(image, np.float64) - mean) @ linear + target_mean
    return matched.astype(np.float32)


def _moments(
    images: Sequence[NDArray[Any]],
    shares: Sequence[float],
    weights: Sequence[NDArray[Any] | None],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [3] and covariance [3, 3] of the colors of a mixture of images."""
    colors = [np.asarray(image, np.float64).reshape(-1, 3) for image in images]
    counts = [
        np.full((len(values), 1), 1 / len(values))
        if found is None
        else np.reshape(found, (-1, 1)) / np.sum(found, dtype=np.float64)
        for values, found in zip(colors, weights, strict=True)
    ]
    mixture = list(zip(shares, colors, counts, strict=True))
    mean = np.sum(
        [share * (count * values).sum(axis=0) for share, values, count in mixture], axis=0
    )
    covariance = MIN_VARIANCE * np.eye(3)
    for share, values, count in mixture:
        centered = values - mean
        covariance += share * centered.T @ (count * centered)
    return mean, covariance


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Power of a symmetric positive definite matrix."""
    values, directions = np.linalg.eigh(matrix)
    power: NDArray[np.float64] = (directions * values**exponent) @ directions.T
    return power
