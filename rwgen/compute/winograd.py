"""3x3 convolutions with a quarter of the multiplications, for many channels on a CPU.

Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015):
each 4x4 tile of the output comes from a 6x6 tile of the input by 36 multiplications a pair of
channels instead of 144. The products over all tiles and channels are 36 matrix products. The
transforms before and after them are linear in the number of channels and the products quadratic, so
the algorithm pays for many channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.memory import WINOGRAD_CHANNELS
from rwgen.compute.replacement import with_convolutions
from rwgen.network.convolution import CircularConv2D, SymmetricConv2D

TILE = 4
"""Side of an output tile; an input tile is two larger."""

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""Where the polynomials are interpolated, besides infinity. With 1 and 2, the textbook's points,
a float32 result is twice as far from the exact one (docs/performance.md). Exact in binary."""

MAX_PIXELS = 2**19
"""Largest output of a convolution. Beyond it there is no gain, and the working space, several times
the features, would dominate the memory of a task (docs/performance.md)."""

_MARGINS = {"same": 0, "valid": 2}
"""Pixels by which the output is lower and narrower than the input, by `padding`."""


def interpolation_matrices() -> tuple[NDArray[np.float64], ...]:
    """A [6, 4], G [6, 3] and B [6, 6] of the Toom-Cook algorithm for `POINTS` and infinity.

    The correlation of d [6] with g [3] is then A^T ((G g) * (B d)), [4].
    """
    size = len(POINTS) + 1
    a, g, b = np.zeros((size, TILE)), np.zeros((size, 3)), np.zeros((size, size))
    for row, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        a[row] = point ** np.arange(TILE)
        g[row] = point ** np.arange(3) / np.prod([point - other for other in others])
        b[row, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(POINTS)[::-1]
    return a, g, b


_A, _G, _B = interpolation_matrices()


def transform_filters(kernel: NDArray[Any]) -> NDArray[Any]:
    """Transform filters for the matrix products.

    Args:
        kernel: [3, 3, channels in, channels out].

    Returns:
        [36, channels in, channels out], of the same dtype.
    """
    both = np.kron(_G, _G).astype(kernel.dtype)
    product: NDArray[Any] = both @ kernel.reshape(9, -1)
    return product.reshape(-1, *kernel.shape[2:])


def winograd_convolution(
    images: tf.Tensor, filters: tf.Tensor, padding: Literal["same", "valid"] = "same"
) -> tf.Tensor:
    """Correlate with 3x3 filters and stride 1.

    Args:
        images: [batch, height, width, channels in]; all sizes but the batch are static.
        filters: [36, channels in, channels out], see `transform_filters`.
        padding: `same` surrounds the images by zeros; `valid` does not, and the output is smaller
            by two pixels in height and width.

    Returns:
        [batch, height, width, channels out], or of [height - 2, width - 2].
    """
    channels, margin = images.shape[3], _MARGINS[padding]
    height, width = (side - margin for side in images.shape[1:3])
    rows, columns = -(-height // TILE), -(-width // TILE)
    before = 1 - margin // 2
    below, right = (TILE * count + 1 - side for count, side in ((rows, height), (columns, width)))
    padded = tf.pad(images, [[0, 0], [before, below], [before, right], [0, 0]])
    # Each stage is stacked separately: one with all 36 sums takes XLA four times longer to compile.
    lines = [padded[:, i : i + TILE * rows - 3 : TILE] for i in range(6)]
    lines = tf.stack(_combine(_B, lines))
    inputs = [lines[:, :, :, i : i + TILE * columns - 3 : TILE] for i in range(6)]
    inputs = tf.stack(_combine(_B, inputs), axis=1)
    products = tf.matmul(tf.reshape(inputs, [36, -1, channels]), filters)
    grid = tf.reshape(products, [6, 6, -1, rows, columns, filters.shape[-1]])
    tall = tf.stack(_combine(_A.T, tf.unstack(grid)), axis=3)  # [6, batch, rows, 4, columns, ..]
    tiles = tf.stack(_combine(_A.T, tf.unstack(tall)), axis=4)
    whole = tf.reshape(tiles, [-1, TILE * rows, TILE * columns, filters.shape[-1]])
    return whole[:, :height, :width]


@keras.saving.register_keras_serializable("rwgen")
class WinogradConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """A `Conv2D` that uses Winograd's algorithm where possible.

    Weights and configuration are those of `Conv2D`. The filters are transformed when the layer is
    first called, so later changes of the weights have no effect until `transform` is called.
    Trainable layers, other kernel sizes or strides, images of unknown or large size and eager calls
    use `Conv2D`. Gradients flow to the input, not to the weights.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Correlate without bias or activation; `kernel` is used where `Conv2D` computes."""
        # Eagerly, every stage of the algorithm is kept: several times the memory.
        if tf.executing_eagerly() or self.trainable or not suits(self, inputs.shape):
            return super().convolution_op(inputs, kernel)
        if not hasattr(self, "_filters"):
            with tf.init_scope():
                self.transform()
        return winograd_convolution(inputs, self._filters, self.padding)

    def transform(self) -> None:
        """Transform the current filters."""
        kernel = keras.ops.convert_to_numpy(self.kernel)
        self._filters = tf.constant(transform_filters(kernel))


@keras.saving.register_keras_serializable("rwgen")
class WinogradSymmetricConv2D(SymmetricConv2D, WinogradConv2D):
    """A `SymmetricConv2D` that uses Winograd's algorithm where possible, on the padded images."""


@keras.saving.register_keras_serializable("rwgen")
class WinogradCircularConv2D(CircularConv2D, WinogradConv2D):
    """A `CircularConv2D` that uses Winograd's algorithm where possible, on the padded images."""


_WINOGRAD_OF = {SymmetricConv2D: WinogradSymmetricConv2D, CircularConv2D: WinogradCircularConv2D}


def suits(layer: keras.layers.Layer, shape: Sequence[int | None] | None = None) -> bool:
    """Whether the algorithm applies to a layer and is faster on a CPU.

    Args:
        layer: any built layer.
        shape: [batch, height, width, channels] of the images that are correlated, after a
            layer's own padding; None ignores their size.
    """
    if not isinstance(layer, keras.layers.Conv2D) or not layer.built:
        return False
    exact = (
        layer.kernel_size == (3, 3)
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.padding in _MARGINS
        and (layer.groups, layer.data_format) == (1, "channels_last")
        and layer.compute_dtype in ("float32", "float64")
    )
    if shape is not None:
        sides = [side - _MARGINS[layer.padding] for side in shape[1:3] if side is not None]
        exact &= len(sides) == 2 and min(sides) > 0 and math.prod(sides) <= MAX_PIXELS
    return exact and min(layer.kernel.shape[2:]) >= WINOGRAD_CHANNELS


def becomes_winograd(layer: keras.layers.Layer) -> bool:
    """Whether `with_winograd` replaces a layer: a suitable one, unless there is a GPU."""
    return suits(layer) and not tf.config.list_logical_devices("GPU")


def with_winograd(model: keras.Model) -> keras.Model:
    """Replace every suitable convolution of a model by a `WinogradConv2D`, on a CPU.

    Args:
        model: a functional model; its current weights are copied.

    Returns:
        A model of the same inputs, outputs and names, or `model` itself if nothing is replaced, as
        on a GPU, whose libraries include such algorithms.
    """
    return with_convolutions(model, _winograd)


def _winograd(layer: keras.layers.Layer) -> type[keras.layers.Layer] | None:
    return _WINOGRAD_OF.get(type(layer), WinogradConv2D) if becomes_winograd(layer) else None


def _combine(matrix: NDArray[np.float64], parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sum the parts with the weights in each row of the matrix."""
    return [
        tf.add_n([part * weight if weight != 1 else part for weight, part in pairs])
        for pairs in (
            [(weight, part) for weight, part in zip(row, parts, strict=True) if weight]
            for row in matrix.tolist()
        )
    ]
