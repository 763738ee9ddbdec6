"""`rwgen texture`: more of a texture, from a sample of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.image_command import image_command
from rwgen.cli.image_task import ImageCall, check_spatial, load_inputs
from rwgen.cli.inputs import load_input
from rwgen.errors import InvalidInputError
from rwgen.images import fit_longest_side, resize_image
from rwgen.network.architecture import check_tile_size
from rwgen.network.recipe import Recipe
from rwgen.provenance import InputImage
from rwgen.synthesis.config import (
    INPAINT_ITERATIONS,
    INPAINT_PARAMETERIZATION,
    TextureConfig,
)
from rwgen.synthesis.margins import searched_size

if TYPE_CHECKING:
    from rwgen.optimize.solution import Solution

_DEFAULTS = TextureConfig()
_LAYER: Any = options.layer_option(
    options.LAYER_NAMES,
    "Layer whose statistics are matched",
    ", ".join(_DEFAULTS.layers),
    panel="Look",
)


@dataclass(frozen=True, kw_only=True)
class TextureSettings:
    """Options that decide the image; they are stored in it by these names."""

    size: Annotated[
        str, typer.Option(metavar="WxH", help="Width and height of the result, in pixels.")
    ] = f"{options.DEFAULT_SIZE}x{options.DEFAULT_SIZE}"
    source_size: Annotated[
        int,
        typer.Option(
            min=1,
            max=options.MAX_SIDE,
            metavar="PIXELS",
            help="Longest side that the source is scaled to; the result has the same grain.",
        ),
    ] = options.DEFAULT_SIZE
    tileable: Annotated[
        bool,
        typer.Option(
            "--tileable",
            help="Make opposite borders match, so that the result can be repeated without seams; "
            "sides must be multiples of 8 with the default layers.",
        ),
    ] = _DEFAULTS.tileable
    source_blend: Annotated[
        str,
        typer.Option(
            "--source-blend",
            "--blend",
            metavar="A,B,...",
            help="Weight of each source image; equal by default.",
        ),
    ] = ""
    inpaint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Fill the white part of this image, of SOURCE's size, with the texture around it; "
            "the rest of SOURCE, which is not resized, stays as it is. "
            f"{INPAINT_ITERATIONS} iterations, of frequencies, by default; as for a texture if the "
            "hole is so large that no piece of SOURCE fits.",
            show_default=False,
        ),
    ] = None
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations
    seed: options.Seed = _DEFAULTS.seed
    octaves: options.Octaves = _DEFAULTS.octaves
    layer: _LAYER = None
    paper: options.Paper = False
    network: options.Network = _DEFAULTS.network
    network_seed: options.NetworkSeed = None
    weighting: options.WeightingName = _DEFAULTS.weighting
    margin: options.Margin = _DEFAULTS.margin
    parameterization: options.Parameterization = _DEFAULTS.parameterization
    precision: options.PrecisionName = _DEFAULTS.precision
    shift_features: options.ShiftFeatures = _DEFAULTS.shift_features
    whiten_gram: options.WhitenGram = _DEFAULTS.whiten_gram
    unit_activations: options.UnitActivations = False


@image_command(TextureSettings, TextureConfig, options.image_output("SOURCE-texture.png"))
def texture(
    call: ImageCall[TextureSettings, TextureConfig],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Images of the texture; the result is a mixture of several. Needed unless --from "
            "is given.",
        ),
    ] = None,
) -> int:
    """Synthesize a texture like that of an image, of any size.

    Example: rwgen texture gravel.jpg --size 1024x768 -o more.png
    """
    settings = call.settings
    images = call.inputs(*(("source", path or None) for path in sources or ()))
    if not images:
        raise InvalidInputError("expected a SOURCE image, or --from. Received: none")
    named = [settings.inpaint] if settings.inpaint is not None else []
    hole = next(iter(call.extra_images(("inpaint", named))), None)
    outputs = f"{'-and-'.join(image.stem for image in images)}-texture.png"
    call.check_outputs((*images, *((hole,) if hole else ())), outputs)

    recipe = call.recipe()
    if hole is not None:
        return _fill(call, images, hole, recipe)
    config = _config(call, recipe, len(images))
    size = options.parse_size(settings.size)
    recipe.topology.check_image_size(config.layers, size, "a --size")
    if config.tileable:
        multiple = recipe.topology.minimum_side(config.layers)
        check_tile_size(size, multiple, "a --size for --tileable")
    samples = load_inputs(
        images, lambda size: fit_longest_side(*size, settings.source_size), call.notes
    )
    check_size = recipe.topology.check_image_size
    if config.shift_features:
        check_size = recipe.topology.check_gram_size
    for sample in samples:
        what = f"a source ({sample.image.path} at --source-size {settings.source_size})"
        check_size(config.layers, sample.size, what)
    sizes = [sample.size for sample in samples]
    call.plan_resources(
        recipe,
        config,
        size=size if config.tileable else searched_size(size, config.margin),
        target_sizes=sizes,
        layers=config.layers,
        has_tiles=not config.tileable,
    )
    pixels = [resize_image(sample.pixels, *sample.size) for sample in samples]

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis.tasks import synthesize_texture

        return synthesize_texture(pixels, size, config=config, **rest)

    return call.run(
        [sample.image for sample in samples],
        recipe,
        config.layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=pixels,
    )


def _config(
    call: ImageCall[TextureSettings, TextureConfig], recipe: Recipe, num_sources: int
) -> TextureConfig:
    """The configuration of a texture of some sources.

    Raises:
        RwgenError: an option is invalid.
    """
    blend = options.parse_numbers("--source-blend", call.settings.source_blend)
    config = call.config(recipe, source_blend=blend)
    config.blend(num_sources)
    expected = "--layer: expected conv or pool layers for a texture"
    check_spatial(recipe.topology, config.layers, expected)
    return config


def _fill(
    call: ImageCall[TextureSettings, TextureConfig],
    images: Sequence[InputImage],
    hole: InputImage,
    recipe: Recipe,
) -> int:
    """Fill a hole of the source."""
    from rwgen.synthesis.pieces import has_piece, hole_mask  # needs SciPy

    _config(call, recipe, len(images))  # refuses invalid options before an image is read
    if len(images) > 1:
        raise InvalidInputError(f"expected one SOURCE image for --inpaint. Received: {len(images)}")
    for name in ("size", "source_size"):
        if call.is_given(name):
            option = "--" + name.replace("_", "-")
            raise InvalidInputError(
                f"{option}: expected no size with --inpaint, which keeps SOURCE's own. "
                f"Received: {getattr(call.settings, name)}"
            )
    source, pixels = load_input(images[0], call.notes)
    hole, white = load_input(hole, call.notes)
    size = pixels.shape[:2]
    if white.shape != pixels.shape:
        raise InvalidInputError(
            f"--inpaint: expected an image of {size[1]}x{size[0]} pixels, as {source.path}. "
            f"Received: {hole.path} of {white.shape[1]}x{white.shape[0]}"
        )
    if has_piece(hole_mask(white, size), tileable=call.settings.tileable):
        call.set_defaults(iterations=INPAINT_ITERATIONS, parameterization=INPAINT_PARAMETERIZATION)
    config = _config(call, recipe, 1)
    recipe.topology.check_gram_size(config.layers, size, f"a source ({source.path})")
    if config.tileable:
        multiple = recipe.topology.minimum_side(config.layers)
        check_tile_size(size, multiple, "a source for --tileable")
    call.plan_resources(recipe, config, size=size, target_sizes=[size], layers=config.layers)

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis import tasks

        return tasks.inpaint(pixels, white, config=config, **rest)

    return call.run(
        [source, hole],
        recipe,
        config.layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=[pixels],
    )
