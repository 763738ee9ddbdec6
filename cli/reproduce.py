"""`rwgen reproduce`: reproduce the paper's figures."""

from __future__ import annotations

import contextlib
import json as json_module
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rwgen.cli import options
from rwgen.cli.stderr import say
from rwgen.errors import InvalidInputError
from rwgen.progress import NARROW, live_console, narrow_columns
from rwgen.reproduction.scale import QUICK, SCALES
from rwgen.workers import process_runner

if TYPE_CHECKING:
    from rwgen.reproduction.run import Advance


def reproduce(
    figures: Annotated[
        list[int] | None,
        typer.Argument(metavar="FIGURE", help="Figures of the paper, 2 to 10.", show_default="all"),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Output folder, always needed: new, empty, or one of an earlier call, which is "
            "resumed.",
        ),
    ] = "",
    scale: Annotated[
        str,
        typer.Option(
            metavar="quick|full",
            help="quick: small images, less than 45 minutes on two cores; full: the paper's "
            "setting, one or two days (docs/reproduction.md).",
        ),
    ] = QUICK.name,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder whose subfolders `photos`, `textures` and `paintings` replace the images "
            "of scikit-image, in order of file names; each is optional.",
        ),
    ] = None,
    trained: Annotated[
        str | None,
        typer.Option(
            metavar="imagenet|FILE",
            help="Trained weights to compare with: those of Keras, which are downloaded, or a file "
            "of a VGG-19 (.h5, .keras).",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of worker processes, up to 3 GiB each.")
    ] = 1,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Reproduce the paper's figures, with a page that reports which of its claims hold.

    Example: rwgen reproduce 2 5 -o figures
    """
    if not output:
        raise InvalidInputError("--output: expected a folder. Received: none")
    if scale not in SCALES:
        raise InvalidInputError(
            f"--scale: expected one of {', '.join(SCALES)}. Received: {scale!r}"
        )
    # Inherited by the worker processes, where TensorFlow reads it on import.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

    from rwgen.reproduction import run

    with process_runner(workers) as runner, _progress(quiet) as show:
        made = run.reproduce(
            Path(output),
            figures or (),
            scale=SCALES[scale],
            images=None if images is None else Path(images),
            trained=trained,
            run=runner,
            progress=show,
        )
    if json:
        values = {
            "output": str(made.page),
            "figures": made.figures,
            "parts": made.parts,
            "made": made.made,
            "seconds": round(made.seconds, 3),
            "verdicts": made.verdicts,
            "full_scale_seconds": round(made.full.seconds),
        }
        print(json_module.dumps(values))
    return 0


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Advance], None]]:
    """Show a progress bar on standard error if it is a terminal, else a line for each part."""
    if quiet:
        yield lambda advance: None
        return
    console = live_console()
    if console is None:
        yield _print_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = narrow_columns()
    if console.width >= NARROW:
        text = TextColumn("{task.description}")
        columns = [TextColumn("parts"), BarColumn(), MofNCompleteColumn(), text]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(advance: Advance) -> None:
            bar.update(
                task, completed=advance.done, total=advance.total, description=_left(advance)
            )

        yield show


def _print_line(advance: Advance) -> None:
    say(f"parts {advance.done} of {advance.total} {_left(advance)}")


def _left(advance: Advance) -> str:
    left = advance.seconds_left
    return "" if not left else f"about {max(1, round(left / 60))} min left"
