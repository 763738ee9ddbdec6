"""`rwgen texture`: more of a texture, from a sample of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.image_task import ImageCall, check_spatial, image_command, load_inputs
from rwgen.errors import InvalidInputError
from rwgen.images import fit_longest_side, resize_image
from rwgen.synthesis.config import TextureConfig

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
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations
    seed: options.Seed = _DEFAULTS.seed
    octaves: options.Octaves = _DEFAULTS.octaves
    layer: _LAYER = None
    paper: options.Paper = False
    network: options.Network = _DEFAULTS.network
    network_seed: options.NetworkSeed = None
    weighting: options.WeightingName = _DEFAULTS.weighting
    parameterization: options.Parameterization = _DEFAULTS.parameterization
    precision: options.PrecisionName = _DEFAULTS.precision
    shift_features: options.ShiftFeatures = _DEFAULTS.shift_features
    whiten_gram: options.WhitenGram = _DEFAULTS.whiten_gram
    unit_activations: options.UnitActivations = False


@image_command(TextureSettings, TextureConfig, options.image_output("SOURCE-texture.png"))
def texture(
    call: ImageCall[TextureSettings, TextureConfig],
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="Image of the texture.")
    ] = None,
) -> int:
    """Synthesize a texture like that of an image, of any size."""
    settings = call.settings
    images = call.inputs(("source", source or None))
    if not images:
        raise InvalidInputError("expected a SOURCE image, or --from. Received: none")
    call.check_outputs(images[:1], f"{images[0].stem}-texture.png")

    recipe = call.recipe()
    config = call.config(recipe)
    expected = "--layer: expected conv or pool layers for a texture"
    check_spatial(recipe.topology, config.layers, expected)
    size = options.parse_size(settings.size)
    recipe.topology.check_image_size(config.layers, size, "a --size")
    (sample,) = load_inputs(
        images[:1], lambda size: fit_longest_side(*size, settings.source_size), call.notes
    )
    what = f"a source ({sample.image.path} at --source-size {settings.source_size})"
    check_size = recipe.topology.check_image_size
    if config.shift_features:
        check_size = recipe.topology.check_gram_size
    check_size(config.layers, sample.size, what)
    call.plan_resources(recipe, config, size=size, target_sizes=[sample.size], layers=config.layers)
    pixels = resize_image(sample.pixels, *sample.size)

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis.tasks import synthesize_texture

        return synthesize_texture(pixels, size, config=config, **rest)

    return call.run(
        [sample.image],
        recipe,
        config.layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=[pixels],
    )
