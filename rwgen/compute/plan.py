"""How the features of one task are computed: decided once, and passed down."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from rwgen.compute.bfloat16 import in_bfloat16
from rwgen.compute.device import Precision
from rwgen.compute.memory import (
    LayerSize,
    Workload,
    compiled_multiplications,
    plan_memory,
    workload,
)
from rwgen.compute.readers import Reader, plain_reader, recomputing_reader
from rwgen.compute.sub_pixel import with_sub_pixel_gradients
from rwgen.compute.tiles import tiled_reader
from rwgen.compute.winograd import becomes_winograd, with_winograd
from rwgen.network.features import feature_extractor, layer_names
from rwgen.optimize.config import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class ComputePlan:
    """How features, and their gradients, are computed.

    Attributes:
        recompute: recompute features segment by segment for their gradient instead of keeping
            them, which takes less memory and half as much computation again.
        tile: compute features in tiles of about this many pixels a side instead, whose memory does
            not grow with the image (`rwgen.compute.tiles`); None does not.
        jit_compile: compile with XLA: the objective as a whole or, with `recompute`, each segment.
        winograd: on a CPU, use Winograd's algorithm for convolutions of many channels, if compiled;
            an ordinary graph takes far longer with it.
        precision: number format of convolutions; `bfloat16` rules Winograd's algorithm out.
        propagate_differences: in inversions, propagate differences from the target's features
            (`rwgen.synthesis.differences`). They need all features of the target, so `recompute`
            rules them out.
    """

    recompute: bool = False
    tile: int | None = None
    jit_compile: bool = True
    winograd: bool = True
    precision: Precision = "float32"
    propagate_differences: bool = False

    def within(self, limit: int | None, work: Workload) -> ComputePlan:
        """The same plan, with tiles or recomputation if the task does not fit otherwise.

        Recomputation is compiled: in an ordinary graph it takes as much memory as it saves
        (docs/performance.md).

        Args:
            limit: bytes that the process may take; None means no limit.
            work: the task.

        Raises:
            MemoryLimitError: the task does not fit in any way.
        """
        chosen = plan_memory(work, limit)
        if chosen.tile is not None:
            return dataclasses.replace(self, tile=chosen.tile, jit_compile=False)
        if chosen.recompute:
            return dataclasses.replace(self, recompute=True, jit_compile=True)
        return self

    @property
    def compiles_objective(self) -> bool:
        """Whether to compile the objective as a whole.

        Segments must not be part of one compiled function (`rwgen.compute.readers`).
        """
        return self.jit_compile and not self.recompute

    @property
    def uses_differences(self) -> bool:
        """Whether differences are propagated."""
        return self.propagate_differences and not self.recompute

    def network(self, network: keras.Model) -> keras.Model:
        """The network to compute with: the given one, or a copy with other convolutions."""
        if not self.jit_compile:
            network = with_sub_pixel_gradients(network)
        if self.precision == "bfloat16":
            return in_bfloat16(network)
        return with_winograd(network) if self.winograd and self.jit_compile else network

    def reader(self, extractor: keras.Model, other: tf.Tensor | None = None) -> Reader:
        """A reader of an extractor's layers, see `rwgen.compute.readers`.

        Args:
            extractor: maps an image to {layer: features}.
            other: for tiles, see `rwgen.compute.tiles.tiled_reader`.
        """
        if self.tile is not None:
            return tiled_reader(extractor, self.tile, other)
        if self.recompute:
            return recomputing_reader(extractor, self.jit_compile)
        return plain_reader(extractor)


def network_workload(
    network: keras.Model,
    layers: Sequence[str],
    *,
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    content_layers: Sequence[str],
    optimizer: OptimizerConfig,
    propagate_differences: bool = False,
    style_layers: Sequence[str] = (),
    num_regions: int = 1,
    has_tiles: bool = False,
) -> Workload:
    """The workload of a task with a network, counted as in `architecture_workload`.

    Args:
        network: the network of the task, before `ComputePlan.network`.
        layers: every layer that the task reads.
        size: see `rwgen.compute.memory.workload`.
        targets: see `rwgen.compute.memory.workload`.
        content_layers: see `rwgen.compute.memory.workload`; any of their names.
        optimizer: see `rwgen.compute.memory.workload`.
        propagate_differences: see `rwgen.compute.memory.workload`.
        style_layers: see `rwgen.compute.memory.workload`; any of their names.
        num_regions: see `rwgen.compute.memory.workload`.
        has_tiles: see `rwgen.compute.memory.workload`.

    Raises:
        LayerError: a layer is unknown.
    """
    extractor = feature_extractor(network, layers)
    every_layer = keras.Model(
        extractor.inputs[0], {layer.name: layer.output for layer in extractor.layers[1:]}
    )
    shapes: dict[tuple[int, int], dict[str, tuple[int, ...]]] = {}

    def size_of(layer: keras.layers.Layer) -> LayerSize:
        kernel = getattr(layer, "kernel", None)

        def output(height: int, width: int) -> int:
            if (height, width) not in shapes:
                shapes[height, width] = every_layer.compute_output_shape((1, height, width, 3))
            return math.prod(shapes[height, width][layer.name])

        def multiplications(height: int, width: int) -> int:
            shape = None if kernel is None else kernel.shape
            return compiled_multiplications(shape, output(height, width))

        return LayerSize(
            output,
            multiplications,
            layer.count_params(),
            optimizer.winograd and becomes_winograd(layer),
        )

    return workload(
        {layer.name: size_of(layer) for layer in extractor.layers[1:]},
        size=size,
        targets=targets,
        content_layers=layer_names(network, content_layers) if content_layers else (),
        optimizer=optimizer,
        propagate_differences=propagate_differences,
        style_layers=layer_names(network, style_layers) if style_layers else (),
        num_regions=num_regions,
        has_tiles=has_tiles,
        itemsize=8 if keras.backend.standardize_dtype(network.inputs[0].dtype) == "float64" else 4,
    )
