"""Convolutions that continue an image beyond its border instead of adding zeros."""

from __future__ import annotations

from typing import Any

import keras


class PaddedConv2D(keras.layers.Conv2D):  # type: ignore[misc] # untyped base
    """A `Conv2D` of stride 1 and odd kernel size that pads its input; keeps the image size.

    Weights and configuration are those of `Conv2D` with `padding="valid"`. Images are
    [batch, height, width, channels].
    """

    def padded(self, inputs: Any, margins: tuple[int, int]) -> Any:
        """Continue images by a number of pixels above and below, and left and right."""
        raise NotImplementedError

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Pad and correlate, without bias or activation."""
        height, width = self.kernel_size
        return super().convolution_op(self.padded(inputs, (height // 2, width // 2)), kernel)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input with another number of channels."""
        return (*input_shape[:-1], self.filters)


@keras.saving.register_keras_serializable(package="rwgen")
class SymmetricConv2D(PaddedConv2D):
    """A `Conv2D` of stride 1 and odd kernel size with symmetric padding; keeps the image size.

    Zero padding makes features depend on the distance to the border, all the more with biases.
    Here the pixels beyond the border mirror those inside (`np.pad(mode="symmetric")`), which for
    3x3 kernels repeats the outermost pixels. Weights and configuration are those of `Conv2D` with
    `padding="valid"`. Images are [batch, height, width, channels].
    """

    def padded(self, inputs: Any, margins: tuple[int, int]) -> Any:
        """Mirror images at their borders."""
        sides = [(margin, margin) for margin in margins]
        return keras.ops.pad(inputs, [(0, 0), *sides, (0, 0)], mode="symmetric")


@keras.saving.register_keras_serializable(package="rwgen")
class CircularConv2D(PaddedConv2D):
    """A `Conv2D` of stride 1 and odd kernel size on a torus; keeps the image size.

    The pixels beyond a border are those of the opposite one (`np.pad(mode="wrap")`), as if the
    image were repeated. Weights and configuration are those of `Conv2D` with `padding="valid"`.
    Images are [batch, height, width, channels].
    """

    def padded(self, inputs: Any, margins: tuple[int, int]) -> Any:
        """Repeat images beyond their borders."""
        return wrapped_around(inputs, margins)


def wrapped_around(images: Any, margins: tuple[int, int]) -> Any:
    """Continue images [batch, height, width, channels] by pixels from the opposite borders.

    Args:
        images: The images.
        margins: Number of pixels above and below, and left and right.
    """
    for axis, margin in enumerate(margins, start=1):
        side = images.shape[axis]
        if margin and side is not None and margin > side:
            times = -(-margin // side)
            repeated = keras.ops.concatenate([images] * (2 * times + 1), axis=axis)
            kept = slice(times * side - margin, (times + 1) * side + margin)
            images = repeated[(*(slice(None),) * axis, kept)]
        elif margin:
            along = (slice(None),) * axis
            before, after = images[(*along, slice(-margin, None))], images[(*along, slice(margin))]
            images = keras.ops.concatenate([before, images, after], axis=axis)
    return images
