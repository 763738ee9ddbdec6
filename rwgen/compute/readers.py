"""Readings of features, which are either kept or recomputed for the gradient.

A reading is a small tensor computed from one layer's features: a loss term, a Gram matrix. Its
gradient needs the output of every layer below, which takes gibibytes at 2048x2048 pixels.
A `SumReading` is one that depends on features through sums over positions, which tiles can add up
(`rwgen.compute.tiles`).
Recomputation cuts the network into segments, keeps only each segment's input, and recomputes the
rest in the backward pass: less memory for half as much computation again (docs/performance.md).

The forward and the backward pass of each segment are separate functions compiled by XLA. They must
not be part of one compiled function: XLA would find that both compute the same features, and keep
them after all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from rwgen.network.features import POOLS

Reading = Callable[[tf.Tensor], Any]
"""Maps features of a layer to a tensor or a structure of tensors."""

Reader = Callable[[tf.Tensor, Mapping[str, Reading]], dict[str, Any]]
"""Maps an image [1, height, width, 3] and readings by layer to their results, by layer.

Readings get features of the image's dtype, whatever the network computes in."""


@dataclass(frozen=True)
class Tile:
    """The part of a layer's positions whose features are given.

    Attributes:
        place: row and column of the first position, numbers or scalar tensors.
        size: (height, width) of the whole feature map.
        other: the same features of another image, or None.
    """

    place: tuple[Any, Any]
    size: tuple[int, int]
    other: tf.Tensor | None = None

    def share(self, features: tf.Tensor) -> float:
        """Share of all positions that features [1, height, width, N] have."""
        return float(math.prod(features.shape[1:3]) / math.prod(self.size))

    def of(self, plane: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Cut a tensor [1, *size, N] to the positions of features [1, height, width, M]."""
        begin = tf.stack([0, *self.place, 0])
        return tf.slice(plane, begin, [1, *features.shape[1:3], plane.shape[3]])


@dataclass(frozen=True)
class SumReading:
    """A reading that depends on features through sums over positions.

    Attributes:
        sums: maps features of a tile to a structure of sums over its positions.
        value: maps the sums over all positions to the result.
    """

    sums: Callable[[tf.Tensor, Tile], Any]
    value: Callable[[Any], Any]

    def __call__(self, features: tf.Tensor) -> Any:
        """Read all positions at once."""
        return self.value(self.sums(features, every_position(features)))


def every_position(features: tf.Tensor) -> Tile:
    """The tile of all positions of features [1, height, width, N], or of a dense layer's [1, N]."""
    height, width = features.shape[1:3] if features.shape.rank == 4 else (features.shape[1], 1)
    return Tile((0, 0), (height, width))


_NEXT = "next segment"


def plain_reader(extractor: Callable[[tf.Tensor], Mapping[str, tf.Tensor]]) -> Reader:
    """A reader that keeps all features for the gradient.

    Args:
        extractor: maps an image to {layer: features}, such as `rwgen.feature_extractor` returns.

    Returns:
        A reader of the extractor's layers. It compiles nothing itself.
    """

    def read(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, Any]:
        features = extractor(image)
        return {
            name: reading(tf.cast(features[name], image.dtype))
            for name, reading in readings.items()
        }

    return read


def recomputing_reader(extractor: keras.Model, jit_compile: bool = True) -> Reader:
    """A reader that recomputes features, segment by segment, for the gradient.

    Results and gradients with respect to the image equal those of `plain_reader` up to rounding.
    Weights get no gradient. Inside a function that XLA compiles as a whole, it saves no memory.

    Args:
        extractor: maps an image to {layer: features}, see `rwgen.feature_extractor`. It is cut
            after every pooling layer that all data pass through.
        jit_compile: compile each segment with XLA.

    Returns:
        A reader of the extractor's layers.
    """
    segments = _segments(extractor)

    def read(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        wanted = dict(readings)
        image = tensor = tf.convert_to_tensor(image)
        for segment in segments:
            chosen = {name: wanted.pop(name) for name in segment.output_names if name in wanted}
            part = _recomputed(segment, chosen, bool(wanted), jit_compile, image.dtype)
            results = part(tensor)
            values |= {name: results[name] for name in chosen}
            if not wanted:
                break
            tensor = results[_NEXT]
        return {name: values[name] for name in readings}

    return read


def _segments(extractor: keras.Model) -> list[keras.Model]:
    """Split the extractor into a chain of models; each gives its layers and the next input."""
    asked = dict(zip(extractor.output_names, extractor.outputs, strict=True))
    segments: list[keras.Model] = []
    begin, pending = extractor.inputs[0], list[str]()
    for layer in extractor.layers[1:-1]:
        if layer.name in asked:
            pending.append(layer.name)
        if isinstance(layer, POOLS):
            outputs = {name: asked[name] for name in pending}
            rest = {name: value for name, value in asked.items() if name not in pending}
            try:
                segment = keras.Model(begin, {**outputs, _NEXT: layer.output})
                keras.Model(layer.output, rest)
            except ValueError:  # Keras: some data bypass this layer
                continue
            segments.append(segment)
            asked, begin, pending = rest, layer.output, []
    return [*segments, keras.Model(begin, asked)]


def _recomputed(
    segment: keras.Model,
    readings: Mapping[str, Reading],
    has_next: bool,
    jit_compile: bool,
    dtype: tf.DType,
) -> Callable[[tf.Tensor], dict[str, Any]]:
    """A segment that keeps only its input for the gradient; readings get features of `dtype`."""

    def compute(inputs: tf.Tensor) -> dict[str, Any]:
        features = segment(inputs)
        results = {
            name: reading(tf.cast(features[name], dtype)) for name, reading in readings.items()
        }
        return results | ({_NEXT: features[_NEXT]} if has_next else {})

    def pull_back(inputs: tf.Tensor, cotangents: Sequence[tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(compute(inputs))
        return tape.gradient(outputs, inputs, list(cotangents), unconnected_gradients="zero")

    forward = tf.function(compute, autograph=False, jit_compile=jit_compile)
    backward = tf.function(pull_back, autograph=False, jit_compile=jit_compile)

    def call(inputs: tf.Tensor) -> Any:
        def gradient(*cotangents: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
            return backward(inputs, cotangents), [None] * len(variables)

        # Hidden from an outer tape, which would keep all features after all.
        return forward(tf.stop_gradient(inputs)), gradient

    results: Callable[[tf.Tensor], dict[str, Any]] = tf.custom_gradient(call)
    return results
