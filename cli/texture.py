"""`rwgen texture`: more of a texture, from a sample of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rwgen.cli import options, resources
from rwgen.cli.inputs import load_input
from rwgen.cli.provenance import Provenance, Settings, read_provenance
from rwgen.cli.session import Outputs, open_checkpoint, run_task
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.compute.device import AUTO
from rwgen.compute.memory import network_workload
from rwgen.errors import InvalidInputError
from rwgen.images import fit_longest_side, resize_image
from rwgen.optimize.checkpoint import DEFAULT_EVERY
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import TextureConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution

_DEFAULTS = TextureConfig()


def texture(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="Image of the texture.")
    ] = None,
    output: options.Output = "",
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Width and height of the result, in pixels.")
    ] = f"{options.DEFAULT_SIZE}x{options.DEFAULT_SIZE}",
    source_size: Annotated[
        int,
        typer.Option(
            min=1,
            max=options.MAX_SIDE,
            metavar="PIXELS",
            help="Longest side that the source is scaled to; its grain keeps that scale.",
        ),
    ] = options.DEFAULT_SIZE,
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations,
    seed: options.Seed = _DEFAULTS.seed,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="Layer whose correlations are matched; may be repeated.",
            show_default=", ".join(_DEFAULTS.layers),
        ),
    ] = None,
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
    """Synthesise a texture like that of an image, of any size."""
    settings = Settings(context, read_provenance(from_image, "texture") if from_image else None)
    outputs = Outputs(output, save_every, history, logdir, quiet, json)
    limit = resources.memory_limit(memory_limit, device)
    inputs = settings.inputs([("source", source)] if source else [])
    if not inputs:
        raise InvalidInputError("expected a SOURCE image, or --from. Received: none")
    outputs.check((inputs[0].path,), checkpoint)

    recipe = settings.recipe()
    config = TextureConfig(
        network=recipe.name,
        layers=tuple(settings["layer"] or _DEFAULTS.layers),
        weighting=settings["weighting"],
        parameterization=settings["parameterization"],
        shift_features=settings["shift_features"],
        octaves=settings["octaves"],
        seed=settings["seed"],
        optimizer=OptimizerConfig(max_iterations=settings["iterations"]),
    )
    topology = recipe.topology
    deepest = topology.deepest(config.layers)
    if deepest.kind == "dense":
        raise InvalidInputError(
            f"--layer: expected conv or pool layers for a texture. Received: {deepest.name}"
        )
    shape = options.parse_size(settings["size"])
    topology.check_image_size(config.layers, shape, "a --size")
    image, original = load_input(inputs[0])
    scaled = fit_longest_side(original.shape[0], original.shape[1], settings["source_size"])
    topology.check_image_size(config.layers, scaled, f"a source ({image.path})")
    pairs = config.optimizer.num_correction_pairs
    work = network_workload(topology, config.layers, shape, [scaled], (), pairs)
    resources.plan_resources(work, limit, quiet)
    pixels = resize_image(original, *scaled)
    rescale = settings["unit_activations"]

    provenance = Provenance("texture", (image,), settings.used, recipe)
    kept = open_checkpoint(checkpoint, checkpoint_every, provenance)

    with native_stderr_hidden():
        from rwgen.network.unit_activations import unit_activations as rescaled
        from rwgen.network.vgg import build_network
        from rwgen.synthesis.tasks import synthesize_texture

        with resources.on_device(device):
            model = build_network(recipe, deepest.name)
            if rescale:
                model = rescaled(model, [pixels])

    def task(callback: Callback) -> Solution:
        with resources.on_device(device):
            return synthesize_texture(
                pixels,
                shape,
                network=model,
                config=config,
                callback=callback,
                checkpoint=kept,
                memory_limit=limit,
            )

    return run_task(task, outputs, provenance, config.optimizer.max_iterations, checkpoint=kept)
