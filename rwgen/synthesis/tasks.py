"""The tasks: feature inversion, texture synthesis, filled holes and style transfer.

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
from rwgen.images import ImageLike, as_pixels, resize_image
from rwgen.network.architecture import check_tile_size
from rwgen.network.features import feature_extractor, num_pools
from rwgen.network.preprocess import PIXEL_RANGE, check_image
from rwgen.network.tiling import keeps_positions, tiling_network
from rwgen.noise import white_noise
from rwgen.optimize.checkpoint import Checkpoint, fingerprint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import Callback, Solution
from rwgen.phases import phase
from rwgen.synthesis.colors import gray, result_colors, search_colors, with_chroma
from rwgen.synthesis.config import (
    INPAINT_ITERATIONS,
    INPAINT_PARAMETERIZATION,
    InversionConfig,
    ParameterizationName,
    StyleConfig,
    TextureConfig,
)
from rwgen.synthesis.hold import Hold
from rwgen.synthesis.holes import hole_at, hole_shares, positions_outside
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.margins import add_margin, margin_within
from rwgen.synthesis.objectives import (
    Objective,
    inpainting_objective,
    inversion_objective,
    style_objective,
    texture_objective,
)
from rwgen.synthesis.pieces import fitting_piece, hole_mask
from rwgen.synthesis.pipeline import Network, TargetImage, Task, mapped, run, task_network
from rwgen.synthesis.pyramid import (
    AUTOMATIC_SIDE_OF_TEXTURE,
    FULL_SHARE_SIDE,
    SMALLEST_GRAM_SIDE,
    image_sizes,
)
from rwgen.synthesis.regions import regions_of
from rwgen.synthesis.scale import style_size
from rwgen.synthesis.style_targets import StyleTargets

DEEP_POOLS = 3
"""Number of pools from which on a layer is deep: by default an inversion then moves frequencies in
a box and whitens features. For shallower layers, pixels and the paper's loss do better
(docs/math.md, "Whitened features")."""

LEAST_POSITIONS = 64
"""Number of positions outside a hole, at the deepest layer, from which on a smaller size is used:
fewer say little about a texture."""


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
    verbose: bool | int = False,
) -> Solution:
    """Reconstruct an image from its features (paper, eq. 1).

    Args:
        image: [height, width, 3], RGB in 0..255; or a file name or an image of Pillow.
        layer: the layer, or layers, whose features are kept: any conv, pool or dense layer.
        network: a ranVGG, a model with the same preprocessing, a recipe, or a name or file as for
            `rwgen.load_recipe`; None builds the network of the configuration.
        config: settings; None means the defaults.
        init: start of the search, of the image's shape; None means white noise.
        callback: called at the start and after each iteration with a `rwgen.Snapshot`: its
            `iteration`, `loss`, `terms` and `seconds`, and its `image`, RGB in 0..255. Returning
            True ends the search. A callback of two arguments gets the `rwgen.Step` and a function
            that returns the image.
        checkpoint: where to store the state; the same call then resumes the search and ends with
            the same image. Call `Checkpoint.remove` once the result is saved.
        memory_limit: bytes that the process may take by the estimate of `rwgen.compute.memory`.
            Features that do not fit are recomputed instead of kept or, in styles and textures,
            computed in tiles, and a task that cannot fit at all is refused before any work. None
            means no limit.
        verbose: 1 or True prints a line after each iteration, with the seconds and the loss so far,
            and 0 or False nothing, as in Keras.

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
    parameterization, whiten = layer_defaults(network, layers, config)

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
    return run(task, init, callback, checkpoint, memory_limit, verbose)


def layer_defaults(
    network: keras.Model, layers: Sequence[str], config: InversionConfig
) -> tuple[ParameterizationName, bool]:
    """Parameterization, and whether features are whitened, where the layers decide."""
    deep = min(num_pools(network, name) for name in layers) >= DEEP_POOLS
    parameterization = config.parameterization or ("fourier-box" if deep else "pixel")
    whiten = config.whiten_features
    if whiten is None:
        whiten = deep and parameterization.startswith("fourier")
    return parameterization, whiten


def synthesize_texture(
    sources: ImageLike | Sequence[ImageLike],
    size: int | tuple[int, int] | None = None,
    *,
    network: Network = None,
    config: TextureConfig | None = None,
    init: ImageLike | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
    verbose: bool | int = False,
) -> Solution:
    """Synthesize a texture with the Gram matrices of a source (paper, eq. 5).

    Args:
        sources: [height, width, 3], RGB in 0..255, of any size, or see `invert`; or a list of
            several, whose mixture is the target (`TextureConfig.source_blend`).
        size: (height, width) of the result, or the side of a square; None means the first
            source's.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the result's shape; None means white noise.
        callback: see `invert`.
        checkpoint: see `invert`.
        memory_limit: see `invert`.
        verbose: see `invert`.

    Returns:
        The solution; its image is [*size, 3], float, not clipped to 0..255.

    Raises:
        RwgenError: see `invert`.
    """
    config = config or TextureConfig()
    given = [sources] if isinstance(sources, np.ndarray) else as_list(sources, "source")
    pixels = [_pixels(source) for source in given]
    config.blend(len(pixels))
    targets = [
        TargetImage("a source image" if len(pixels) == 1 else f"source image {number}", source)
        for number, source in enumerate(pixels, start=1)
    ]
    result = _size(pixels[0]) if size is None else _checked_size(size)
    shapes = {target.name: target.pixels.shape for target in targets} | {"a result": result}
    network = task_network(network, config, config.layers, shapes)
    multiple, tiling = _tiling(network, config, result)

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        _minimizer: ImageMinimizer,
    ) -> Objective:
        layers = config.layers
        if _is_coarser(targets[0], pixels[0]):
            layers = _with_enough_positions(network, layers, targets)
        at_size = dataclasses.replace(config, layers=layers)
        own = None if tiling is None else plan.network(tiling)
        return texture_objective(network, targets, at_size, plan, own)

    margin = 0 if config.tileable else _margin(network, config, result)
    task = Task(
        name="texture",
        config=config,
        network=network,
        size=result,
        targets=targets,
        layers=config.layers,
        content_layers=(),
        objective=objective,
        parameterization=config.parameterization,
        automatic_side=AUTOMATIC_SIDE_OF_TEXTURE,
        precision=config.precision,
        settings={"size": result},
        tileable=config.tileable,
        multiple=multiple,
        margin=margin,
        has_tiles=not config.tileable and keeps_positions(network),
        full_share_side=FULL_SHARE_SIDE + 2 * margin,
    )
    return run(task, init, callback, checkpoint, memory_limit, verbose)


def inpaint(
    image: ImageLike,
    hole: ImageLike,
    *,
    network: Network = None,
    config: TextureConfig | None = None,
    init: ImageLike | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
    verbose: bool | int = False,
) -> Solution:
    """Fill a hole of an image with the texture around it.

    The target is the Gram matrices of the piece of the image that fits the surroundings of the hole
    best, and the search starts from it; or, if the hole is so large that no piece of its shape is
    whole, those of everything outside it (docs/math.md, "Holes").

    Args:
        image: [height, width, 3], RGB in 0..255, or see `invert`.
        hole: what to fill: [height, width] of bool, or an image of the same size that is white
            there (brighter than mid gray).
        network: see `invert`; one of convolutions of stride 1 and 2x2 pools.
        config: settings; None means the defaults with `INPAINT_ITERATIONS` and
            `INPAINT_PARAMETERIZATION`, which suit a piece, or those of a texture for a hole
            without one. With `tileable`, the whole image is seen as a tile, so a hole
            along its borders makes it one.
        init: start of the search, of the image's shape; None means the piece or, without one, noise
            around the mean color.
        callback: see `invert`.
        checkpoint: see `invert`.
        memory_limit: see `invert`.
        verbose: see `invert`.

    Returns:
        The solution; its image is exactly `image` outside the hole, and not clipped inside.

    Raises:
        RwgenError: see `invert`; or the hole has another size than the image, is empty, or leaves
            too little of it.
    """
    pixels = _pixels(image)
    inside = hole_mask(hole, _size(pixels))
    # What is in the hole must not count, and smaller sizes are made from it too.
    filled = np.where(inside[..., np.newaxis], pixels[~inside].mean(axis=0), pixels)
    piece = fitting_piece(filled, inside, tileable=config is not None and config.tileable)
    if config is None:
        config = TextureConfig()
        if piece is not None:
            config = TextureConfig(
                parameterization=INPAINT_PARAMETERIZATION,
                optimizer=OptimizerConfig(max_iterations=INPAINT_ITERATIONS),
            )
    start = piece if init is None else init
    if start is None:
        noise = white_noise(config.seed, filled.shape) - np.float32(PIXEL_RANGE / 2)
        start = np.where(inside[..., np.newaxis], filled + noise, pixels)
    targets = [TargetImage("an image", filled, has_result_size=True)]
    if piece is not None:
        targets.append(TargetImage("a piece", piece, has_result_size=True))
    network = task_network(network, config, config.layers, {"an image": filled.shape})
    multiple, tiling = _tiling(network, config, _size(filled))
    octaves = config.octaves
    if piece is not None:
        octaves = octaves or 0
    sizes = image_sizes(_size(filled), octaves, min(_size(filled)), multiple=multiple)
    while len(sizes) > 1 and not _leaves_enough(network, config, hole_at(inside, sizes[0])):
        sizes = sizes[1:]

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        _minimizer: ImageMinimizer,
    ) -> Objective:
        own = None if tiling is None else plan.network(tiling)
        at = hole_at(inside, targets[0].shape[1:3])
        return inpainting_objective(network, targets[0], at, config, plan, own, *targets[1:])

    def complete(found: NDArray[Any]) -> NDArray[Any]:
        whole: NDArray[Any] = np.where(inside[..., np.newaxis], found, pixels)
        return whole

    task = Task(
        name="inpaint",
        config=dataclasses.replace(config, octaves=len(sizes) - 1),
        network=network,
        size=_size(filled),
        targets=targets,
        layers=config.layers,
        content_layers=(),
        objective=objective,
        parameterization=config.parameterization,
        precision=config.precision,
        settings={"hole": fingerprint(inside)},
        tileable=config.tileable,
        multiple=multiple,
    )
    report = mapped(callback, complete)
    solution = run(task, start, report, checkpoint, memory_limit, verbose)
    return dataclasses.replace(solution, image=complete(solution.image))


def transfer_style(
    content: ImageLike,
    styles: ImageLike | Sequence[ImageLike],
    *,
    network: Network = None,
    config: StyleConfig | None = None,
    init: ImageLike | None = None,
    content_mask: ImageLike | None = None,
    style_masks: ImageLike | Sequence[ImageLike] = (),
    hold: Hold | None = None,
    style_targets: StyleTargets | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
    verbose: bool | int = False,
) -> Solution:
    """Render the content of one image in the style of others (paper, eq. 9).

    Args:
        content: [height, width, 3], RGB in 0..255, or see `invert`; the result has its size.
        styles: one image or several, of any size. Strokes keep their size in pixels, unless the
            configuration has a `style_scale`.
        network: see `invert`.
        config: settings; None means the defaults.
        init: start of the search, of the content's shape; None means that of the configuration.
        content_mask: regions of the content image, each of one gray level or color in 0..255, of
            any size. Each has its own style: without `style_masks`, the first style fills the
            darkest region, and so on. None means that all styles are everywhere.
        style_masks: the same of each style image, in a list or tuple, or of the only one: a region
            has the style of the areas of its color.
        hold: what the result is held to, such as the last frame of a film
            (`rwgen.synthesis.hold.Hold`). If no `init` is given, the search starts from it, and
            from the content where it does not hold.
        style_targets: keeps what is computed of the styles for later calls with the same network
            (`rwgen.synthesis.style_targets.StyleTargets`); None computes it anew.
        callback: see `invert`.
        checkpoint: see `invert`.
        memory_limit: see `invert`.
        verbose: see `invert`.

    Returns:
        The solution; its image has the shape of `content`, float, not clipped to 0..255.

    Raises:
        RwgenError: see `invert`.
    """
    config = config or StyleConfig()
    style_pixels = [_pixels(style) for style in as_list(styles, "style image")]
    own = _pixels(content)
    for number, scale in enumerate(config.scales(len(style_pixels))):
        if scale is not None:
            size = style_size(_size(own), scale, _size(style_pixels[number]))
            style_pixels[number] = resize_image(style_pixels[number], *size)
    masks: list[Any] = list(style_masks) if isinstance(style_masks, list | tuple) else [style_masks]
    regions = regions_of(
        content_mask,
        masks,
        _size(own),
        [_size(style) for style in style_pixels],
        config.blend(len(style_pixels)),
        are_blended=bool(config.style_blend),
    )
    with phase("match colors"):
        pixels, style_pixels = search_colors(config.colors, own, style_pixels, regions)
    if hold is not None:
        if hold.image.shape != own.shape:
            raise InvalidInputError(
                f"expected to hold an image of shape {own.shape}. Received: {hold.image.shape}"
            )
        if config.colors.startswith("content"):  # its chroma is that of the photo
            hold = dataclasses.replace(hold, image=with_chroma(hold.image, pixels))
        init = hold.mixed(pixels) if init is None else init
    if init is not None and config.colors == "content":
        init = gray(_pixels(init))
    elif init is None and config.init == "content":
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
    margin = _margin(network, config, _size(own))
    widened = [
        dataclasses.replace(
            region, weights=None if region.weights is None else add_margin(region.weights, margin)
        )
        for region in regions
    ]
    held = hold and hold.with_margin(margin)

    def objective(
        network: keras.Model,
        targets: Sequence[NDArray[Any]],
        plan: ComputePlan,
        _minimizer: ImageMinimizer,
    ) -> Objective:
        style_layers = config.style_layers
        if _is_coarser(targets[1], style_pixels[0]):
            style_layers = _with_enough_positions(network, style_layers, targets[1:])
        at_size = dataclasses.replace(config, style_layers=style_layers)
        return style_objective(
            network, targets[0], targets[1:], at_size, plan, widened, held, style_targets
        )

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
        style_layers=config.style_layers if config.style_weight else (),
        num_regions=len(regions),
        settings={
            "regions": [
                [fingerprint(w) for w in (region.weights, *(s.weights for s in region.sources))]
                for region in regions
            ],
            "hold": hold and [hold.weight, *map(fingerprint, (hold.image, hold.shares))],
        },
        margin=margin,
        has_tiles=keeps_positions(network),
        full_share_side=FULL_SHARE_SIDE + 2 * margin,
    )

    def colored(image: NDArray[Any]) -> NDArray[Any]:
        return result_colors(config.colors, image, own)

    solution = run(task, init, mapped(callback, colored), checkpoint, memory_limit, verbose)
    return dataclasses.replace(solution, image=colored(solution.image))


def _margin(
    network: keras.Model, config: TextureConfig | StyleConfig, size: tuple[int, int]
) -> int:
    """The margin of a result of (height, width): none if the network takes no other size."""
    takes_any_size = None in network.inputs[0].shape[1:3]
    return margin_within(size, config.margin) if takes_any_size else 0


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


def _tiling(
    network: keras.Model, config: TextureConfig, size: tuple[int, int]
) -> tuple[int, keras.Model | None]:
    """What sides must be a multiple of, and the network that sees a result of `size`.

    Raises:
        InvalidInputError: a tileable result is asked for, and cannot have this size or network.
    """
    if not config.tileable:
        return 1, None
    multiple = 2 ** max(num_pools(network, name) for name in config.layers)
    check_tile_size(size, multiple, "a tileable result")
    return multiple, tiling_network(feature_extractor(network, config.layers))


def _leaves_enough(network: keras.Model, config: TextureConfig, hole: NDArray[np.bool_]) -> bool:
    """Whether a layer has at least `LEAST_POSITIONS` outside a hole."""
    outside = positions_outside(hole_shares(network, config.layers, hole))
    return min(map(len, outside.values())) >= LEAST_POSITIONS


def as_list(images: Any, what: str = "style image") -> list[ImageLike]:
    """Images as a list, whether one is given or several, or a batch.

    Raises:
        InvalidInputError: there is none.
    """
    shape = getattr(images, "shape", None)
    if shape is not None:  # an array or a tensor
        found = list(images) if len(shape) == 4 else [images]
    elif not isinstance(images, Sequence) or isinstance(images, str):
        found = [images]  # a file name, or an image of Pillow
    else:
        first = images[0] if images else None
        is_row = isinstance(first, Sequence | np.ndarray) and np.ndim(first) == 2
        found = [images] if is_row else list(images)
    if not found:
        raise InvalidInputError(f"expected at least one {what}. Received: none")
    return found


def _size(image: NDArray[Any]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _checked_size(size: int | Sequence[int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence | np.ndarray) else (size, size)
    whole = all(isinstance(side, int | np.integer) and side >= 1 for side in sides)
    if len(sides) != 2 or not whole:
        raise InvalidInputError(f"expected a size (height, width) in pixels. Received: {size}")
    return int(sides[0]), int(sides[1])
