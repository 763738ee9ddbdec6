"""A reader that computes features tile by tile, in memory that does not grow with the image.

Gram matrices and other sums over positions are sums over tiles. So a first pass over the tiles adds
up sums, from which a loss follows; a second pass computes the features of each tile again and their
gradient. Both are exact, and no seam can arise: each tile comes with the pixels around it that its
features see, and features outside the tile are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rwgen.compute.readers import Reader, Reading, SumReading, Tile
from rwgen.network.features import POOLS
from rwgen.network.pooling import BinomialPooling2D
from rwgen.network.tiling import check_keeps_positions


class _Span(NamedTuple):
    """Pixels of one axis: a tile, and the part of the image that it is computed from."""

    begin: int
    end: int
    first: int
    last: int

    def moved(self) -> _Span:
        """The same of an image that begins where the part does."""
        return _Span(self.begin - self.first, self.end - self.first, 0, self.last - self.first)

    def within(self, stride: int) -> slice:
        """Where features of a stride lie in a feature map of the image."""
        return slice(self.begin // stride, self.end // stride)


_Spans = tuple[_Span, _Span]
"""Rows and columns of a tile."""


def tiled_reader(extractor: keras.Model, side: int, other: tf.Tensor | None = None) -> Reader:
    """A reader that computes features tile by tile.

    Results, and gradients with respect to the image, equal those of `plain_reader` up to rounding.
    Weights and the tensors that readings refer to get no gradient.

    Args:
        extractor: maps an image to {layer: features}, see `rwgen.feature_extractor`: convolutions
            of stride 1 that keep the image size, 2x2 pools, and layers that see one position.
        side: side of a tile in pixels, about.
        other: another image of the same size, whose features readings get too (`Tile.other`).

    Returns:
        A reader of the extractor's layers whose readings must be `SumReading`.

    Raises:
        InvalidInputError: the extractor has other layers.
    """
    check_keeps_positions(extractor, "tiles")
    strides, reach = _strides_and_reach(extractor)
    multiple = max(strides.values())
    halo = -(-reach // multiple) * multiple

    def read(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, Any]:
        image = tf.convert_to_tensor(image)
        sides = tuple(image.shape[1:3])
        shapes = extractor.compute_output_shape((1, *sides, 3))
        every = {name: _as_sums(reading) for name, reading in readings.items()}
        rows, columns = (list(tile_spans(length, side, multiple, halo)) for length in sides)
        grid = [(row, column) for row in rows for column in columns]

        def compute(
            piece: tf.Tensor, beside: tf.Tensor | None, place: tf.Tensor, spans: _Spans
        ) -> dict[str, Any]:
            features = extractor(piece)
            others = None if beside is None else extractor(beside)
            found = {}
            for name, reading in every.items():
                stride = strides[name]
                window = (slice(None), *(span.within(stride) for span in spans))
                tile = Tile(
                    (place[0] // stride, place[1] // stride),
                    (shapes[name][1], shapes[name][2]),
                    None if others is None else tf.cast(others[name][window], image.dtype),
                )
                found[name] = reading.sums(tf.cast(features[name][window], image.dtype), tile)
            return found

        def pull_back(
            piece: tf.Tensor,
            beside: tf.Tensor | None,
            place: tf.Tensor,
            spans: _Spans,
            cotangents: Sequence[tf.Tensor],
        ) -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(piece)
                found = tf.nest.flatten(compute(piece, beside, place, spans))
            return tape.gradient(found, piece, list(cotangents), unconnected_gradients="zero")

        forward = tf.function(compute, autograph=False)
        backward = tf.function(pull_back, autograph=False)

        def arguments(spans: _Spans, image: tf.Tensor) -> tuple[Any, ...]:
            cut = (slice(None), *(slice(span.first, span.last) for span in spans))
            place = tf.constant([span.begin for span in spans])
            beside = None if other is None else other[cut]
            # Tiles of the same shape share a graph.
            return image[cut], beside, place, (spans[0].moved(), spans[1].moved())

        def call(image: tf.Tensor) -> Any:
            # Hidden from an outer tape, which would keep all features after all.
            image = tf.stop_gradient(image)
            total: dict[str, Any] = {}
            for spans in grid:
                # One after the other, or all tiles would need memory at once.
                with tf.control_dependencies(tf.nest.flatten(total)):
                    found = forward(*arguments(spans, image))
                total = tf.nest.map_structure(tf.add, total, found) if total else found

            def gradient(*cotangents: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
                total = tf.zeros_like(image)
                for spans in grid:
                    with tf.control_dependencies([total]):
                        found = backward(*arguments(spans, image), list(cotangents))
                    margins = [
                        [span.first, length - span.last]
                        for span, length in zip(spans, sides, strict=True)
                    ]
                    total += tf.pad(found, [[0, 0], *margins, [0, 0]])
                return total, [None] * len(variables)

            return total, gradient

        total = tf.custom_gradient(call)(image)
        return {name: reading.value(total[name]) for name, reading in every.items()}

    return read


def _as_sums(reading: Reading) -> SumReading:
    if not isinstance(reading, SumReading):
        raise TypeError(f"expected a SumReading for tiles. Received: {reading}")
    return reading


def tile_spans(length: int, side: int, multiple: int, halo: int) -> Iterator[_Span]:
    """Tiles of nearly equal size along an axis, which begin at multiples of a number."""
    count = math.ceil(length / side)
    step = math.ceil(length / count / multiple) * multiple
    # What is less than a position of the deepest layer belongs to the last tile.
    begins = range(0, max(1, length - multiple + 1), step)
    for begin, end in zip(begins, [*begins[1:], length], strict=True):
        yield _Span(begin, end, max(0, begin - halo), min(length, end + halo))


def _strides_and_reach(extractor: keras.Model) -> tuple[dict[str, int], int]:
    """Stride of each output in pixels, and how many pixels beyond its own an output sees."""
    seen = {id(extractor.inputs[0]): (1, 0)}
    for layer in extractor.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        stride = max(seen[id(tensor)][0] for tensor in inputs)
        reach = max(seen[id(tensor)][1] for tensor in inputs)
        if isinstance(layer, keras.layers.Conv2D):
            reach += stride * (max(layer.kernel_size) // 2)
        elif isinstance(layer, POOLS):
            reach += stride * isinstance(layer, BinomialPooling2D)
            stride *= 2
        seen[id(layer.output)] = stride, reach
    outputs = dict(zip(extractor.output_names, extractor.outputs, strict=True))
    found = {name: seen[id(tensor)] for name, tensor in outputs.items()}
    return {name: stride for name, (stride, _) in found.items()}, max(r for _, r in found.values())
