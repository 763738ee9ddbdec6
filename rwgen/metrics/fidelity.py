"""How close two images are pixel by pixel, as used for inversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError

_SSIM_WINDOW = 11  # Wang et al. 2004, with sigma 1.5: TensorFlow's defaults


def psnr(image: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Peak signal-to-noise ratio.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same shape.

    Returns:
        Decibels; None for equal images, for which it is infinite.

    Raises:
        InvalidInputError: the shapes differ.
    """
    value = float(tf.image.psnr(*_pair(image, other), max_val=255.0))
    return value if np.isfinite(value) else None


def ssim(image: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Structural similarity: Gaussian window of 11x11 pixels, mean over positions and channels.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same shape.

    Returns:
        At most 1, the value of equal images; None for images smaller than the window.

    Raises:
        InvalidInputError: the shapes differ.
    """
    first, second = _pair(image, other)
    if min(first.shape[:2]) < _SSIM_WINDOW:
        return None
    return float(tf.image.ssim(first, second, max_val=255.0, filter_size=_SSIM_WINDOW))


def _pair(image: NDArray[Any], other: NDArray[Any]) -> tuple[tf.Tensor, tf.Tensor]:
    if image.shape != other.shape:
        raise InvalidInputError(
            f"expected two images of the same shape. Received: {image.shape} and {other.shape}"
        )
    return tf.constant(image, tf.float32), tf.constant(other, tf.float32)
