"""`rwgen style`: the content of one image in the style of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import options, resources
from rwgen.cli.inputs import load_input
from rwgen.cli.provenance import InputImage, Provenance, Settings, read_provenance
from rwgen.cli.session import Outputs, open_checkpoint, run_task
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.compute.device import AUTO
from rwgen.compute.memory import network_workload
from rwgen.errors import InvalidInputError
from rwgen.images import fit_longest_side, resize_image
from rwgen.optimize.checkpoint import DEFAULT_EVERY
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import StyleConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution

_DEFAULTS = StyleConfig()


def style(
    context: typer.Context,
    content: Annotated[
        str | None, typer.Argument(metavar="CONTENT", help="Image whose scene is kept.")
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Argument(metavar="STYLE...", help="Images whose colours and strokes are taken."),
    ] = None,
    output: options.Output = "",
    size: options.LongestSide = options.DEFAULT_SIZE,
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations,
    seed: options.Seed = _DEFAULTS.seed,
    content_weight: Annotated[
        float, typer.Option(min=0, help="Alpha of equation 9; more keeps more of the scene.")
    ] = _DEFAULTS.content_weight,
    style_weight: Annotated[
        float, typer.Option(min=0, help="Beta of equation 9.")
    ] = _DEFAULTS.style_weight,
    tv_weight: Annotated[
        float, typer.Option(min=0, help="Gamma of equation 9; more is smoother.")
    ] = _DEFAULTS.tv_weight,
    content_layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="Layer that keeps the content; may be repeated.",
            show_default=", ".join(_DEFAULTS.content_layers),
        ),
    ] = None,
    style_layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="Layer that takes the style; may be repeated.",
            show_default=", ".join(_DEFAULTS.style_layers),
        ),
    ] = None,
    style_blend: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Weight of each style image; empty: equal weights."),
    ] = "",
    init: Annotated[
        str,
        typer.Option(metavar="noise|content|FILE", help="Where the search starts."),
    ] = "noise",
    network: options.Network = _DEFAULTS.network,
    weighting: options.WeightingName = _DEFAULTS.weighting,
    parameterization: options.Parameterization = _DEFAULTS.parameterization,
    shift_features: options.ShiftFeatures = _DEFAULTS.shift_features,
    octaves: options.Octaves = _DEFAULTS.octaves,
    unit_activations: options.UnitActivations = False,
    from_image: options.From = None,
    memory_limit: options.MemoryLimit = "",
    device: options.Device = AUTO,
    save_every: options.SaveEvery = 0,
    history: options.History = None,
    logdir: options.Logdir = None,
    checkpoint: options.CheckpointFolder = None,
    checkpoint_every: options.CheckpointEvery = DEFAULT_EVERY,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Render the content of one image in the style of others."""
    settings = Settings(context, read_provenance(from_image, "style") if from_image else None)
    outputs = Outputs(output, save_every, history, logdir, quiet, json)
    limit = resources.memory_limit(memory_limit, device)
    named = [("content", content)] if content is not None else []
    named += [("style", path) for path in styles or ()]
    inputs = settings.inputs(named)
    if [image.role for image in inputs].count("style") < 1 or inputs[0].role != "content":
        raise InvalidInputError(
            "expected a CONTENT image and at least one STYLE image, or --from. "
            f"Received: {len(named)} image(s)"
        )
    start = _init_image(settings)
    outputs.check(
        tuple(image.path for image in (*inputs, *((start,) if start else ()))), checkpoint
    )

    recipe = settings.recipe()
    config = StyleConfig(
        network=recipe.name,
        content_layers=tuple(settings["content_layer"] or _DEFAULTS.content_layers),
        style_layers=tuple(settings["style_layer"] or _DEFAULTS.style_layers),
        content_weight=settings["content_weight"],
        style_weight=settings["style_weight"],
        tv_weight=settings["tv_weight"],
        style_blend=options.parse_numbers("--style-blend", settings["style_blend"]),
        weighting=settings["weighting"],
        parameterization=settings["parameterization"],
        shift_features=settings["shift_features"],
        octaves=settings["octaves"],
        seed=settings["seed"],
        optimizer=OptimizerConfig(max_iterations=settings["iterations"]),
    )
    layers = (*config.content_layers, *config.style_layers)
    deepest = recipe.topology.deepest(layers)
    if deepest.kind == "dense":
        raise InvalidInputError(
            f"expected conv or pool layers for content and style. Received: {deepest.name}"
        )
    config.blend(len(inputs) - 1)
    loaded, originals = zip(*(load_input(image) for image in inputs), strict=True)
    longest = settings["size"]
    sizes = [fit_longest_side(x.shape[0], x.shape[1], longest) for x in originals]
    for image, shape in zip(loaded, sizes, strict=True):
        what = f"a {image.role} image ({image.path})"
        recipe.topology.check_image_size(layers, shape, what)
    held = config.content_layers if config.content_weight else ()
    pairs = config.optimizer.num_correction_pairs
    work = network_workload(recipe.topology, layers, sizes[0], sizes, held, pairs)
    resources.plan_resources(work, limit, quiet)
    pixels = [resize_image(x, *shape) for x, shape in zip(originals, sizes, strict=True)]
    init_pixels: NDArray[np.float32] | None = None
    if settings["init"] == "content":
        init_pixels = pixels[0]
    elif start is not None:
        start, init_pixels = load_input(start)
        init_pixels = resize_image(init_pixels, *pixels[0].shape[:2])
        loaded = (*loaded, start)
    rescale = settings["unit_activations"]

    provenance = Provenance("style", loaded, settings.used, recipe)
    kept = open_checkpoint(checkpoint, checkpoint_every, provenance)

    with native_stderr_hidden():
        from rwgen.network.unit_activations import unit_activations as rescaled
        from rwgen.network.vgg import build_network
        from rwgen.synthesis.tasks import transfer_style

        with resources.on_device(device):
            model = build_network(recipe, deepest.name)
            if rescale:
                model = rescaled(model, pixels)

    def task(callback: Callback) -> Solution:
        with resources.on_device(device):
            return transfer_style(
                pixels[0],
                pixels[1:],
                network=model,
                config=config,
                init=init_pixels,
                callback=callback,
                checkpoint=kept,
                memory_limit=limit,
            )

    return run_task(task, outputs, provenance, config.optimizer.max_iterations, checkpoint=kept)


def _init_image(settings: Settings) -> InputImage | None:
    init = settings["init"]
    if init in ("noise", "content"):
        return None
    kept = settings.source is not None and not settings.is_given("init")
    stored = settings.source.inputs if settings.source is not None and kept else ()
    return next((image for image in stored if image.role == "init"), InputImage("init", init))
