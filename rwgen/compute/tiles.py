"""A reader that computes features tile by tile, in memory that does not grow with the image.

Gram matrices and other sums over positions are sums over tiles. So a first pass over the tiles adds
up sums, from which a loss follows; a second pass computes the features of each tile again and their
gradient. Both are exact, and no seam can arise: each tile comes with the pixels around it that its
features see, and features outside the tile are dropped.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, Reading, SumReading, Tile
from rwgen.network.features import POOLS
from rwgen.network.pooling import BinomialPooling2D
from rwgen.network.tiling import check_keeps_positions


class Span(NamedTuple):
    """Pixels of one axis: a tile, and the part of the image that it is computed from.

    Attributes:
        begin: first pixel of the tile.
        end: pixel after its last.
        first: first pixel of the part.
        last: pixel after its last.
    """

    begin: int
    end: int
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, int]:
        """Length of the tile and of the part."""
        return self.end - self.begin, self.last - self.first


_Shapes = tuple[tuple[int, int], tuple[int, int]]
"""Height of a tile and of its part, and their widths."""

_Sums = dict[str, Any]
"""By layer."""


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
        rows, columns = (tile_spans(length, side, multiple, halo) for length in sides)
        tiles = _places_by_shape(rows, columns)

        def sums(
            image: tf.Tensor, place: tf.Tensor, tile_shapes: _Shapes, names: Iterable[str]
        ) -> _Sums:
            """What a tile adds to the sums of some layers."""
            begins, firsts = place[0], place[1]
            parts = [last for _, last in tile_shapes]
            features = extractor(_window(image, firsts, parts))
            others = None if other is None else extractor(_window(other, firsts, parts))
            found = {}
            for name in names:
                begin = begins // strides[name]
                within = begin - firsts // strides[name]
                window = [side // strides[name] for side, _ in tile_shapes]
                rest = None
                if others is not None:
                    rest = tf.cast(_window(others[name], within, window), image.dtype)
                tile = Tile((begin[0], begin[1]), shapes[name][1:3], rest)
                own = tf.cast(_window(features[name], within, window), image.dtype)
                found[name] = every[name].sums(own, tile)
            return found

        def pull_back(
            image: tf.Tensor, place: tf.Tensor, tile_shapes: _Shapes, cotangents: _Sums
        ) -> tf.Tensor:
            """What a tile adds to the gradient of the image."""
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(image)
                found = sums(image, place, tile_shapes, cotangents)
            gradient = tape.gradient(
                tf.nest.flatten(found),
                image,
                tf.nest.flatten(cotangents),
                unconnected_gradients="zero",
            )
            return tf.ensure_shape(gradient, image.shape)

        def call(image: tf.Tensor) -> Any:
            # Hidden from an outer tape, which would keep all features after all.
            image = tf.stop_gradient(image)
            total = None
            for tile_shapes, places in tiles.items():
                function = functools.partial(sums, image, tile_shapes=tile_shapes, names=every)
                total = _sum_over(function, places, total)

            def gradient(*cotangents: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
                wanted = tf.nest.pack_sequence_as(total, cotangents)
                if tf.executing_eagerly():
                    # Of several layers, most have no part in the gradient of one.
                    wanted = {name: each for name, each in wanted.items() if _is_any_nonzero(each)}
                found = tf.zeros_like(image)
                for tile_shapes, places in tiles.items():
                    function = functools.partial(
                        pull_back, image, tile_shapes=tile_shapes, cotangents=wanted
                    )
                    found = _sum_over(function, places, found)
                return found, [None] * len(variables)

            return total, gradient

        total = tf.custom_gradient(call)(image)
        return {name: reading.value(total[name]) for name, reading in every.items()}

    return read


def _places_by_shape(
    rows: Iterable[Span], columns: Iterable[Span]
) -> dict[_Shapes, NDArray[np.int32]]:
    """Rows and columns of tiles and of their parts, [tiles, 2, 2], by their shapes."""
    places: dict[_Shapes, list[Any]] = {}
    for row, column in itertools.product(rows, columns):
        place = (row.begin, column.begin), (row.first, column.first)
        places.setdefault((row.shape, column.shape), []).append(place)
    return {shapes: np.array(found, np.int32) for shapes, found in places.items()}


def _window(images: tf.Tensor, begin: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Cut [1, height, width, N] to a size from a row and column on."""
    return tf.slice(images, tf.concat([[0], begin, [0]], axis=0), [1, *size, images.shape[3]])


def _sum_over(
    function: Callable[[tf.Tensor], Any], places: NDArray[np.int32], total: Any = None
) -> Any:
    """Add up what a function gives for each place.

    One place after the other: all at once would need memory for each. In a graph, all places share
    their nodes.

    Args:
        function: maps a place to a structure of tensors.
        places: [places, ...].
        total: what to add it to; None means zeros.

    Returns:
        The sum, of the structure of the results.
    """
    # TensorFlow would take the bound arguments of a partial for inputs.
    step = tf.function(lambda place: function(place), autograph=False)
    if tf.executing_eagerly():
        for place in tf.unstack(places):
            found = step(place)
            total = found if total is None else tf.nest.map_structure(tf.add, total, found)
        return total
    step = step.get_concrete_function(tf.constant(places[0]))
    if total is None:
        total = tf.nest.map_structure(
            lambda each: tf.zeros(each.shape, each.dtype), step.structured_outputs
        )

    def body(index: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        found = step(tf.gather(places, index))
        return index + 1, tf.nest.map_structure(tf.add, total, found)

    return tf.while_loop(
        lambda index, _: index < len(places), body, [0, total], parallel_iterations=1
    )[1]


def _is_any_nonzero(values: Any) -> bool:
    return any(bool(tf.reduce_any(value != 0)) for value in tf.nest.flatten(values))


def _as_sums(reading: Reading) -> SumReading:
    if not isinstance(reading, SumReading):
        raise TypeError(f"expected a SumReading for tiles. Received: {reading}")
    return reading


def tile_spans(length: int, side: int, multiple: int, halo: int) -> Iterator[Span]:
    """Tiles along an axis, which begin at multiples of a number.

    All but the last have the same length. All but the last two, which may see less than a whole
    position of the deepest layer beyond the border, are computed from parts of the same length.

    Args:
        length: of the axis.
        side: of a tile, about.
        multiple: number of pixels of a position of the deepest layer.
        halo: pixels that the features of a tile see beyond it, a multiple of `multiple`.

    Yields:
        The tiles in order; together they cover the axis once.
    """
    count = math.ceil(length / side)
    step = math.ceil(length / count / multiple) * multiple
    # What is less than a position of the deepest layer belongs to the last tile.
    begins = range(0, max(1, length - multiple + 1), step)
    for begin, end in zip(begins, [*begins[1:], length], strict=True):
        # Tiles at a border see more of the image beside them, so that they have the same shape.
        part = min(length, end - begin + 2 * halo)
        first = max(0, min(begin - halo, (length - part) // multiple * multiple))
        last = first + part
        yield Span(begin, end, first, last if end + halo <= last <= length - 1 else length)


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
