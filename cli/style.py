"""`rwgen style`: the content of one image in the style of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from rwgen.cli import options
from rwgen.cli.film import check_film, film_name, makes_film, paint
from rwgen.cli.image_task import ImageCall, check_spatial, image_command, load_inputs
from rwgen.cli.inputs import load_input, print_notes
from rwgen.errors import InvalidInputError
from rwgen.frames import read_film
from rwgen.images import fit_longest_side, resize_image
from rwgen.provenance import InputImage
from rwgen.synthesis.config import StyleConfig, StyleStart

if TYPE_CHECKING:
    from rwgen.optimize.solution import Solution

_DEFAULTS = StyleConfig()
_CONTENT_LAYER: Any = options.layer_option(
    ["--content-layer"], "Layer that keeps the content", ", ".join(_DEFAULTS.content_layers)
)
_STYLE_LAYER: Any = options.layer_option(
    ["--style-layer"], "Layer that the style is taken from", ", ".join(_DEFAULTS.style_layers)
)


@dataclass(frozen=True, kw_only=True)
class StyleSettings:
    """Options that decide the image; they are stored in it by these names."""

    size: options.LongestSide = options.DEFAULT_SIZE
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations
    seed: options.Seed = _DEFAULTS.seed
    content_weight: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="WEIGHT",
            help="How much of the scene is kept: more is nearer to CONTENT.",
        ),
    ] = _DEFAULTS.content_weight
    style_weight: Annotated[
        float,
        typer.Option(
            min=0, metavar="WEIGHT", help="How strongly strokes and colors are those of STYLE."
        ),
    ] = _DEFAULTS.style_weight
    tv_weight: Annotated[
        float,
        typer.Option(
            min=0, metavar="WEIGHT", help="How smooth the image is: more removes fine noise."
        ),
    ] = _DEFAULTS.tv_weight
    style_blend: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Weight of each style image; equal by default."),
    ] = ""
    init: Annotated[
        str, typer.Option(metavar="noise|content|FILE", help="Image that the search starts from.")
    ] = _DEFAULTS.init
    match_colors: Annotated[
        bool,
        typer.Option(
            help="Map the scene to the colors of the styles first, so that only its shapes are "
            "kept; the paper does not.",
        ),
    ] = _DEFAULTS.match_colors
    octaves: options.Octaves = _DEFAULTS.octaves
    content_layer: _CONTENT_LAYER = None
    style_layer: _STYLE_LAYER = None
    paper: options.Paper = False
    network: options.Network = _DEFAULTS.network
    weighting: options.WeightingName = _DEFAULTS.weighting
    parameterization: options.Parameterization = _DEFAULTS.parameterization
    precision: options.PrecisionName = _DEFAULTS.precision
    shift_features: options.ShiftFeatures = _DEFAULTS.shift_features
    whiten_gram: options.WhitenGram = _DEFAULTS.whiten_gram
    unit_activations: options.UnitActivations = False


@image_command(StyleSettings, StyleConfig, options.image_output("CONTENT-in-STYLE.png"))
def style(
    call: ImageCall[StyleSettings, StyleConfig],
    content: Annotated[
        str | None, typer.Argument(metavar="CONTENT", help="Image whose scene is kept.")
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Argument(metavar="STYLE", help="Images whose colors and strokes are taken."),
    ] = None,
) -> int:
    """Render the content of one image in the style of others."""
    settings = call.settings
    named = [("content", content), *(("style", path) for path in styles or ())]
    images = call.inputs(*named)
    if [image.role for image in images].count("style") < 1 or images[0].role != "content":
        raise InvalidInputError(
            "expected a CONTENT image and at least one STYLE image, or --from. "
            f"Received: {len([path for _, path in named if path is not None])} image(s)"
        )
    start = call.init_image(settings.init)
    content_name, *style_names = (image.stem for image in images)
    name = f"{content_name}-in-{'-and-'.join(style_names)}"
    if makes_film(images[0].path, call.output):
        return _film(call, images, name)
    call.check_outputs((*images, *((start,) if start else ())), f"{name}.png")

    recipe = call.recipe()
    blend = options.parse_numbers("--style-blend", settings.style_blend)
    kind = _DEFAULTS.init if start else settings.init  # a file replaces either kind of start
    config = call.config(recipe, style_blend=blend, init=kind)
    layers = (*config.content_layers, *config.style_layers)
    check_spatial(recipe.topology, layers, "expected conv or pool layers for content and style")
    config.blend(len(images) - 1)

    inputs = load_inputs(images, lambda size: fit_longest_side(*size, settings.size), call.notes)
    for item in inputs:
        what = f"a {item.image.role} image ({item.image.path} at --size {settings.size})"
        recipe.topology.check_image_size(layers, item.size, what)
        if item.image.role == "style" and config.style_weight and config.shift_features:
            recipe.topology.check_gram_size(config.style_layers, item.size, what)
    sizes = [item.size for item in inputs]
    call.plan_resources(
        recipe,
        config,
        size=sizes[0],
        target_sizes=sizes,
        layers=layers,
        content_layers=config.content_layers if config.content_weight else (),
    )
    pixels = [resize_image(item.pixels, *item.size) for item in inputs]
    init = None
    if start is not None:
        start, init = load_input(start, call.notes)
        init = resize_image(init, *sizes[0])

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis.tasks import transfer_style

        return transfer_style(pixels[0], pixels[1:], config=config, init=init, **rest)

    return call.run(
        [*(item.image for item in inputs), *((start,) if start else ())],
        recipe,
        layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=pixels,
    )


def _film(
    call: ImageCall[StyleSettings, StyleConfig], images: Sequence[InputImage], name: str
) -> int:
    """Paint every frame of the content."""
    settings, path = call.settings, images[0].path
    if settings.init not in get_args(StyleStart):
        raise InvalidInputError(
            f"--init: expected noise or content for a film. Received: {settings.init}"
        )
    if settings.unit_activations:
        raise InvalidInputError(
            f"--unit-activations: expected a single image. Received: a film, {path}"
        )
    output = call.output or film_name(name, path)
    check_film(output, path, call.options)
    recipe = call.recipe()
    blend = options.parse_numbers("--style-blend", settings.style_blend)
    config = call.config(recipe, style_blend=blend)
    config.blend(len(images) - 1)
    layers = (*config.content_layers, *config.style_layers)
    check_spatial(recipe.topology, layers, "expected conv or pool layers for content and style")
    film = read_film(path)
    frame = next(iter(film))
    size = fit_longest_side(frame.shape[0], frame.shape[1], settings.size)
    styles = load_inputs(
        images[1:], lambda size: fit_longest_side(*size, settings.size), call.notes
    )
    sizes = [size, *(style.size for style in styles)]
    names = ["a frame", *(f"a style image ({style.path})" for style in images[1:])]
    for side, what in zip(sizes, names, strict=True):
        recipe.topology.check_image_size(layers, side, what)
    call.plan_resources(
        recipe,
        config,
        size=size,
        target_sizes=sizes,
        layers=layers,
        content_layers=config.content_layers if config.content_weight else (),
    )
    print_notes(call.notes, call.options.quiet)
    pixels = [resize_image(style.pixels, *style.size) for style in styles]
    return paint(film, pixels, output, size, recipe, layers, config, call.options)
