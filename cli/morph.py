"""`rwgen morph`: an animation from one image to another."""

from __future__ import annotations

import dataclasses
import json as json_module
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.animation import (
    FRAMES_PER_SECOND,
    MAX_FRAMES_PER_SECOND,
    check_animation,
    write_animation,
)
from rwgen.cli import options, resources
from rwgen.cli.existing import check_new
from rwgen.cli.inputs import load_input, print_notes, size_notes
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.compute.device import AUTO
from rwgen.compute.memory import architecture_workload
from rwgen.errors import InvalidInputError
from rwgen.images import (
    central_part,
    check_destination,
    fit_longest_side,
    resize_image,
    write_image,
)
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.network.lookup import load_recipe
from rwgen.optimize.config import OptimizerConfig
from rwgen.progress import progress
from rwgen.provenance import InputImage
from rwgen.synthesis.config import (
    MORPH_ITERATIONS,
    MORPH_PARAMETERIZATION,
    MORPH_STEPS,
    InversionConfig,
)

if TYPE_CHECKING:
    from rwgen.optimize.solution import Solution, Step

DEFAULT_LAYER = "conv3_1"
_DEFAULTS = InversionConfig()
_LAYER: Any = options.layer_option(
    options.LAYER_NAMES,
    "Layer whose features are blended: any conv, pool or dense layer, see `rwgen layers`",
    DEFAULT_LAYER,
)


def morph(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="Image at the beginning.")],
    second: Annotated[
        str,
        typer.Argument(
            metavar="SECOND", help="Image at the end; its central part of FIRST's shape is used."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Animation to write: .webp, .gif, or .mp4, which needs the extra `video`.",
            show_default="FIRST-to-SECOND.webp",
        ),
    ] = "",
    layers: _LAYER = None,
    steps: Annotated[
        int, typer.Option(min=2, max=1000, metavar="N", help="Number of frames, ends included.")
    ] = MORPH_STEPS,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Also write every frame, as FOLDER/frame-001.png and so on."
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            min=0.1, max=MAX_FRAMES_PER_SECOND, metavar="NUMBER", help="Frames per second."
        ),
    ] = FRAMES_PER_SECOND,
    back: Annotated[
        bool, typer.Option(help="Go back to FIRST at the end, so that a repeated animation flows.")
    ] = True,
    size: options.LongestSide = DENSE_INPUT_SIZE,
    iterations: Annotated[
        int, typer.Option(min=0, metavar="N", help="Maximum number of iterations of a frame.")
    ] = MORPH_ITERATIONS,
    seed: options.Seed = _DEFAULTS.seed,
    network: options.Network = _DEFAULTS.network,
    parameterization: options.Parameterization = MORPH_PARAMETERIZATION,
    memory_limit: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Memory that the run may take, such as 12GiB or 800MB.",
            show_default="what is free",
        ),
    ] = "",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|gpu:N", help="Device to compute on.")
    ] = AUTO,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Turn one image into another through the features of a layer, as an animation.

    Example: rwgen morph day.jpg night.jpg --layer conv3_1 -o morph.webp
    """
    output = output or f"{Path(first).stem}-to-{Path(second).stem}.webp"
    check_animation(output)
    for path in (first, second):
        if Path(path).exists() and Path(output).exists() and Path(path).samefile(output):
            raise InvalidInputError(
                f"expected output files that are not inputs. Received: {path} as both"
            )
    check_new("--output", output, force)
    recipe = load_recipe(network)
    names = options.split_layers(layers) or (DEFAULT_LAYER,)
    names = tuple(recipe.topology.layer(name).name for name in names)
    config = InversionConfig(
        network=recipe.name,
        parameterization=parameterization,  # type: ignore[arg-type] # checked there
        seed=seed,
        optimizer=OptimizerConfig(max_iterations=iterations),
    )
    limit = resources.memory_limit(memory_limit, device)
    places = _frame_files(frames, steps, force)

    notes: list[str] = []
    images = [
        load_input(InputImage(role, path), notes)[1]
        for role, path in (("first", first), ("second", second))
    ]
    shape = (images[0].shape[0], images[0].shape[1])
    if recipe.topology.deepest(names).kind == "dense":
        shape = (DENSE_INPUT_SIZE, DENSE_INPUT_SIZE)
    target = fit_longest_side(*shape, size)
    recipe.topology.check_image_size(names, target, "images")
    images = [central_part(image, *shape) for image in images]
    for path, image in zip((first, second), images, strict=True):
        notes += size_notes(path, image.shape, target)
    work = architecture_workload(
        recipe.topology,
        names,
        size=target,
        targets=[target, target],
        content_layers=names,
        optimizer=config.optimizer,
    )
    resources.plan_resources(work, limit, quiet)
    print_notes(notes, quiet)
    pixels = [resize_image(image, *target) for image in images]

    began = time.perf_counter()
    found: list[NDArray[np.float32]] = []
    losses: list[float] = []
    with native_stderr_hidden():
        from rwgen.synthesis.morphing import morph as solutions

    def computed() -> Iterator[Solution]:
        with resources.on_device(device), progress(steps * iterations, quiet) as show:

            def callback(step: Step, _best: Any) -> None:
                done = len(found) * iterations + step.iteration
                show(dataclasses.replace(step, iteration=done, seconds=time.perf_counter() - began))

            yield from solutions(
                pixels[0],
                pixels[1],
                names,
                steps,
                network=recipe,
                config=config,
                callback=callback,
                memory_limit=limit,
            )

    for number, solution in enumerate(computed()):
        found.append(solution.image)
        losses.append(solution.loss)
        if places:
            write_image(places[number], solution.image)
    whole = [*found, *found[-2:0:-1]] if back else found
    write_animation(output, whole, frames_per_second=rate)
    seconds = time.perf_counter() - began
    height, width = target
    if not quiet:
        say(f"wrote {output}, {steps} frames of {width}x{height} pixels, after {seconds:.0f} s")
    if json:
        values = {
            "output": output,
            "frames": [str(place) for place in places],
            "width": width,
            "height": height,
            "layers": list(names),
            "losses": losses,
            "seconds": round(seconds, 3),
            "seed": seed,
            "network": recipe.name,
        }
        print(json_module.dumps(values))
    return 0


def _frame_files(folder: str | None, steps: int, force: bool) -> list[Path]:
    """Files of the frames; none without a folder, which must exist.

    Raises:
        InvalidInputError: a file cannot be written, or exists.
    """
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise InvalidInputError(f"--frames: expected a folder that exists. Received: {folder}")
    places = [Path(folder) / f"frame-{number:03}.png" for number in range(1, steps + 1)]
    for place in places:
        check_destination(place)
        check_new("--frames", str(place), force)
    return places
