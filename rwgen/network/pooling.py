"""Pooling with less aliasing than means of 2x2 pixels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rwgen.network.convolution import wrapped_around

BINOMIAL_WEIGHTS = np.array([1, 3, 3, 1]) / 8


@keras.saving.register_keras_serializable(package="rwgen")
class BinomialPooling2D(keras.layers.Layer):  # type: ignore[misc] # untyped base
    """Halve an image after smoothing it with the binomial weights 1, 3, 3, 1 in each direction.

    Means of 2x2 pixels let patterns near the highest frequency through at half the size, where they
    look like coarse ones (aliasing; Zhang, "Making convolutional networks shift-invariant again",
    arXiv:1904.11486). Here the image continues beyond the border by its outermost pixels, and an
    odd last row or column is dropped, as with `AveragePooling2D`. Images are [batch, height, width,
    channels].
    """

    def call(self, inputs: Any) -> Any:
        """Return [batch, height // 2, width // 2, channels]."""
        channels = inputs.shape[-1]
        kernel = np.multiply.outer(BINOMIAL_WEIGHTS, BINOMIAL_WEIGHTS)[:, :, None, None]
        kernel = np.repeat(kernel, channels, axis=2)
        return keras.ops.depthwise_conv(
            self.padded(inputs), keras.ops.cast(kernel, inputs.dtype), strides=2, padding="valid"
        )

    def padded(self, inputs: Any) -> Any:
        """Continue images by one pixel beyond each border."""
        return keras.ops.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="symmetric")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input with half the height and width."""
        batch, height, width, channels = input_shape
        return (batch, *(None if side is None else side // 2 for side in (height, width)), channels)


@keras.saving.register_keras_serializable(package="rwgen")
class CircularBinomialPooling2D(BinomialPooling2D):
    """A `BinomialPooling2D` on a torus: beyond a border are the pixels of the opposite one."""

    def padded(self, inputs: Any) -> Any:
        """Repeat images beyond their borders."""
        return wrapped_around(inputs, (1, 1))
