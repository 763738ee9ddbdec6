"""From one image to another, through the features of a layer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count
from rwgen.compute.plan import ComputePlan
from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
from rwgen.network.preprocess import check_image
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import Callback, Solution
from rwgen.synthesis.config import (
    MORPH_ITERATIONS,
    MORPH_PARAMETERIZATION,
    MORPH_STEPS,
    InversionConfig,
)
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.objectives import Objective, morphing_objective
from rwgen.synthesis.pipeline import Network, TargetImage, Task, run, task_network
from rwgen.synthesis.tasks import layer_defaults


def morph(
    first: ImageLike,
    second: ImageLike,
    layer: str | Sequence[str],
    steps: int = MORPH_STEPS,
    *,
    network: Network = None,
    config: InversionConfig | None = None,
    callback: Callback | None = None,
    memory_limit: int | None = None,
) -> Iterator[Solution]:
    """Turn one image into another through the features of a layer, frame by frame.

    Each frame is an inversion (`rwgen.invert`) whose target lies on the straight line between the
    features of the two images; it starts from the same point of the line between their pixels
    (docs/math.md, "Morphing").

    Args:
        first: [height, width, 3], RGB in 0..255, or see `rwgen.invert`.
        second: the same, of the same shape.
        layer: the layer, or layers, whose features are blended.
        steps: number of frames, both ends included, at least 2.
        network: see `rwgen.invert`.
        config: settings, with the iterations of each frame; None means those of an inversion with
            `MORPH_ITERATIONS`. Differences are not propagated, one size is used unless `octaves`
            is given, and `MORPH_PARAMETERIZATION` unless `parameterization` is.
        callback: see `rwgen.invert`; it is called for every frame, and ends one frame.
        memory_limit: see `rwgen.invert`.

    Returns:
        An iterator of solutions, from the first image to the second; each frame is computed when
        it is asked for.

    Raises:
        RwgenError: see `rwgen.invert`; or the images differ in shape.
    """
    check_count("steps", steps, 2)
    config = config or InversionConfig(optimizer=OptimizerConfig(max_iterations=MORPH_ITERATIONS))
    layers = (layer,) if isinstance(layer, str) else tuple(layer)
    images = [check_image(as_pixels(image)) for image in (first, second)]
    if images[0].shape != images[1].shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images]
        raise InvalidInputError(
            f"expected two images of the same size. Received: {' and '.join(sizes)} pixels"
        )
    model = task_network(network, config, layers, {"an image": images[0].shape})
    return _frames(images, layers, steps, model, config, callback, memory_limit)


def _frames(
    images: Sequence[NDArray[Any]],
    layers: Sequence[str],
    steps: int,
    network: keras.Model,
    config: InversionConfig,
    callback: Callback | None,
    memory_limit: int | None,
) -> Iterator[Solution]:
    chosen = config.parameterization or MORPH_PARAMETERIZATION
    config = dataclasses.replace(config, parameterization=chosen)
    parameterization, whiten = layer_defaults(network, layers, config)

    def objective(
        share: float,
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        minimizer: ImageMinimizer,
    ) -> Objective:
        near = [functools.partial(minimizer.perturbed, target) for target in targets]
        return morphing_objective(
            network, targets, share, layers, config.weighting, plan, near if whiten else ()
        )

    task = Task(
        name="morph",
        config=dataclasses.replace(config, octaves=config.octaves or 0),
        network=network,
        size=(images[0].shape[0], images[0].shape[1]),
        targets=[
            TargetImage(name, image, has_result_size=True)
            for name, image in zip(("the first image", "the second image"), images, strict=True)
        ],
        layers=layers,
        content_layers=layers,
        objective=functools.partial(objective, 0.0),
        parameterization=parameterization,
    )
    for number in range(steps):
        share = number / (steps - 1)
        start = (1 - share) * images[0].astype(np.float32) + share * images[1]
        frame = dataclasses.replace(task, objective=functools.partial(objective, share))
        yield run(frame, start, callback, None, memory_limit, verbose=False)
