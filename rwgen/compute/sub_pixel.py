"""Large convolutions of an image whose gradient is as fast as they are, on a CPU.

The gradient of a convolution with respect to an image of three channels is a convolution with three
output channels, which fill a quarter or less of a processor's vector. As a sub-pixel convolution
(Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network", 2016) it has more: the channels of each 2x2 block of pixels come from
one convolution of stride 2, and are then put in their places. docs/performance.md has the seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rwgen.compute.replacement import with_convolutions
from rwgen.network.convolution import CircularConv2D, SymmetricConv2D

BLOCK = 2
"""Side of a block of pixels."""

LEAST_KERNEL_SIZE = 5
"""Smallest side of a kernel from which on there is something to gain."""

MAX_CHANNELS = 3
"""Largest number of input channels with which there is something to gain."""


def block_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel that computes gradients with respect to blocks of pixels.

    Args:
        kernel: [height, width, channels in, channels out] of the convolution.

    Returns:
        [height + 1, width + 1, channels out, 4 * channels in]: for each pixel of a block, row by
        row, the reversed kernel, shifted by the position of the pixel.
    """
    reversed_kernel = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
    last = BLOCK - 1
    return tf.concat(
        [
            tf.pad(reversed_kernel, [[row, last - row], [column, last - column], [0, 0], [0, 0]])
            for row in range(BLOCK)
            for column in range(BLOCK)
        ],
        axis=-1,
    )


def input_gradient(cotangent: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Gradient of a convolution of stride 1 without padding with respect to its input.

    Args:
        cotangent: [batch, height, width, channels out], gradient with respect to the output.
        kernel: [rows, columns, channels in, channels out].

    Returns:
        [batch, height + rows - 1, width + columns - 1, channels in].
    """
    margins = [side - 1 for side in kernel.shape[:2]]
    sides = [tf.shape(cotangent)[axis + 1] + margin for axis, margin in enumerate(margins)]
    # The last pixels complete the blocks of an odd side.
    paddings = [[0, 0], *([margin, margin + BLOCK - 1] for margin in margins), [0, 0]]
    blocks = tf.nn.conv2d(cotangent, block_kernel(kernel), BLOCK, paddings)
    pixels = tf.nn.depth_to_space(blocks, BLOCK)
    return pixels[:, : sides[0], : sides[1]]


def sub_pixel_convolution(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Correlate with stride 1 and without padding; see the module for its gradient.

    Args:
        images: [batch, height, width, channels in].
        kernel: [rows, columns, channels in, channels out], which gets no gradient.
    """
    found: tf.Tensor = _correlation(tuple(kernel.shape), kernel.dtype)(images, kernel)
    sides = [
        None if side is None else side - reach + 1
        for side, reach in zip(images.shape[1:3], kernel.shape, strict=False)
    ]
    return tf.ensure_shape(found, [images.shape[0], *sides, kernel.shape[3]])


@functools.lru_cache
def _correlation(
    shape: tuple[int, ...], dtype: tf.DType
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that is traced once for all images.

    TensorFlow keeps every custom gradient of a graph for the life of the process, with that graph.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def correlate(images: tf.Tensor, kernel: tf.Tensor) -> Any:
        def gradient(cotangent: tf.Tensor) -> tuple[tf.Tensor, None]:
            return input_gradient(cotangent, kernel), None

        return tf.nn.conv2d(images, kernel, 1, "VALID"), gradient

    def call(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return correlate(images, tf.ensure_shape(kernel, shape))

    signature = [tf.TensorSpec([None, None, None, shape[2]], dtype), tf.TensorSpec(shape, dtype)]
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.function(
        call, input_signature=signature, autograph=False
    )
    return function


class SubPixelConv2D(keras.layers.Conv2D):  # type: ignore[misc] # untyped base
    """A `Conv2D` with a `sub_pixel_convolution`; gradients flow to the input, not to the weights.

    Weights and configuration are those of `Conv2D`.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Correlate without bias or activation."""
        return sub_pixel_convolution(inputs, tf.convert_to_tensor(kernel))


class SubPixelSymmetricConv2D(SymmetricConv2D, SubPixelConv2D):
    """A `SymmetricConv2D` with a `sub_pixel_convolution` on the padded images."""


class SubPixelCircularConv2D(CircularConv2D, SubPixelConv2D):
    """A `CircularConv2D` with a `sub_pixel_convolution` on the padded images."""


_SUB_PIXEL_OF = {SymmetricConv2D: SubPixelSymmetricConv2D, CircularConv2D: SubPixelCircularConv2D}


def with_sub_pixel_gradients(model: keras.Model) -> keras.Model:
    """Replace every convolution whose gradient gets faster, on a CPU.

    Args:
        model: a functional model; its current weights are copied.

    Returns:
        A model of the same inputs, outputs and names, or `model` itself if nothing is replaced, as
        on a GPU.
    """
    if tf.config.list_logical_devices("GPU"):
        return model
    return with_convolutions(model, _sub_pixel)


def _sub_pixel(layer: keras.layers.Layer) -> type[keras.layers.Layer] | None:
    kind = _SUB_PIXEL_OF.get(type(layer))
    if kind is None or layer.kernel.shape[2] > MAX_CHANNELS:
        return None
    if layer.groups != 1 or not layer.strides == layer.dilation_rate == (1, 1):
        return None
    return kind if min(layer.kernel_size) >= LEAST_KERNEL_SIZE else None
