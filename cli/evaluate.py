"""`rwgen evaluate`: numbers for textures and styles, of rwgen or of anything else."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import options, resources
from rwgen.cli.inputs import load_input
from rwgen.cli.provenance import InputImage
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.compute.device import AUTO
from rwgen.errors import InvalidInputError
from rwgen.evaluation.config import EvaluationConfig
from rwgen.files import atomic_write, check_writable
from rwgen.images import fit_longest_side, resize_image
from rwgen.metrics.config import MINIMUM_SIDE
from rwgen.seeds import MAX_SEED
from rwgen.version import __version__

if TYPE_CHECKING:
    from rwgen.evaluation.table import Row

ASPECT_TOLERANCE = 0.05
"""By how much a result's ratio of width to height may differ from the content's: other programs
crop to whole multiples of 8 or 16 pixels."""

HIGHER_IS_BETTER = ("ssim",)
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "pillow")
_DEFAULTS = EvaluationConfig()


@dataclass(frozen=True)
class _Loaded:
    """An image that is judged, or judged by; `pixels` have the size at which it is."""

    image: InputImage
    original: tuple[int, int]
    pixels: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        height, width = self.pixels.shape[:2]
        sizes = {"size": self.original[::-1], "judged_size": (width, height)}
        return {**vars(self.image), **sizes}


def evaluate(
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT...", help="Images to judge, of any program.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="TEXTURE", help="What textures were made from.")
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Another piece of the texture as large as it is in --source, which nothing was "
            "made from; it becomes a baseline.",
        ),
    ] = None,
    content: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="What styled images show.")
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Option("--style", metavar="IMAGE", help="Whose style they have; may be repeated."),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=1,
            max=options.MAX_SIDE,
            metavar="PIXELS",
            help="Longest side that source, content and styles are scaled to: that of the run that "
            "made the results.",
        ),
    ] = options.DEFAULT_SIZE,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MAX_SEED, metavar="N", help="Decides the baselines' draws."),
    ] = _DEFAULTS.seed,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE.json", help="Write every number there."),
    ] = "",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Judge textures (--source) or styled images (--content, --style), with baselines beside them.

    Columns for textures, each better the lower it is:

    - **gram**: relative distance of covariances of features under three networks whose seeds
      made nothing
    - **patches**: sliced Wasserstein distance of patches in levels of 0..255, mean over scales
    - **spectrum**: difference of power spectra, in decibels
    - **copies**: share of the image copied from the source side by side

    Columns for styles:

    - **style**: as gram, to the style images; lower is better
    - **content**: relative distance of features under the same networks; lower is better
    - **patches**: as above, to the style images; lower is better
    - **ssim**: structural similarity to the content; higher is better

    Of several results the best in each column has a star. Baselines have none: noise copies
    nothing and a copy has no distance. They say what a number is worth.
    """
    if (source is None) == (content is None) or (content is None) != (not styles):
        raise InvalidInputError(
            "expected --source TEXTURE for textures, or --content IMAGE and --style IMAGE for "
            "styles. Received others"
        )
    if held_out is not None and source is None:
        raise InvalidInputError(f"--held-out: expected none without --source. Received: {held_out}")
    named = [("result", path) for path in dict.fromkeys(results)]
    named += [("source", source)] if source is not None else [("content", str(content))]
    named += [("style", path) for path in styles or ()]
    named += [("held_out", held_out)] if held_out is not None else []
    if sum(path == "-" for _, path in named) > 1:
        raise InvalidInputError("expected standard input (-) once. Received: - twice")
    if output:
        _check_destination(output, [path for _, path in named])
    config = EvaluationConfig(seed=seed)
    judged = _at_one_scale([load_input(InputImage(*item)) for item in named], size)
    images = {
        loaded.image.path: loaded.pixels for loaded in judged if loaded.image.role == "result"
    }
    for loaded in judged:
        if loaded.image.role == "result" and content is not None and not quiet:
            _note_size(loaded)

    with native_stderr_hidden():
        from rwgen import evaluation

    with resources.on_device(AUTO):
        if source is not None:
            (pixels,) = _of_role(judged, "source")
            other = next(iter(_of_role(judged, "held_out")), None)
            rows = evaluation.evaluate_texture(images, pixels, held_out=other, config=config)
        else:
            (pixels,) = _of_role(judged, "content")
            rows = evaluation.evaluate_style(
                images, pixels, _of_role(judged, "style"), config=config
            )
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
        "images": [loaded.to_dict() for loaded in judged],
        "rows": [asdict(row) for row in found],
    }
    if output:
        atomic_write(output, (json_module.dumps(values, indent=1) + "\n").encode())
    if json:
        print(json_module.dumps(values))
    else:
        _print_table(found)
    return 0


def _check_destination(output: str, inputs: Sequence[str]) -> None:
    if Path(output).suffix != ".json":
        raise InvalidInputError(f"--output: expected a file ending in .json. Received: {output!r}")
    check_writable(output)
    # Unlike `Path.resolve`, this leaves loops of links for reading and writing to report.
    if os.path.realpath(output) in map(os.path.realpath, inputs):
        raise InvalidInputError(f"--output: expected a file that is no input. Received: {output!r}")


def _at_one_scale(
    loaded: Sequence[tuple[InputImage, NDArray[np.float32]]], size: int
) -> list[_Loaded]:
    """Images as they are judged.

    Source, content and styles get the longest side `size`, another piece of the source the
    source's scale, and styled results the content's size. Textures stay as they are.

    Raises:
        InvalidInputError: an image is then too small, or a styled result has another shape than
            the content.
    """
    reference = next(pixels for image, pixels in loaded if image.role in ("source", "content"))
    shape = fit_longest_side(reference.shape[0], reference.shape[1], size)
    is_style = any(image.role == "content" for image, _ in loaded)
    found = []
    for image, pixels in loaded:
        height, width = pixels.shape[:2]
        target = (height, width)
        if image.role == "held_out":
            longest = max(height, width) * max(shape) / max(reference.shape[:2])
            target = fit_longest_side(height, width, max(1, round(longest)))
        elif image.role != "result":
            target = fit_longest_side(height, width, size)
        elif is_style:
            ratio = (width / height) / (reference.shape[1] / reference.shape[0])
            if max(ratio, 1 / ratio) > 1 + ASPECT_TOLERANCE:
                raise InvalidInputError(
                    "expected results of the content's shape, "
                    f"{reference.shape[1]}x{reference.shape[0]} pixels or in that proportion. "
                    f"Received: {image.path}, {width}x{height}"
                )
            target = shape
        if min(target) < MINIMUM_SIDE:
            raise InvalidInputError(
                f"expected images of at least {MINIMUM_SIDE} pixels a side where they are judged. "
                f"Received: {image.path}, {target[1]}x{target[0]}"
            )
        found.append(_Loaded(image, (height, width), resize_image(pixels, *target)))
    return found


def _of_role(loaded: Sequence[_Loaded], role: str) -> list[NDArray[np.float32]]:
    return [item.pixels for item in loaded if item.image.role == role]


def _note_size(loaded: _Loaded) -> None:
    """Say on standard error that a styled result was resized."""
    height, width = loaded.pixels.shape[:2]
    if loaded.original != (height, width) and sys.stderr is not None:
        size = f"{loaded.original[1]}x{loaded.original[0]}"
        print(
            f"rwgen: {loaded.image.path} of {size} is judged at {width}x{height}", file=sys.stderr
        )


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
        # As Text, because brackets in a file's name are no markup.
        table.add_row(Text(f"  {row.name}" if row.is_baseline else row.name), *cells)
    Console().print(table)
