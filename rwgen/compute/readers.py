"""Readings of features, with the features either kept or computed again when they are needed.

A reading is a small tensor taken from one layer's features: a loss term, a Gram matrix. Its
gradient needs the output of every layer below, which is gibibytes at 2048x2048 pixels.
Rematerialisation cuts the network into segments, keeps nothing but each segment's input, and
computes the rest again on the way back: less memory for half as much computation again
(docs/performance.md).

Each direction of each segment is a function of its own that XLA compiles. They must not be part
of one compiled function: XLA would find that forward and backward compute the same features,
and keep them after all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

Reading = Callable[[tf.Tensor], Any]
"""Features of a layer to a tensor, or to a structure of tensors."""

Reader = Callable[[tf.Tensor, Mapping[str, Reading]], dict[str, Any]]
"""An image [1, height, width, 3] and readings by layer to what they give, by layer."""

ReaderFactory = Callable[[keras.Model], Reader]
"""An extractor, image to {layer: features}, to a reader of its layers."""

_NEXT = "next segment"


def plain_reader(extractor: Callable[[tf.Tensor], Mapping[str, tf.Tensor]]) -> Reader:
    """A reader that keeps all features until their gradient has been taken.

    Args:
        extractor: image to {layer: features}, such as `rwgen.feature_extractor` gives.

    Returns:
        A reader of the extractor's layers. Nothing in it is compiled on its own.
    """

    def read(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, Any]:
        features = extractor(image)
        return {name: reading(features[name]) for name, reading in readings.items()}

    return read


def rematerialized_reader(extractor: keras.Model, jit_compile: bool = True) -> Reader:
    """A reader that computes features again, segment by segment, for their gradient.

    What it gives, and the gradient with respect to the image, are those of `plain_reader` up to
    rounding. Weights get no gradient. It saves nothing inside a function that XLA compiles as a
    whole.

    Args:
        extractor: image to {layer: features}, see `rwgen.feature_extractor`. It is cut after
            every pooling layer that all data pass through.
        jit_compile: compile each segment with XLA.

    Returns:
        A reader of the extractor's layers.
    """
    segments = _segments(extractor)

    def read(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        wanted = dict(readings)
        tensor = tf.convert_to_tensor(image)
        for segment in segments:
            chosen = {name: wanted.pop(name) for name in segment.output_names if name in wanted}
            results = _rematerialized(segment, chosen, bool(wanted), jit_compile)(tensor)
            values |= {name: results[name] for name in chosen}
            if not wanted:
                break
            tensor = results[_NEXT]
        return {name: values[name] for name in readings}

    return read


def _segments(extractor: keras.Model) -> list[keras.Model]:
    """The extractor as a chain of models, each to the outputs asked for and to the next one."""
    asked = dict(zip(extractor.output_names, extractor.outputs, strict=True))
    pools = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)
    segments: list[keras.Model] = []
    begin, pending = extractor.inputs[0], list[str]()
    for layer in extractor.layers[1:-1]:
        if layer.name in asked:
            pending.append(layer.name)
        if isinstance(layer, pools):
            outputs = {name: asked[name] for name in pending}
            rest = {name: value for name, value in asked.items() if name not in pending}
            try:
                segment = keras.Model(begin, {**outputs, _NEXT: layer.output})
                keras.Model(layer.output, rest)
            except ValueError:  # Keras: some data go around this layer
                continue
            segments.append(segment)
            asked, begin, pending = rest, layer.output, []
    return [*segments, keras.Model(begin, asked)]


def _rematerialized(
    segment: keras.Model, readings: Mapping[str, Reading], go_on: bool, jit_compile: bool
) -> Callable[[tf.Tensor], dict[str, Any]]:
    """A segment that keeps its input alone for the gradient."""

    def compute(inputs: tf.Tensor) -> dict[str, Any]:
        features = segment(inputs)
        results = {name: reading(features[name]) for name, reading in readings.items()}
        return results | ({_NEXT: features[_NEXT]} if go_on else {})

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

        # Unseen by an outer tape, which would have it keep all features after all.
        return forward(tf.stop_gradient(inputs)), gradient

    results: Callable[[tf.Tensor], dict[str, Any]] = tf.custom_gradient(call)
    return results
