"""`rwgen evaluate`: textures and stylized images of any program, judged in numbers."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import options, resources
from rwgen.cli.existing import check_new, check_place
from rwgen.cli.inputs import load_input, print_notes
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.compute.device import AUTO
from rwgen.errors import InvalidInputError
from rwgen.evaluation.config import EvaluationConfig
from rwgen.evaluation.scale import scale_styles, scale_textures
from rwgen.files import atomic_write
from rwgen.provenance import InputImage
from rwgen.seeds import MAX_SEED
from rwgen.version import __version__

if TYPE_CHECKING:
    from rwgen.evaluation.table import Row

HIGHER_IS_BETTER = ("ssim",)
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "pillow")
_DEFAULTS = EvaluationConfig()


def evaluate(
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT", help="Images to judge, of any program.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="TEXTURE", help="Source image of the textures.")
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Another piece of the texture at the scale of --source, from which nothing was "
            "made; becomes a baseline.",
        ),
    ] = None,
    content: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Content image of the stylized images.")
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Option("--style", metavar="IMAGE", help="Style image; may be repeated."),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=1,
            max=options.MAX_SIDE,
            metavar="PIXELS",
            help="Longest side that source, content and styles are resized to: that of the run "
            "that made the results.",
        ),
    ] = options.DEFAULT_SIZE,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the baselines' random draws."),
    ] = _DEFAULTS.seed,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE.json", help="Write all numbers to this file."),
    ] = "",
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Judge textures (--source) or stylized images (--content, --style), alongside baselines.

    Example: rwgen evaluate result.png --content photo.jpg --style painting.jpg

    Columns for textures, lower is better:

    gram: how far the statistics of features are from those of the source, as a share, under three
    networks with seeds that made no image

    variances: how far the variances of small patches are from those of the source along its
    principal components, in decibels, mean over scales; of all columns, the one
    whose order of textures and styles is most like that of a trained network. No column orders
    styles that are nearly alike

    patches: how far small patches are from those of the source, in levels of 0..255, mean over
    scales (sliced Wasserstein distance)

    spectrum: difference of power spectra, in decibels

    copies: share of the image that is copied from the source

    Columns for styles:

    style: as gram, from each style image; lower is better

    variances: as above, from each style image; lower is better

    content: how far features are from those of the content under the same networks, as a share;
    lower is better

    patches: as above, from each style image; lower is better

    ssim: structural similarity to the content; higher is better

    With several results, a star marks the best in each column. Baselines get none: noise copies
    nothing, and a copy of the source has no distance from it. They show what a number is worth.
    """
    if (source is None) == (content is None) or (content is None) != (not styles):
        raise InvalidInputError(
            "expected --source TEXTURE for textures, or --content IMAGE and --style IMAGE for "
            "styles. Received: another combination"
        )
    if held_out is not None and source is None:
        raise InvalidInputError(f"--held-out: expected only with --source. Received: {held_out}")
    named = [("result", path) for path in dict.fromkeys(results)]
    named += [("source", source)] if source is not None else [("content", str(content))]
    named += [("style", path) for path in styles or ()]
    named += [("held_out", held_out)] if held_out is not None else []
    if sum(path == "-" for _, path in named) > 1:
        raise InvalidInputError("expected standard input (-) once. Received: - twice")
    if output:
        _check_destination(output, [path for _, path in named])
        check_new("--output", output, force)
    config = EvaluationConfig(seed=seed)
    notes: list[str] = []
    loaded = [load_input(InputImage(*item), notes) for item in named]
    print_notes(notes, quiet)

    def of_role(role: str) -> list[NDArray[np.float32]]:
        return [pixels for image, pixels in loaded if image.role == role]

    images = {image.path: pixels for image, pixels in loaded if image.role == "result"}
    others, style_pixels = of_role("held_out"), of_role("style")
    if source is not None:
        (reference,) = of_role("source")
        images, reference, other = scale_textures(
            images, reference, size, held_out=others[0] if others else None
        )
        others = [] if other is None else [other]
    else:
        (reference,) = of_role("content")
        images, reference, style_pixels = scale_styles(images, reference, style_pixels, size)
    judged = [*images.values(), reference, *style_pixels, *others]  # in the order of `loaded`
    sized = [
        {**vars(image), "size": before.shape[1::-1], "judged_size": after.shape[1::-1]}
        for (image, before), after in zip(loaded, judged, strict=True)
    ]
    if content is not None and not quiet:
        for values in sized[: len(images)]:
            _note_size(**values)

    with native_stderr_hidden():
        from rwgen.evaluation.table import evaluate_style, evaluate_texture

    with resources.on_device(AUTO):
        if source is not None:
            rows = evaluate_texture(images, reference, held_out=other, config=config)
        else:
            rows = evaluate_style(images, reference, style_pixels, config=config)
        found = []
        for row in rows:
            found.append(row)
            if not quiet and sys.stderr is not None:
                print(f"judged {row.name}", file=sys.stderr)
    values = {
        "task": "texture" if source is not None else "style",
        "versions": {
            "rwgen": __version__,
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "config": asdict(config),
        "images": sized,
        "rows": [asdict(row) for row in found],
    }
    if output:
        atomic_write(output, (json_module.dumps(values, indent=1) + "\n").encode())
        if not quiet:
            say(f"wrote {output}")
    if json:
        print(json_module.dumps(values))
    else:
        _print_table(found)
    return 0


def _check_destination(output: str, inputs: Sequence[str]) -> None:
    if Path(output).suffix != ".json":
        raise InvalidInputError(f"--output: expected a file ending in .json. Received: {output!r}")
    check_place("--output", output)
    # Unlike `Path.resolve`, this leaves loops of symbolic links to be reported on reading.
    if os.path.realpath(output) in map(os.path.realpath, inputs):
        raise InvalidInputError(
            f"--output: expected a file other than the inputs. Received: {output!r}"
        )


def _note_size(path: str, size: Sequence[int], judged_size: Sequence[int], **_: object) -> None:
    """Report on standard error that a stylized result was resized."""
    if size != judged_size and sys.stderr is not None:
        before, after = ("x".join(map(str, sides)) for sides in (size, judged_size))
        print(f"rwgen: {path} of {before} is judged at {after}", file=sys.stderr)


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    numbers = [row.scores.numbers() for row in rows]
    results = [values for row, values in zip(rows, numbers, strict=True) if not row.is_baseline]
    best = {}
    if len(results) > 1:
        for name in numbers[0]:
            choose = max if name in HIGHER_IS_BETTER else min
            best[name] = choose(values[name] for values in results)
    table = Table(box=None, pad_edge=False)
    table.add_column("image\n", overflow="fold")
    for name in numbers[0]:
        better = "higher" if name in HIGHER_IS_BETTER else "lower"
        table.add_column(f"{name}\n({better})", justify="right", no_wrap=True)
    for row, values in zip(rows, numbers, strict=True):
        cells = []
        for name, value in values.items():
            is_best = not row.is_baseline and best.get(name) == value
            cells.append(Text(f"{value:#.3g}{'*' if is_best else ' '}", "bold" if is_best else ""))
        if row.is_baseline and row is next(other for other in rows if other.is_baseline):
            table.add_row("\nbaselines")
        # As Text, so that brackets in a file name are not read as markup.
        table.add_row(Text(f"  {row.name}" if row.is_baseline else row.name), *cells)
    Console().print(table)
