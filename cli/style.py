"""`rwgen style`: the content of one image in the style of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
import typer

from rwgen.cli import options
from rwgen.cli.film import check_film, film_name, makes_film, paint
from rwgen.cli.image_command import image_command
from rwgen.cli.image_task import (
    ImageCall,
    TaskInput,
    check_spatial,
    load_inputs,
)
from rwgen.cli.inputs import load_input, print_notes
from rwgen.errors import InvalidInputError
from rwgen.frames import read_film
from rwgen.images import fit_longest_side, resize_image, resize_plane, unblended
from rwgen.provenance import InputImage
from rwgen.synthesis.config import StyleConfig, StyleStart
from rwgen.synthesis.margins import searched_size
from rwgen.synthesis.regions import regions_of
from rwgen.synthesis.scale import style_size

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
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(StyleConfig.PRESETS),
            help="fine: small strokes and much of the scene; bold: large strokes and less of it; "
            "paper: as --paper. Options given as well take precedence.",
            show_default=False,
        ),
    ] = ""
    style_blend: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Weight of each style image; equal by default."),
    ] = ""
    style_scale: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Longest side of the style images in units of the result's, one number for all "
            "or one for each: more magnifies their strokes. They are never enlarged.",
            show_default="1, and small ones are enlarged",
        ),
    ] = ""
    init: Annotated[
        str, typer.Option(metavar="noise|content|FILE", help="Image that the search starts from.")
    ] = _DEFAULTS.init
    colors: Annotated[
        str,
        typer.Option(
            metavar="style|content|content-after|palette|mixed",
            help="Whose colors the image has. style: those of STYLE. content: those of CONTENT, "
            "whose brightness alone is painted; content-after: the same, exchanged at the end, "
            "with the contrasts of STYLE. palette: those of CONTENT, in strokes anywhere. mixed: "
            "some of both, as in the paper.",
        ),
    ] = _DEFAULTS.colors
    content_mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Regions of CONTENT: an image with one gray level or color for each. Of as many "
            "STYLEs, the first is used in the darkest region, and so on; a single one in each.",
            show_default=False,
        ),
    ] = None
    style_mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Regions of STYLE, in the colors of --content-mask: each region is painted in the "
            "style of the regions of its color. Repeat it for several STYLEs, in their order.",
            show_default=False,
        ),
    ] = None
    octaves: options.Octaves = _DEFAULTS.octaves
    content_layer: _CONTENT_LAYER = None
    style_layer: _STYLE_LAYER = None
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


@image_command(StyleSettings, StyleConfig, options.image_output("CONTENT-in-STYLE.png"))
def style(
    call: ImageCall[StyleSettings, StyleConfig],
    content: Annotated[
        str | None,
        typer.Argument(
            metavar="CONTENT",
            help="Image whose scene and transparency are kept; needed unless --from is given.",
        ),
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Argument(metavar="STYLE", help="Images whose colors and strokes are taken."),
    ] = None,
) -> int:
    """Render the content of one image in the style of others.

    Example: rwgen style photo.jpg painting.jpg -o result.png
    """
    settings = call.settings
    named = [("content", content), *(("style", path) for path in styles or ())]
    images = call.inputs(*named)
    if [image.role for image in images].count("style") < 1 or images[0].role != "content":
        raise InvalidInputError(
            "expected a CONTENT image and at least one STYLE image, or --from. "
            f"Received: {len([path for _, path in named if path is not None])} image(s)"
        )
    start = call.init_image(settings.init)
    masks = call.extra_images(
        ("content_mask", [settings.content_mask] if settings.content_mask else []),
        ("style_mask", settings.style_mask or []),
    )
    content_name, *style_names = (image.stem for image in images)
    name = f"{content_name}-in-{'-and-'.join(style_names)}"
    if makes_film(images[0].path, call.output):
        return _film(call, images, name)
    call.check_outputs((*images, *masks, *((start,) if start else ())), f"{name}.png")

    recipe = call.recipe()
    blend = options.parse_numbers("--style-blend", settings.style_blend)
    kind = _DEFAULTS.init if start else settings.init  # a file replaces either kind of start
    scale = options.parse_numbers("--style-scale", settings.style_scale)
    config = call.config(recipe, style_blend=blend, style_scale=scale, init=kind)
    layers = (*config.content_layers, *config.style_layers)
    check_spatial(recipe.topology, layers, "expected conv or pool layers for content and style")
    config.blend(len(images) - 1)
    scales = config.scales(len(images) - 1)

    def size_of(size: tuple[int, int]) -> tuple[int, int]:
        return fit_longest_side(*size, settings.size)

    inputs = load_inputs(images[:1], size_of, call.notes, keeps_alpha=call.stores_alpha)
    for image, factor in zip(images[1:], scales, strict=True):
        inputs += _load_style(image, factor, inputs[0].size, settings.size, call.notes)
    for item in inputs:
        what = f"a {item.image.role} image ({item.image.path} at --size {settings.size})"
        recipe.topology.check_image_size(layers, item.size, what)
        if item.image.role == "style" and config.style_weight and config.shift_features:
            recipe.topology.check_gram_size(config.style_layers, item.size, what)
    sizes = [item.size for item in inputs]
    loaded = [load_input(image, call.notes) for image in masks]
    content_mask = next((m for image, m in loaded if image.role == "content_mask"), None)
    style_masks = [pixels for image, pixels in loaded if image.role == "style_mask"]
    regions = regions_of(
        content_mask,
        style_masks,
        sizes[0],
        sizes[1:],
        config.blend(len(images) - 1),
        are_blended=bool(blend),
    )
    size = searched_size(sizes[0], config.margin)
    call.plan_resources(
        recipe,
        config,
        size=size,
        target_sizes=[size, *sizes[1:]],
        layers=layers,
        content_layers=config.content_layers if config.content_weight else (),
        style_layers=config.style_layers if config.style_weight else (),
        num_regions=len(regions),
        has_tiles=True,
    )
    pixels = [resize_image(item.pixels, *item.size) for item in inputs]
    alpha = inputs[0].alpha
    if alpha is not None:
        pixels[0] = unblended(pixels[0], resize_image(np.dstack([alpha] * 3), *sizes[0])[..., 0])
        alpha = resize_plane(alpha, *sizes[0])
    init = None
    if start is not None:
        start, init = load_input(start, call.notes)
        init = resize_image(init, *sizes[0])

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis.tasks import transfer_style

        return transfer_style(
            pixels[0],
            pixels[1:],
            config=config,
            init=init,
            content_mask=content_mask,
            style_masks=style_masks,
            **rest,
        )

    return call.run(
        [
            *(item.image for item in inputs),
            *(image for image, _ in loaded),
            *((start,) if start else ()),
        ],
        recipe,
        layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=pixels,
        alpha=alpha,
    )


def _load_style(
    image: InputImage, scale: float | None, result: tuple[int, int], size: int, notes: list[str]
) -> list[TaskInput]:
    """Read a style image for a result of (height, width) and a longest side of `size`."""

    def size_of(own: tuple[int, int]) -> tuple[int, int]:
        return fit_longest_side(*own, size) if scale is None else style_size(result, scale, own)

    loaded = load_inputs([image], size_of, notes)
    notes += _scale_notes(loaded[0], scale, size)
    return loaded


def _scale_notes(style: TaskInput, scale: float | None, size: int) -> Iterator[str]:
    """A line that says that a style image is smaller than `--style-scale` asks for."""
    longest = max(style.size)
    if scale is not None and longest < round(scale * size):
        yield (
            f"{style.image.path}: --style-scale {scale:g} asks for {scale * size:.0f} pixels; it "
            f"is taken at its own {longest}, as enlarging adds no strokes"
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
    if settings.content_mask or settings.style_mask:
        raise InvalidInputError(f"expected a single image for masks. Received: a film, {path}")
    if settings.unit_activations:
        raise InvalidInputError(
            f"--unit-activations: expected a single image. Received: a film, {path}"
        )
    output = call.output or film_name(name, path)
    check_film(output, path, call.options)
    recipe = call.recipe()
    blend = options.parse_numbers("--style-blend", settings.style_blend)
    scale = options.parse_numbers("--style-scale", settings.style_scale)
    config = call.config(recipe, style_blend=blend, style_scale=scale)
    config.blend(len(images) - 1)
    layers = (*config.content_layers, *config.style_layers)
    check_spatial(recipe.topology, layers, "expected conv or pool layers for content and style")
    film = read_film(path)
    frame = next(iter(film))
    size = fit_longest_side(frame.shape[0], frame.shape[1], settings.size)
    styles: list[TaskInput] = []
    for image, factor in zip(images[1:], config.scales(len(images) - 1), strict=True):
        styles += _load_style(image, factor, size, settings.size, call.notes)
    sizes = [size, *(style.size for style in styles)]
    names = ["a frame", *(f"a style image ({style.path})" for style in images[1:])]
    for side, what in zip(sizes, names, strict=True):
        recipe.topology.check_image_size(layers, side, what)
    searched = searched_size(size, config.margin)
    call.plan_resources(
        recipe,
        config,
        size=searched,
        target_sizes=[searched, *sizes[1:]],
        layers=layers,
        content_layers=config.content_layers if config.content_weight else (),
        has_tiles=True,
    )
    print_notes(call.notes, call.options.quiet)
    pixels = [resize_image(style.pixels, *style.size) for style in styles]
    return paint(film, pixels, output, size, recipe, layers, config, call.options)
