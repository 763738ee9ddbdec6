"""The three tasks: feature inversion, texture synthesis and style transfer.

Images in and out are [height, width, 3], RGB in 0..255. Each task builds its objective, starts
from seeded white noise unless told otherwise, and returns an `rwgen.Solution`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.compute.plan import choose_reader
from rwgen.errors import InvalidInputError
from rwgen.images import resize_image
from rwgen.network.preprocess import network_input
from rwgen.network.vgg import weight_fingerprints
from rwgen.optimize.checkpoint import Checkpoint, fingerprint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import Callback, Solution
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig
from rwgen.synthesis.image_search import ImageSearch
from rwgen.synthesis.objectives import inversion_objective, style_objective, texture_objective
from rwgen.synthesis.pyramid import image_sizes, solve_coarse_to_fine
from rwgen.synthesis.task_network import are_deep, task_network


def invert(
    image: NDArray[Any],
    layer: str | Sequence[str],
    *,
    network: keras.Model | None = None,
    config: InversionConfig | None = None,
    init: NDArray[Any] | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Reconstruct an image from its features (paper, eq. 1).

    Args:
        image: [height, width, 3], RGB in 0..255.
        layer: the layer, or layers, whose features are kept: any conv, pool or dense layer.
        network: a ranVGG, or a model with the same preprocessing; None builds the one that the
            configuration names, up to the layer.
        config: settings; None means the defaults.
        init: start of the search, of the image's shape; None means white noise.
        callback: see `rwgen.optimize.solution.Callback`; it gets RGB in 0..255.
        checkpoint: where the state is kept; the same call goes on from there, to the same image.
            `Checkpoint.remove` it once the result is safe.
        memory_limit: bytes that the process may take by the estimate of `rwgen.compute.memory`.
            Above it features are computed again rather than kept, and what cannot fit even so is
            refused before any work; None means no limit.

    Returns:
        The solution; its image has the shape of `image`, float, not clipped to 0..255.

    Raises:
        InvalidInputError: an image or a setting is not what it must be.
        CheckpointError: the checkpoint is another run's.
        OutputError: the checkpoint could not be written.
        MemoryLimitError: the task does not fit into `memory_limit`.
        OptimizationError: the loss is not finite.
    """
    config = config or InversionConfig()
    layers = (layer,) if isinstance(layer, str) else tuple(layer)
    network_input(image)  # checked before any work
    network = task_network(network, config, layers, {"an image": image.shape})
    _check_init(init, image.shape)
    _expect(checkpoint, "invert", config, network, (image, init), layers=layers)
    choose = functools.partial(choose_reader, network, layers, limit=memory_limit)
    differences = config.propagate_differences
    shape = (image.shape[0], image.shape[1])
    choose(shape, [shape], layers, config.optimizer, propagate_differences=differences)
    deep = are_deep(network, layers)
    chosen = config.parameterization or ("fourier-box" if deep else "pixel")
    whiten = config.whiten_features
    if whiten is None:
        whiten = deep and chosen.startswith("fourier")

    def solve(
        current: tuple[int, int],
        begin: NDArray[Any] | None,
        optimizer: OptimizerConfig,
        report: Callback,
    ) -> Solution:
        pixels = image if current == shape else resize_image(image, *current)
        target = network_input(pixels, network.inputs[0].dtype)
        reader_of, optimizer = choose(
            current, [current], layers, optimizer, propagate_differences=differences
        )
        search = ImageSearch(current, target.dtype, chosen, config.seed)
        objective = inversion_objective(
            network,
            target,
            layers,
            config.weighting,
            reader_of,
            differences,
            functools.partial(search.perturbed, target) if whiten else None,
        )
        return search.minimize(objective, begin, optimizer, report, checkpoint)

    sizes = image_sizes(shape, _possible_octaves(network, config.octaves), min(shape))
    return solve_coarse_to_fine(solve, sizes, init, config.optimizer, callback, checkpoint)


def synthesize_texture(
    source: NDArray[Any],
    size: tuple[int, int] | None = None,
    *,
    network: keras.Model | None = None,
    config: TextureConfig | None = None,
    init: NDArray[Any] | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Synthesise a texture with the Gram matrices of a source (paper, eq. 5).

    Args:
        source: [height, width, 3], RGB in 0..255, of any size.
        size: (height, width) of the result; None means the source's.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the result's shape; None means white noise.
        callback: see `rwgen.optimize.solution.Callback`; it gets RGB in 0..255.
        checkpoint: where the state is kept; the same call goes on from there, to the same image.
            `Checkpoint.remove` it once the result is safe.
        memory_limit: see `invert`.

    Returns:
        The solution; its image is [*size, 3], float, not clipped to 0..255.

    Raises:
        InvalidInputError: an image or a setting is not what it must be.
        CheckpointError: the checkpoint is another run's.
        OutputError: the checkpoint could not be written.
        MemoryLimitError: the task does not fit into `memory_limit`.
        OptimizationError: the loss is not finite.
    """
    config = config or TextureConfig()
    network_input(source)  # checked before any work
    shape = _texture_size(size) if size else (source.shape[0], source.shape[1])
    _check_init(init, (*shape, 3))
    shapes = {"a source image": source.shape, "a result": shape}
    network = task_network(network, config, config.layers, shapes)
    _expect(checkpoint, "texture", config, network, (source, init), size=shape)
    choose = functools.partial(choose_reader, network, config.layers, limit=memory_limit)
    choose(shape, [source.shape], (), config.optimizer)  # refuses before any work

    def solve(
        current: tuple[int, int],
        begin: NDArray[Any] | None,
        optimizer: OptimizerConfig,
        report: Callback,
    ) -> Solution:
        shrink = current[0] / shape[0]
        target = network_input(_scaled(source, shrink), network.inputs[0].dtype)
        reader_of, optimizer = choose(current, [target.shape[1:]], (), optimizer)
        objective = texture_objective(network, target, config, reader_of)
        search = ImageSearch(current, target.dtype, config.parameterization, config.seed)
        return search.minimize(objective, begin, optimizer, report, checkpoint)

    sizes = image_sizes(
        shape, _possible_octaves(network, config.octaves), min(*shape, *source.shape[:2])
    )
    return solve_coarse_to_fine(solve, sizes, init, config.optimizer, callback, checkpoint)


def transfer_style(
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    *,
    network: keras.Model | None = None,
    config: StyleConfig | None = None,
    init: NDArray[Any] | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
) -> Solution:
    """Render the content of one image in the style of others (paper, eq. 9).

    Args:
        content: [height, width, 3], RGB in 0..255; the result has its size.
        styles: images [height, width, 3], RGB in 0..255, of any size; strokes keep their size
            in pixels.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the content's shape; None means white noise.
        callback: see `rwgen.optimize.solution.Callback`; it gets RGB in 0..255.
        checkpoint: where the state is kept; the same call goes on from there, to the same image.
            `Checkpoint.remove` it once the result is safe.
        memory_limit: see `invert`.

    Returns:
        The solution; its image has the shape of `content`, float, not clipped to 0..255.

    Raises:
        InvalidInputError: an image or a setting is not what it must be.
        CheckpointError: the checkpoint is another run's.
        OutputError: the checkpoint could not be written.
        MemoryLimitError: the task does not fit into `memory_limit`.
        OptimizationError: the loss is not finite.
    """
    config = config or StyleConfig()
    if not styles:
        raise InvalidInputError("expected at least one style image. Received: none")
    config.blend(len(styles))  # checked before any work, like the images
    for image in (content, *styles):
        network_input(image)
    _check_init(init, content.shape)
    shapes = {"a content image": content.shape}
    shapes |= {f"style image {number}": x.shape for number, x in enumerate(styles, start=1)}
    kept = config.content_layers if config.content_weight else ()
    layers = (
        *kept,
        *(config.style_layers if config.style_weight else ()),
    )
    network = task_network(network, config, layers, shapes)
    _expect(checkpoint, "style", config, network, (content, *styles, init))
    shape = (content.shape[0], content.shape[1])
    choose = functools.partial(choose_reader, network, layers, limit=memory_limit)
    choose(shape, list(shapes.values()), kept, config.optimizer)  # refuses before any work

    def solve(
        current: tuple[int, int],
        begin: NDArray[Any] | None,
        optimizer: OptimizerConfig,
        report: Callback,
    ) -> Solution:
        shrink = current[0] / shape[0]
        dtype = network.inputs[0].dtype
        targets = [network_input(_scaled(style, shrink), dtype) for style in styles]
        scene = network_input(resize_image(content, *current), dtype)
        shapes_now = [target.shape[1:] for target in (scene, *targets)]
        reader_of, optimizer = choose(current, shapes_now, kept, optimizer)
        objective = style_objective(network, scene, targets, config, reader_of)
        search = ImageSearch(current, dtype, config.parameterization, config.seed)
        return search.minimize(objective, begin, optimizer, report, checkpoint)

    sides = [side for image_shape in shapes.values() for side in image_shape[:2]]
    sizes = image_sizes(shape, _possible_octaves(network, config.octaves), min(sides))
    return solve_coarse_to_fine(solve, sizes, init, config.optimizer, callback, checkpoint)


def _possible_octaves(network: keras.Model, octaves: int | None) -> int | None:
    """None at all where a network takes images of one size only."""
    return octaves if None in network.inputs[0].shape[1:3] else 0


def _texture_size(size: Sequence[int]) -> tuple[int, int]:
    sides = tuple(size)
    whole = all(isinstance(side, int | np.integer) and side >= 1 for side in sides)
    if len(sides) != 2 or not whole:
        raise InvalidInputError(f"expected a size (height, width) in pixels. Received: {size}")
    return int(sides[0]), int(sides[1])


def _scaled(image: NDArray[Any], factor: float) -> NDArray[Any]:
    """An image with both sides multiplied by a factor, at least one pixel each."""
    if factor == 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return resize_image(image, height, width)


def _check_init(init: NDArray[Any] | None, shape: Sequence[int]) -> None:
    if init is not None and tuple(init.shape) != tuple(shape):
        raise InvalidInputError(
            f"expected an init image of shape {tuple(shape)}. Received: {tuple(init.shape)}"
        )


def _expect(
    checkpoint: Checkpoint | None,
    task: str,
    config: InversionConfig | StyleConfig | TextureConfig,
    network: keras.Model,
    images: Sequence[NDArray[Any] | None],
    **settings: Any,
) -> None:
    """Tell a checkpoint everything that decides the result."""
    if checkpoint is not None:
        checkpoint.expect(
            task=task,
            settings={**dataclasses.asdict(config), **settings},
            images=[fingerprint(image) for image in images],
            network=network.to_json(),
            weights=weight_fingerprints(network),
        )
