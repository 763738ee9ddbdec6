"""Conversion between pixels, RGB in 0..255, and network input, RGB in 0..1 minus the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError

MEAN_RGB = (123.68, 116.779, 103.939)
"""Mean red, green and blue of the ImageNet training images, in 0..255.

Source: Simonyan and Zisserman's VGG release; `keras.applications` uses the same values.
"""

PIXEL_RANGE = 255.0
"""Divisor of pixels. The biases of the recipes are meant for the resulting scale (docs/math.md)."""


def preprocess_input(images: Any) -> Any:
    """Preprocess images for a ranVGG: subtract the mean RGB and divide by 255.

    Args:
        images: Images [..., height, width, 3], RGB in 0..255: a NumPy array or anything that
            NumPy converts, a TensorFlow tensor, or a symbolic Keras tensor. Not modified.

    Returns:
        Network input of the same shape and kind. Floats keep their dtype; integers become
        float32 (NumPy arrays) or `keras.config.floatx()` (tensors).

    Raises:
        InvalidInputError: The last axis does not have size 3.
    """
    images = _as_float(images)
    return (images - np.asarray(MEAN_RGB, _dtype_name(images))) / PIXEL_RANGE


def deprocess(images: Any) -> Any:
    """Convert network input to images, the inverse of `preprocess_input`.

    Args:
        images: Network input [..., height, width, 3], RGB in 0..1 minus the mean, of any kind
            that `preprocess_input` accepts.

    Returns:
        Images of the same shape and kind, RGB, nominally in 0..255 but not clipped.

    Raises:
        InvalidInputError: The last axis does not have size 3.
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
    """Preprocess one image as a batch.

    Args:
        image: Image [height, width, 3], RGB in 0..255.
        dtype: Dtype of the result.

    Returns:
        Network input [1, height, width, 3] of `dtype`.

    Raises:
        InvalidInputError: The shape is different, or a value is not finite in `dtype`.
    """
    pixels = check_image(check_image(image).astype(dtype))  # a narrower dtype may overflow
    batch: NDArray[Any] = preprocess_input(pixels[np.newaxis])
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
    import keras  # slow, and only needed for tensors

    return keras.ops.cast(images, keras.config.floatx())


def _dtype_name(images: Any) -> str:
    name: str = getattr(images.dtype, "name", None) or str(images.dtype)
    return name
