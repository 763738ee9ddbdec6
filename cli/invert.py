"""`rwgen invert`: an image from the features of one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import options
from rwgen.cli.image_command import image_command
from rwgen.cli.image_task import ImageCall
from rwgen.cli.inputs import load_input, size_notes
from rwgen.errors import InvalidInputError
from rwgen.images import central_square, fit_longest_side, resize_image
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.synthesis.config import InversionConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Solution

_DEFAULTS = InversionConfig()
_LAYER: Any = options.layer_option(
    options.LAYER_NAMES,
    "Layer whose features are kept, see `rwgen layers`: needed unless --from is given. Dense "
    f"layers take the central square at {DENSE_INPUT_SIZE}x{DENSE_INPUT_SIZE}",
)


@dataclass(frozen=True, kw_only=True)
class InversionSettings:
    """Options that decide the image; they are stored in it by these names."""

    layer: _LAYER = None
    size: options.LongestSide = DENSE_INPUT_SIZE
    iterations: options.Iterations = _DEFAULTS.optimizer.max_iterations
    seed: options.Seed = _DEFAULTS.seed
    octaves: options.Octaves = _DEFAULTS.octaves
    paper: options.Paper = False
    network: options.Network = _DEFAULTS.network
    network_seed: options.NetworkSeed = None
    parameterization: options.ParameterizationByLayer = _DEFAULTS.parameterization
    unit_activations: options.UnitActivations = False


@image_command(InversionSettings, InversionConfig, options.image_output("IMAGE-LAYER.png"))
def invert(
    call: ImageCall[InversionSettings, InversionConfig],
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE", help="Image to take the features of; needed unless --from is given."
        ),
    ] = None,
) -> int:
    """Reconstruct an image from the features of a layer, or of several.

    Example: rwgen invert photo.jpg --layer conv3_1 -o inverted.png
    """
    settings = call.settings
    images = call.inputs(("source", image or None))
    if not images:
        raise InvalidInputError("expected an IMAGE, or --from. Received: none")
    if not settings.layer:
        raise InvalidInputError("--layer: expected a layer, such as conv4_1. Received: none")

    recipe = call.recipe()
    config = call.config(recipe)
    layers = [recipe.topology.layer(name).name for name in options.split_layers(settings.layer)]
    deepest = recipe.topology.deepest(layers)
    call.check_outputs(images[:1], f"{'-'.join([images[0].stem, *layers])}.png")
    source, original = load_input(images[0], call.notes)
    if deepest.kind == "dense":
        if call.is_given("size") and settings.size != DENSE_INPUT_SIZE:
            raise InvalidInputError(
                f"--size: expected {DENSE_INPUT_SIZE} for the dense layer {deepest.name}. "
                f"Received: {settings.size}"
            )
        original = central_square(original)
        size = (DENSE_INPUT_SIZE, DENSE_INPUT_SIZE)
    else:
        size = fit_longest_side(original.shape[0], original.shape[1], settings.size)
    call.notes += size_notes(source.path, original.shape, size)
    recipe.topology.check_image_size(layers, size, f"an image ({source.path})")
    call.plan_resources(
        recipe, config, size=size, target_sizes=[size], layers=layers, content_layers=layers
    )
    pixels = resize_image(original, *size)

    def task(**rest: Any) -> Solution:
        from rwgen.synthesis import tasks

        return tasks.invert(pixels, layers, config=config, **rest)

    def fidelity(_solution: Solution, result: NDArray[np.uint8]) -> dict[str, Any]:
        from rwgen import metrics

        return {"psnr": metrics.psnr(pixels, result), "ssim": metrics.ssim(pixels, result)}

    return call.run(
        [source],
        recipe,
        layers,
        task,
        max_iterations=config.optimizer.max_iterations,
        rescale_to=[pixels],
        summary=fidelity,
    )
