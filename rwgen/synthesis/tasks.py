"""The three tasks: feature inversion, texture synthesis and style transfer.

Images are [height, width, 3], RGB in 0..255, or in any other form that `rwgen.images.as_pixels`
takes: file names, images of Pillow, nested lists. Each task defines its targets, layers and
objective; `rwgen.synthesis.pipeline` does the rest.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.compute.plan import ComputePlan
from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
from rwgen.network.features import num_pools
from rwgen.network.preprocess import check_image
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.solution import Callback, Solution
from rwgen.phases import phase
from rwgen.synthesis.colors import match_colors
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.objectives import (
    Objective,
    inversion_objective,
    style_objective,
    texture_objective,
)
from rwgen.synthesis.pipeline import Network, TargetImage, Task, run, task_network
from rwgen.synthesis.pyramid import AUTOMATIC_SIDE_OF_TEXTURE, SMALLEST_GRAM_SIDE

DEEP_POOLS = 3
"""Number of pools from which on a layer is deep: by default an inversion then moves frequencies in
a box and whitens features. For shallower layers, pixels and the paper's loss do better
(docs/math.md, "Whitened features")."""


def invert(
    image: ImageLike,
    layer: str | Sequence[str],
    *,
    network: Network = None,
    config: InversionConfig | None = None,
    init: ImageLike | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Reconstruct an image from its features (paper, eq. 1).

    Args:
        image: [height, width, 3], RGB in 0..255; or a file name or an image of Pillow.
        layer: the layer, or layers, whose features are kept: any conv, pool or dense layer.
        network: a ranVGG, a model with the same preprocessing, a recipe, or a name or file as for
            `rwgen.load_recipe`; None builds the network of the configuration.
        config: settings; None means the defaults.
        init: start of the search, of the image's shape; None means white noise.
        callback: see `rwgen.optimize.solution.Callback`; it receives RGB in 0..255.
        checkpoint: where to store the state; the same call then resumes the search and ends with
            the same image. Call `Checkpoint.remove` once the result is saved.
        memory_limit: bytes that the process may take by the estimate of `rwgen.compute.memory`.
            Features that do not fit are recomputed instead of kept, and a task that cannot fit at
            all is refused before any work. None means no limit.

    Returns:
        The solution; its image has the shape of `image`, float, not clipped to 0..255.

    Raises:
        InvalidInputError: an image or a setting is invalid.
        CheckpointError: the checkpoint belongs to another run.
        OutputError: the checkpoint could not be written.
        MemoryLimitError: the task does not fit into `memory_limit`.
        OptimizationError: the loss is not finite.
    """
    config = config or InversionConfig()
    layers = (layer,) if isinstance(layer, str) else tuple(layer)
    target = TargetImage("an image", _pixels(image), has_result_size=True)
    network = task_network(network, config, layers, {target.name: target.pixels.shape})
    deep = min(num_pools(network, name) for name in layers) >= DEEP_POOLS
    parameterization = config.parameterization or ("fourier-box" if deep else "pixel")
    whiten = config.whiten_features
    if whiten is None:
        whiten = deep and parameterization.startswith("fourier")

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        minimizer: ImageMinimizer,
    ) -> Objective:
        (target,) = targets
        perturbation = functools.partial(minimizer.perturbed, target) if whiten else None
        return inversion_objective(network, target, layers, config.weighting, plan, perturbation)

    task = Task(
        name="invert",
        config=config,
        network=network,
        propagate_differences=config.propagate_differences,
        size=_size(target.pixels),
        targets=[target],
        layers=layers,
        content_layers=layers,
        objective=objective,
        parameterization=parameterization,
        settings={"layers": layers},
    )
    return run(task, init, callback, checkpoint, memory_limit)


def synthesize_texture(
    source: ImageLike,
    size: int | tuple[int, int] | None = None,
    *,
    network: Network = None,
    config: TextureConfig | None = None,
    init: ImageLike | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Synthesize a texture with the Gram matrices of a source (paper, eq. 5).

    Args:
        source: [height, width, 3], RGB in 0..255, of any size; or see `invert`.
        size: (height, width) of the result, or the side of a square; None means the source's.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the result's shape; None means white noise.
        callback: see `invert`.
        checkpoint: see `invert`.
        memory_limit: see `invert`.

    Returns:
        The solution; its image is [*size, 3], float, not clipped to 0..255.

    Raises:
        RwgenError: see `invert`.
    """
    config = config or TextureConfig()
    target = TargetImage("a source image", _pixels(source))
    result = _size(target.pixels) if size is None else _checked_size(size)
    shapes = {target.name: target.pixels.shape, "a result": result}
    network = task_network(network, config, config.layers, shapes)

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        _minimizer: ImageMinimizer,
    ) -> Objective:
        layers = config.layers
        if _is_coarser(targets[0], target.pixels):
            layers = _with_enough_positions(network, layers, targets)
        at_size = dataclasses.replace(config, layers=layers)
        return texture_objective(network, targets[0], at_size, plan)

    task = Task(
        name="texture",
        config=config,
        network=network,
        size=result,
        targets=[target],
        layers=config.layers,
        content_layers=(),
        objective=objective,
        parameterization=config.parameterization,
        automatic_side=AUTOMATIC_SIDE_OF_TEXTURE,
        precision=config.precision,
        settings={"size": result},
    )
    return run(task, init, callback, checkpoint, memory_limit)


def transfer_style(
    content: ImageLike,
    styles: ImageLike | Sequence[ImageLike],
    *,
    network: Network = None,
    config: StyleConfig | None = None,
    init: ImageLike | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Render the content of one image in the style of others (paper, eq. 9).

    Args:
        content: [height, width, 3], RGB in 0..255, or see `invert`; the result has its size.
        styles: one image or several, of any size; strokes keep their size in pixels.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the content's shape; None means that of the configuration.
        callback: see `invert`.
        checkpoint: see `invert`.
        memory_limit: see `invert`.

    Returns:
        The solution; its image has the shape of `content`, float, not clipped to 0..255.

    Raises:
        RwgenError: see `invert`.
    """
    config = config or StyleConfig()
    style_pixels = [_pixels(style) for style in as_list(styles)]
    shares = config.blend(len(style_pixels))
    pixels = _pixels(content)
    if config.match_colors:
        with phase("match colors"):
            pixels = match_colors(pixels, style_pixels, shares)
    if init is None and config.init == "content":
        init = pixels
    targets = [
        TargetImage("a content image", pixels, has_result_size=True),
        *(
            TargetImage(f"style image {number}", style)
            for number, style in enumerate(style_pixels, start=1)
        ),
    ]
    content_layers = config.content_layers if config.content_weight else ()
    layers = (*content_layers, *(config.style_layers if config.style_weight else ()))
    shapes = {target.name: target.pixels.shape for target in targets}
    network = task_network(network, config, layers, shapes)

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        _minimizer: ImageMinimizer,
    ) -> Objective:
        style_layers = config.style_layers
        if _is_coarser(targets[0], pixels):
            style_layers = _with_enough_positions(network, style_layers, targets[1:])
        at_size = dataclasses.replace(config, style_layers=style_layers)
        return style_objective(network, targets[0], targets[1:], at_size, plan)

    task = Task(
        name="style",
        config=config,
        network=network,
        size=_size(targets[0].pixels),
        targets=targets,
        layers=layers,
        content_layers=content_layers,
        objective=objective,
        parameterization=config.parameterization,
        precision=config.precision,
    )
    return run(task, init, callback, checkpoint, memory_limit)


def _is_coarser(target: NDArray[Any], image: NDArray[Any]) -> bool:
    """Whether network input [1, height, width, 3] shows an image at less than its own size."""
    return target.shape[1:3] != image.shape[:2]


def _with_enough_positions(
    network: keras.Model, layers: Sequence[str], images: Sequence[NDArray[Any]]
) -> tuple[str, ...]:
    """Layers with feature maps of at least `SMALLEST_GRAM_SIDE` a side, or the shallowest one.

    Args:
        network: The network.
        layers: Names of its layers.
        images: Network input [1, height, width, 3].
    """
    side = min(size for image in images for size in image.shape[1:3])
    pools = {layer: num_pools(network, layer) for layer in layers}
    kept = tuple(name for name in layers if side >> pools[name] >= SMALLEST_GRAM_SIDE)
    return kept or (min(layers, key=pools.__getitem__),)


def _pixels(image: ImageLike) -> NDArray[Any]:
    return check_image(as_pixels(image))


def as_list(styles: Any) -> list[ImageLike]:
    """Style images as a list, whether one is given or several, or a batch.

    Raises:
        InvalidInputError: there is none.
    """
    shape = getattr(styles, "shape", None)
    if shape is not None:  # an array or a tensor
        images = list(styles) if len(shape) == 4 else [styles]
    elif not isinstance(styles, Sequence) or isinstance(styles, str):
        images = [styles]  # a file name, or an image of Pillow
    else:
        first = styles[0] if styles else None
        is_row = isinstance(first, Sequence | np.ndarray) and np.ndim(first) == 2
        images = [styles] if is_row else list(styles)
    if not images:
        raise InvalidInputError("expected at least one style image. Received: none")
    return images


def _size(image: NDArray[Any]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _checked_size(size: int | Sequence[int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence | np.ndarray) else (size, size)
    whole = all(isinstance(side, int | np.integer) and side >= 1 for side in sides)
    if len(sides) != 2 or not whole:
        raise InvalidInputError(f"expected a size (height, width) in pixels. Received: {size}")
    return int(sides[0]), int(sides[1])
