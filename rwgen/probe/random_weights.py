"""Random weights for any Keras model, from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.probe.config import BIAS_STDDEV
from rwgen.seeds import standard_normal

_BIASES = ("bias", "beta")
_ONES = ("gamma", "moving_variance")
_ZEROS = ("moving_mean",)


def reinitialize(model: keras.Model, seed: int, bias_stddev: float = BIAS_STDDEV) -> None:
    """Replace all weights of a model by random draws, in place.

    Kernels are N(0, 1 / fan_in), which keeps the variance of signals. Biases and the offsets of
    normalizations are |N(0, bias_stddev)|: positive, so that units are active (docs/math.md,
    "Half-normal biases"). Normalizations otherwise start as in Keras: scales and variances one,
    means zero. All other variables with one axis are zero.

    A draw depends on the seed, the position of the layer in the model, and the variable's name and
    shape. It does not depend on layer names, which Keras numbers throughout a process.

    Args:
        model: functional or sequential; nested models are included.
        seed: from 0 to `rwgen.seeds.MAX_SEED`.
        bias_stddev: from 0; 0 gives no biases.

    Raises:
        InvalidInputError: the seed is out of range.
    """
    for number, layer in enumerate(_leaves(model)):
        for variable in layer.weights:
            if variable.dtype.startswith("float"):
                stream = f"reinitialize/{number}/{variable.name}"
                shape = tuple(variable.shape)
                variable.assign(_values(variable.name, seed, stream, shape, layer, bias_stddev))


def _leaves(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Layers that are not models, in the order of the model; a shared layer only once."""
    seen = set()
    stack = [layer]
    while stack:
        current = stack.pop()
        if isinstance(current, keras.Model):
            stack += reversed(current.layers)
        elif id(current) not in seen:
            seen.add(id(current))
            yield current


def _values(
    name: str,
    seed: int,
    stream: str,
    shape: tuple[int, ...],
    layer: keras.layers.Layer,
    bias_stddev: float,
) -> NDArray[np.float32]:
    if name in _ONES:
        return np.ones(shape, np.float32)
    if name in _ZEROS:
        return np.zeros(shape, np.float32)
    if name in _BIASES:
        return np.abs(standard_normal(seed, stream, shape)) * np.float32(bias_stddev)
    if len(shape) < 2:
        return np.zeros(shape, np.float32)
    stddev = 1 / math.sqrt(fan_in(shape, isinstance(layer, keras.layers.DepthwiseConv2D)))
    return standard_normal(seed, stream, shape) * np.float32(stddev)


def fan_in(shape: tuple[int, ...], is_depthwise: bool = False) -> int:
    """Number of values that each output of a kernel sums.

    Args:
        shape: kernel shape in Keras's order: [..., in, out], or [..., in, multiplier] for a
            depthwise kernel.
        is_depthwise: whether each output channel sees only one input channel.

    Returns:
        At least 1.
    """
    return max(1, math.prod(shape[:-2] if is_depthwise else shape[:-1]))
