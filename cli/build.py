"""`rwgen build`: select the weights of a stacked network."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.existing import check_new, check_place
from rwgen.cli.inputs import load_input, print_notes, size_notes
from rwgen.cli.session import Lenience
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.errors import InvalidInputError
from rwgen.files import atomic_write
from rwgen.images import central_square, resize_image
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import HALF_NORMAL_NETWORK
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.config import OptimizerConfig
from rwgen.provenance import InputImage
from rwgen.synthesis.config import InversionConfig
from rwgen.workers import process_runner, ray_runner

if TYPE_CHECKING:
    from rwgen.selection import CandidateScore

_DEFAULTS = InversionConfig()
_LAYERS: Any = options.layer_option(options.LAYER_NAMES, "Layer to select", "all convolutions")
DEFAULT_CANDIDATES = 5
DEFAULT_ITERATIONS = 100


def build(
    reference: Annotated[
        str, typer.Option(metavar="IMAGE", help="Reference image for the selection.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE.json", help="Recipe to write.")
    ],
    candidates: Annotated[
        int, typer.Option(min=1, metavar="K", help="Number of draws per layer to choose from.")
    ] = DEFAULT_CANDIDATES,
    layers: _LAYERS = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the recipe.", show_default="file name")
    ] = "",
    network: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Network to start from: a shipped one or a recipe (.json), with random weights.",
        ),
    ] = HALF_NORMAL_NETWORK,
    width: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Factor of the numbers of channels: 0.5 halves them.",
            show_default="that of the network",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Side length of the resized reference.")
    ] = DENSE_INPUT_SIZE,
    iterations: options.Iterations = DEFAULT_ITERATIONS,
    seed: options.Seed = _DEFAULTS.seed,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of parallel processes.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use a Ray cluster: local (start one), auto (running one) or ray://HOST:PORT.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the scores there; the same command goes on from them.",
        ),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Select, layer by layer, the random weights that retain most of an image.

    Example: rwgen build --reference photo.jpg -o own.json
    """
    base = load_recipe(network)
    path = _destination(output)
    if ray is not None and workers != 1:
        raise InvalidInputError(f"--workers: expected no value with --ray. Received: {workers}")
    if width is not None:
        base = base.with_width(width)
    recipe = dataclasses.replace(base, name=name or path.stem)
    names = options.split_layers(layers) or None
    for layer in names or ():
        recipe.topology.layer(layer)
    notes: list[str] = []
    image, pixels = load_input(InputImage("reference", reference), notes)
    pixels = central_square(pixels)
    print_notes([*notes, *size_notes(reference, pixels.shape, (size, size))], quiet)
    pixels = resize_image(pixels, size, size)
    config = InversionConfig(seed=seed, optimizer=OptimizerConfig(max_iterations=iterations))
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(checkpoint, on_failure=Lenience("--checkpoint"))
    check_new("--output", output, force or (kept is not None and kept.is_saved))

    with native_stderr_hidden():
        from rwgen.selection import select_weights

    runner = process_runner(workers) if ray is None else ray_runner(ray)
    with runner as run:
        chosen = select_weights(
            pixels,
            num_candidates=candidates,
            recipe=recipe,
            layers=names,
            config=config,
            run=run,
            callback=None if quiet else _show,
            checkpoint=kept,
        )
    atomic_write(path, chosen.to_json().encode())
    if kept is not None:
        kept.remove()
    if not quiet:
        say(f"wrote {output}")
    if json and chosen.selection is not None:
        values: dict[str, Any] = {
            "output": output,
            "name": chosen.name,
            "reference": image.sha256,
            "candidates": {
                layer: chosen.candidates.get(layer, 0) for layer in chosen.selection.losses
            },
            "losses": {layer: list(row) for layer, row in chosen.selection.losses.items()},
            "psnrs": {layer: list(row) for layer, row in chosen.selection.psnrs.items()},
        }
        print(json_module.dumps(values))
    return 0


def _destination(output: str) -> Path:
    path = Path(output)
    if path.suffix != ".json":
        raise InvalidInputError(f"--output: expected a file ending in .json. Received: {output!r}")
    check_place("--output", output)
    return path


def _show(score: CandidateScore) -> None:
    if sys.stderr is not None:
        line = f"{score.layer} candidate {score.candidate}: loss {score.loss:.4g} of the initial"
        print(f"{line}, {score.psnr:.4g} dB", file=sys.stderr)
