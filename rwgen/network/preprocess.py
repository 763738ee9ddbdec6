"""Pixels to network input and back: RGB in 0..255 outside, RGB in 0..1 minus the mean inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError

MEAN_RGB = (123.68, 116.779, 103.939)
"""Mean red, green and blue of the ImageNet training images, in 0..255.

Source: Simonyan and Zisserman's VGG release; `keras.applications` uses the same figures.
"""

PIXEL_RANGE = 255.0
"""Pixels are divided by this: the scale for which the recipes' biases are meant (docs/math.md)."""


def preprocess_input(images: Any) -> Any:
    """Network input for images: divided by 255, mean RGB subtracted.

    Args:
        images: [..., height, width, 3], RGB in 0..255; a NumPy array or anything that NumPy
            converts, a TensorFlow tensor, or a Keras symbolic tensor. Not changed.

    Returns:
        The same shape and kind: floats keep their dtype, integers become Keras' default float
        (float32 for NumPy arrays).

    Raises:
        InvalidInputError: the last axis is not of size 3.
    """
    images = _as_float(images)
    return (images - np.asarray(MEAN_RGB, _dtype_name(images))) / PIXEL_RANGE


def deprocess(images: Any) -> Any:
    """Images for network input: the inverse of `preprocess_input`, not clipped to 0..255.

    Args:
        images: [..., height, width, 3], RGB in 0..1 minus the mean; see `preprocess_input`.

    Returns:
        The same shape and kind, RGB in units where the valid range is 0..255.

    Raises:
        InvalidInputError: the last axis is not of size 3.
    """
    images = _as_float(images)
    return images * PIXEL_RANGE + np.asarray(MEAN_RGB, _dtype_name(images))


def check_image(image: Any) -> NDArray[Any]:
    """Refuse anything but one image of finite numbers.

    Args:
        image: [height, width, 3], RGB in 0..255.

    Returns:
        The same as a NumPy array, neither copied nor converted if it is one.

    Raises:
        InvalidInputError: another shape, or values that are not finite numbers.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise InvalidInputError(
            f"expected an image of shape [height, width, 3]. Received: {pixels.shape}"
        )
    if pixels.dtype.kind not in "buif":
        raise InvalidInputError(f"expected an image of numbers. Received: {pixels.dtype}")
    if not np.isfinite(pixels).all():
        raise InvalidInputError("expected finite pixel values. Received: NaN or infinity")
    return pixels


def network_input(image: NDArray[Any], dtype: str = "float32") -> NDArray[Any]:
    """One image as a network's input batch.

    Args:
        image: [height, width, 3], RGB in 0..255.
        dtype: dtype of the result.

    Returns:
        [1, height, width, 3] of `dtype`, preprocessed.

    Raises:
        InvalidInputError: another shape, or values that are not finite in `dtype`.
    """
    batch: NDArray[Any] = preprocess_input(check_image(image).astype(dtype)[np.newaxis])
    return batch


def _as_float(images: Any) -> Any:
    if not hasattr(images, "dtype"):
        images = np.asarray(images)
    if len(images.shape) == 0 or images.shape[-1] != 3:
        raise InvalidInputError(
            f"expected images of shape [..., height, width, 3]. Received: {tuple(images.shape)}"
        )
    if "float" in _dtype_name(images):
        return images
    if isinstance(images, np.ndarray):
        return images.astype(np.float32)
    import keras  # only tensors need it: NumPy users do not pay for the import

    return keras.ops.cast(images, keras.config.floatx())


def _dtype_name(images: Any) -> str:
    name: str = getattr(images.dtype, "name", None) or str(images.dtype)
    return name
