"""Images brought to one scale, as metrics of textures and styles require; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import unexpected
from rwgen.images import fit_longest_side, resize_image
from rwgen.metrics.config import MINIMUM_SIDE

ASPECT_TOLERANCE = 0.05
"""Largest relative difference between the aspect ratios of a result and its content: other programs
crop to multiples of 8 or 16 pixels."""


def scale_textures(
    results: Mapping[str, NDArray[Any]],
    source: NDArray[Any],
    size: int,
    *,
    held_out: NDArray[Any] | None = None,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32] | None]:
    """Bring textures to the scale at which `evaluate_texture` judges them.

    Args:
        results: images [height, width, 3] by name, RGB in 0..255. They keep their size.
        source: [height, width, 3], RGB in 0..255.
        size: longest side of the source in pixels, in the run that made the results.
        held_out: another piece of the texture, at the source's scale; it is resized by the same
            factor.

    Returns:
        Results, source and held-out piece, float32.

    Raises:
        InvalidInputError: an image has another shape, or a side under `MINIMUM_SIDE` pixels at that
            scale.
    """
    scaled = {name: _resized(name, image, image.shape[:2]) for name, image in results.items()}
    shape = _fitted(source, size)
    other = None
    if held_out is not None:
        longest = max(held_out.shape[:2]) * max(shape) / max(source.shape[:2])
        fitted = _fitted(held_out, max(1, round(longest)))
        other = _resized("the held-out piece", held_out, fitted)
    return scaled, _resized("the source", source, shape), other


def scale_styles(
    results: Mapping[str, NDArray[Any]],
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    size: int,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], list[NDArray[np.float32]]]:
    """Bring stylized images to the scale at which `evaluate_style` judges them.

    Args:
        results: images [height, width, 3] by name, RGB in 0..255, in the content's proportions.
            They are resized to the content's size.
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes.
        size: longest side of the content and of each style in pixels, in the run that made the
            results.

    Returns:
        Results, content and styles, float32.

    Raises:
        InvalidInputError: an image has another shape, a result has other proportions than the
            content, or a side is under `MINIMUM_SIDE` pixels at that scale.
    """
    shape = _fitted(content, size)
    scaled = {}
    for name, image in results.items():
        (height, width), (rows, columns) = image.shape[:2], content.shape[:2]
        ratio = (width / height) / (columns / rows)
        if max(ratio, 1 / ratio) > 1 + ASPECT_TOLERANCE:
            raise unexpected(
                name,
                f"the content's {columns}x{rows} pixels, or that aspect ratio",
                f"{width}x{height}",
            )
        scaled[name] = _resized(name, image, shape)
    return (
        scaled,
        _resized("the content", content, shape),
        [
            _resized(f"style {number}", style, _fitted(style, size))
            for number, style in enumerate(styles, start=1)
        ],
    )


def check_image(name: str, image: NDArray[Any]) -> None:
    """Refuse an image for which some metric does not exist.

    Raises:
        InvalidInputError: it is not [height, width, 3], or has a side under `MINIMUM_SIDE` pixels.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or min(image.shape[:2]) < MINIMUM_SIDE:
        raise unexpected(
            name,
            f"an image [height, width, 3] of at least {MINIMUM_SIDE} pixels a side",
            image.shape,
        )


def _fitted(image: NDArray[Any], longest_side: int) -> tuple[int, int]:
    return fit_longest_side(image.shape[0], image.shape[1], longest_side)


def _resized(name: str, image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    resized = resize_image(image, *shape)
    check_image(name, resized)
    return resized
