"""`rwgen invert`: an image from the features of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import options, resources
from rwgen.cli.inputs import load_input
from rwgen.cli.provenance import Provenance, Settings, read_provenance
from rwgen.cli.session import Outputs, open_checkpoint, run_task
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.compute.device import AUTO
from rwgen.compute.memory import network_workload
from rwgen.errors import InvalidInputError
from rwgen.images import central_square, fit_longest_side, resize_image
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.optimize.checkpoint import DEFAULT_EVERY
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import InversionConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution

_DEFAULTS = InversionConfig()


def invert(
    context: typer.Context,
    image: Annotated[
        str | None, typer.Argument(metavar="IMAGE", help="Image to take the features of.")
    ] = None,
    layer: Annotated[
        str,
        typer.Option(
            metavar="LAYER",
            help="Any conv, pool or dense layer; see `rwgen layers`. Dense layers work on the "
            f"central square at {DENSE_INPUT_SIZE}x{DENSE_INPUT_SIZE}.",
        ),
    ] = "",
    output: options.Output = "",
    size: options.LongestSide = options.DEFAULT_SIZE,
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations,
    seed: options.Seed = _DEFAULTS.seed,
    network: options.Network = _DEFAULTS.network,
    parameterization: options.ParameterizationByLayer = _DEFAULTS.parameterization,
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
    """Reconstruct an image from the features of one layer."""
    settings = Settings(context, read_provenance(from_image, "invert") if from_image else None)
    outputs = Outputs(output, save_every, history, logdir, quiet, json)
    limit = resources.memory_limit(memory_limit, device)
    inputs = settings.inputs([("source", image)] if image else [])
    if not inputs:
        raise InvalidInputError("expected an IMAGE, or --from. Received: none")
    if not settings["layer"]:
        raise InvalidInputError("--layer: expected a layer, such as conv4_1. Received: none")
    outputs.check((inputs[0].path,), checkpoint)

    recipe = settings.recipe()
    config = InversionConfig(
        network=recipe.name,
        parameterization=settings["parameterization"],
        octaves=settings["octaves"],
        seed=settings["seed"],
        optimizer=OptimizerConfig(max_iterations=settings["iterations"]),
    )
    spec = recipe.topology.layer(settings["layer"])
    source, original = load_input(inputs[0])
    if spec.kind == "dense":
        original = central_square(original)
        shape = (DENSE_INPUT_SIZE, DENSE_INPUT_SIZE)
    else:
        shape = fit_longest_side(original.shape[0], original.shape[1], settings["size"])
    names = [spec.name]
    recipe.topology.check_image_size(names, shape, f"an image ({source.path})")
    pairs = config.optimizer.num_correction_pairs
    work = network_workload(
        recipe.topology, names, shape, [shape], names, pairs, config.propagate_differences
    )
    resources.plan_resources(work, limit, quiet)
    pixels = resize_image(original, *shape)
    rescale = settings["unit_activations"]

    provenance = Provenance("invert", (source,), settings.used, recipe)
    kept = open_checkpoint(checkpoint, checkpoint_every, provenance)

    with native_stderr_hidden():
        from rwgen import metrics
        from rwgen.network.unit_activations import unit_activations as rescaled
        from rwgen.network.vgg import build_network
        from rwgen.synthesis import tasks

        with resources.on_device(device):
            model = build_network(recipe, spec.name)
            if rescale:
                model = rescaled(model, [pixels])

    def task(callback: Callback) -> Solution:
        with resources.on_device(device):
            return tasks.invert(
                pixels,
                spec.name,
                network=model,
                config=config,
                callback=callback,
                checkpoint=kept,
                memory_limit=limit,
            )

    def quality(_solution: Solution, result: NDArray[np.uint8]) -> dict[str, Any]:
        return {"psnr": metrics.psnr(pixels, result), "ssim": metrics.ssim(pixels, result)}

    return run_task(task, outputs, provenance, config.optimizer.max_iterations, quality, kept)
