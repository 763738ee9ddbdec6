"""`rwgen probe`: what untrained architectures keep of a photo."""

from __future__ import annotations

import importlib.util
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.existing import check_new, check_place
from rwgen.cli.inputs import load_input, print_notes, size_notes
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.files import atomic_write
from rwgen.images import central_square, resize_image
from rwgen.probe.config import ProbeConfig
from rwgen.provenance import InputImage

if TYPE_CHECKING:
    from rwgen.probe.summary import LayerProbe, LayerSummary

SIZE = 64
_DEFAULTS = ProbeConfig()
_LAYERS: Any = options.layer_option(
    options.LAYER_NAMES, "Layer to invert", "the last of each resolution and of the model"
)


def probe(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Architectures: names in keras.applications, alexnet, or .keras files.",
        ),
    ],
    image: Annotated[str, typer.Option(metavar="IMAGE", help="Photo; its central square is used.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="JSON file of all numbers. Results that it already holds are not recomputed.",
        ),
    ],
    layers: _LAYERS = None,
    size: Annotated[
        int, typer.Option(min=1, max=options.MAX_SIDE, metavar="PIXELS", help="Side of the photo.")
    ] = SIZE,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Number of draws of the weights, with seeds 0, 1, ..."
        ),
    ] = _DEFAULTS.num_seeds,
    iterations: options.Iterations = _DEFAULTS.max_iterations,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            help="Plot of how close the inversions are (PSNR) by resolution; needs pip install "
            '"rwgen[plots]".',
        ),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Draw the weights of architectures, invert a photo from their layers, and rank them.

    Example: rwgen probe VGG16 ResNet50 --image photo.jpg -o probe.json
    """
    _check_destinations(output, plot)
    # A record that is continued belongs to the plot, which is drawn anew.
    check_new("--plot", plot, force or Path(output).exists())
    notes: list[str] = []
    photo, pixels = load_input(InputImage("image", image), notes)
    pixels = central_square(pixels)
    print_notes([*notes, *size_notes(image, pixels.shape, (size, size))], quiet)
    pixels = resize_image(pixels, size, size)
    config = ProbeConfig(
        layers=options.split_layers(layers),
        num_seeds=seeds,
        max_iterations=iterations,
    )
    with native_stderr_hidden():
        from rwgen.probe.run import probe_architectures
    record = probe_architectures(
        models,
        pixels,
        output,
        config=config,
        image_sha256=photo.sha256 or "",
        callback=None if quiet else _show,
    )
    if plot is not None:
        from rwgen.probe.plot import plot_probe

        atomic_write(plot, plot_probe(record.summaries))
    if json:
        print(json_module.dumps(record.to_dict()))
    else:
        _print_tables(record.summaries, record.ranking)


def _check_destinations(output: str, plot: str | None) -> None:
    for option, path, suffix in (("--output", output, ".json"), ("--plot", plot, ".png")):
        if path is not None:
            if Path(path).suffix.lower() != suffix:
                raise InvalidInputError(f"{option}: expected a {suffix} file. Received: {path}")
            check_place(option, path)
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise InvalidInputError(
            '--plot: expected Matplotlib. Received: no such package; pip install "rwgen[plots]"'
        )


def _show(model: str, found: LayerProbe, number: int, total: int) -> None:
    """Print one line for each inversion on standard error."""
    if sys.stderr is not None:
        result = found.reason if found.psnr is None else f"{found.psnr:.1f} dB"
        line = f"{number}/{total} {model} {found.layer} seed {found.seed}: {result}"
        print(line, file=sys.stderr)


def _print_tables(summaries: list[LayerSummary], ranking: list[tuple[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("architecture", "layer", "output"):
        table.add_column(heading)
    for heading in ("PSNR, dB", "range", "SSIM", "loss left"):
        table.add_column(heading, justify="right")
    for row in sorted(summaries, key=lambda row: -(row.psnr or 0)):
        cells: list[str | Text] = [Text(row.model), Text(row.layer), "x".join(map(str, row.shape))]
        if row.psnr is None or row.psnr_range is None or row.loss is None:
            table.add_row(*cells, Text(row.reason))
            continue
        low, high = row.psnr_range
        similarity = "-" if row.ssim is None else f"{row.ssim:.2f}"
        table.add_row(
            *cells, f"{row.psnr:.1f}", f"{low:.1f}..{high:.1f}", similarity, f"{row.loss:.1e}"
        )
    console = Console()
    console.print(table)
    for place, (name, value) in enumerate(ranking, start=1):
        console.print(Text(f"{place}. {name}: {value:.1f} dB at the resolutions of all"))
