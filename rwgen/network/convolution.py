"""Convolution that repeats the border of its input instead of adding zeros."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="rwgen")
class SymmetricConv2D(keras.layers.Conv2D):  # type: ignore[misc] # untyped base
    """A `Conv2D` of stride 1 and odd kernel size with symmetric padding; keeps the image size.

    Zero padding makes features depend on the distance to the border, all the more with biases.
    Here the pixels beyond the border mirror those inside (`np.pad(mode="symmetric")`), which for
    3x3 kernels repeats the outermost pixels. Weights and configuration are those of `Conv2D` with
    `padding="valid"`. Images are [batch, height, width, channels].
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Pad and correlate, without bias or activation."""
        sides = [(size // 2, size // 2) for size in self.kernel_size]
        padded = keras.ops.pad(inputs, [(0, 0), *sides, (0, 0)], mode="symmetric")
        return super().convolution_op(padded, kernel)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input with another number of channels."""
        return (*input_shape[:-1], self.filters)
