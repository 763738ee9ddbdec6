"""Parameterizations: what L-BFGS moves, and how it becomes an image.

The paper moves pixels. Moving the image's frequencies instead, low ones further, conditions the
search and leaves no fine dots that the network cannot see; a smooth map onto the range of valid
pixels keeps the search inside it. docs/math.md, "Parameterizations", has the formulas and what each
achieved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.typing import NDArray
from typing_extensions import override

from rwgen.network.preprocess import network_input
from rwgen.synthesis.config import ParameterizationName

COLOUR_DIRECTIONS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
"""Columns: variation of brightness, of red against blue, and of green against both in photos.

Square root of the covariance of RGB in 0..1 over ImageNet, from Olah, Mordvintsev and Schubert,
"Feature Visualization", 2017 (their library Lucid). Only the ratios matter here."""

FREQUENCY_POWER = 0.5
"""Coefficients are divided by their frequency to this power. With 1, the slope of the amplitudes of
photos, fine structure lags behind for too long; 0.5 did better at every layer (docs/math.md)."""

BOX_MARGIN = 1e-3
"""Smallest distance of a start from the ends of the range, where the map is flat, as a share of
it."""


class Parameterization(Protocol):
    """A map from the space that is searched to network input."""

    def position(self, image: NDArray[Any]) -> NDArray[Any]:
        """The position of an image [1, height, width, 3], of the same shape and dtype.

        With a box, the position of the nearest image inside it.
        """

    def image(self, position: tf.Tensor) -> tf.Tensor:
        """The image at a position, differentiable."""


def make_parameterization(
    name: ParameterizationName, shape: Sequence[int], dtype: Any
) -> Parameterization:
    """Create a parameterization by name.

    Args:
        name: see `rwgen.synthesis.config.ParameterizationName`.
        shape: (height, width) of the image.
        dtype: of the network input, float32 or float64.
    """
    base = Fourier(tuple(shape), np.dtype(dtype)) if name.startswith("fourier") else Pixel()
    return Box(base) if name.endswith("box") else base


class Pixel(Parameterization):
    """The image itself, as in the paper."""

    @override
    def position(self, image: NDArray[Any]) -> NDArray[Any]:
        return image

    @override
    def image(self, position: tf.Tensor) -> tf.Tensor:
        return position


@dataclass(frozen=True)
class Fourier(Parameterization):
    """Cosine coefficients of decorrelated colors, scaled down with their frequency.

    The discrete cosine transform is the Fourier transform of an image mirrored at its borders: it
    is real, and has no jump from one border to the opposite one. Scales have a mean square of one,
    so a random step in the coefficients is as long as one in pixels.

    Attributes:
        shape: (height, width).
        dtype: of images and positions.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @override
    def position(self, image: NDArray[Any]) -> NDArray[Any]:
        colours = image.astype(np.float64) @ np.linalg.inv(_colours()).T
        coefficients = scipy.fft.dctn(colours, axes=(1, 2), norm="ortho")
        scaled: NDArray[Any] = (coefficients / self._scales).astype(self.dtype)
        return scaled

    @override
    def image(self, position: tf.Tensor) -> tf.Tensor:
        rows, columns, scales, colours = (
            tf.constant(value, self.dtype)
            for value in (*map(_cosines, self.shape), self._scales, _colours())
        )
        return tf.einsum("hi,wj,bijc,dc->bhwd", rows, columns, position * scales, colours)

    @cached_property
    def _scales(self) -> NDArray[np.float64]:
        """[1, height, width, 1]; frequency zero has the scale of the lowest other frequency."""
        height, width = (np.arange(side) / side for side in self.shape)
        frequency = np.hypot(height[:, np.newaxis], width)
        scales = np.maximum(frequency, 1 / max(self.shape)) ** -FREQUENCY_POWER
        scales /= np.sqrt(np.mean(np.square(scales)))
        return scales[np.newaxis, :, :, np.newaxis]


@dataclass(frozen=True)
class Box(Parameterization):
    """Another parameterization, mapped smoothly onto the range of valid pixels.

    Near mid gray the map is the identity; black and white are reached at infinity.

    Attributes:
        base: the parameterization before the map.
    """

    base: Parameterization

    @override
    def position(self, image: NDArray[Any]) -> NDArray[Any]:
        middle, half = _range(image.dtype)
        share = np.clip((image - middle) / half, 2 * BOX_MARGIN - 1, 1 - 2 * BOX_MARGIN)
        return self.base.position((np.arctanh(share) * half).astype(image.dtype))

    @override
    def image(self, position: tf.Tensor) -> tf.Tensor:
        middle, half = _range(position.dtype.as_numpy_dtype)
        return middle + half * tf.tanh(self.base.image(position) / half)


def _range(dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Middle and half width of the valid range of network input, [1, 1, 1, 3]."""
    black, white = (network_input(np.full((1, 1, 3), value), dtype) for value in (0.0, 255.0))
    return (black + white) / 2, (white - black) / 2


def _colours() -> NDArray[np.float64]:
    """[3, 3], `COLOUR_DIRECTIONS` scaled to a mean square length of one per column."""
    scaled: NDArray[np.float64] = COLOUR_DIRECTIONS / np.sqrt(
        np.square(COLOUR_DIRECTIONS).sum() / 3
    )
    return scaled


def _cosines(side: int) -> NDArray[np.float64]:
    """[side, side], the matrix from coefficients to values."""
    values: NDArray[np.float64] = scipy.fft.idct(np.eye(side), axis=0, norm="ortho")
    return values
