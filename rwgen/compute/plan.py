"""Whether a task keeps features or computes them again, decided by its network and a limit."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import keras

from rwgen.compute.memory import Workload, plan_memory
from rwgen.compute.readers import ReaderFactory, plain_reader, rematerialized_reader
from rwgen.compute.winograd import WinogradConv2D
from rwgen.network.features import feature_extractor, layer_names
from rwgen.optimize.config import OptimizerConfig


def choose_reader(
    network: keras.Model,
    layers: Sequence[str],
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    content_layers: Sequence[str],
    config: OptimizerConfig,
    limit: int | None,
    propagate_differences: bool = False,
) -> tuple[ReaderFactory, OptimizerConfig]:
    """The reader that a problem's objective is to use, and the optimizer's settings with it.

    Args:
        network: the network.
        layers: every layer that is read.
        size: (height, width) of the result.
        targets: (height, width) of each target image, that of the content first.
        content_layers: those of `layers` whose features are kept as targets.
        config: how L-BFGS runs.
        limit: bytes of memory, None for no limit.
        propagate_differences: see `rwgen.compute.memory.Workload`.

    Returns:
        The factory for the objective, and `config`. With rematerialisation the reader compiles
        its segments and the optimizer must not compile the whole (`rwgen.compute.readers`).

    Raises:
        MemoryLimitError: no way of working fits.
    """
    if limit is None:
        return plain_reader, config
    extractor = feature_extractor(network, layers)
    outputs = {layer.name: layer.output for layer in extractor.layers[1:]}
    every_layer = keras.Model(extractor.inputs[0], outputs)

    def sizes(image: Sequence[int]) -> dict[str, int]:
        shapes = every_layer.compute_output_shape((1, *image[:2], 3))
        return {name: math.prod(shape) for name, shape in shapes.items()}

    names = layer_names(network, content_layers) if content_layers else ()
    content = sizes(targets[0])
    work = Workload(
        image_size=3 * size[0] * size[1],
        features=tuple(sizes(size).values()),
        targets=[tuple(sizes(image).values()) for image in targets],
        held=sum(content[name] for name in names),
        num_weights=extractor.count_params(),
        num_filters=sum(
            layer.count_params() for layer in extractor.layers if isinstance(layer, WinogradConv2D)
        ),
        num_correction_pairs=config.num_correction_pairs,
        propagate_differences=propagate_differences,
        itemsize=8 if keras.backend.standardize_dtype(network.inputs[0].dtype) == "float64" else 4,
    )
    if not plan_memory(work, limit).rematerialize:
        return plain_reader, config
    factory = functools.partial(rematerialized_reader, jit_compile=config.jit_compile)
    return factory, dataclasses.replace(config, jit_compile=False)
