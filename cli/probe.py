"""`rwgen probe`: what untrained architectures keep of a photo."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.inputs import load_input
from rwgen.cli.provenance import InputImage
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.files import atomic_write, check_writable
from rwgen.images import central_square, resize_image
from rwgen.probe.config import ProbeConfig
from rwgen.version import __version__

if TYPE_CHECKING:
    from rwgen.probe.layers import LayerProbe, LayerSummary

SIZE = 64
SCHEMA = 1
_DEFAULTS = ProbeConfig()

_Job = tuple[str, str, str, int]
"""Model, fingerprint of its file, layer and seed."""


def probe(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Architectures: names in keras.applications, alexnet, or .keras files.",
        ),
    ],
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="Photo; its central square is taken.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="JSON file with every number. What it already holds is not computed again.",
        ),
    ],
    layers: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Layers to invert; empty: the last of each resolution, and the last of all.",
        ),
    ] = "",
    size: Annotated[
        int, typer.Option(min=1, max=options.MAX_SIDE, metavar="PIXELS", help="Side of the photo.")
    ] = SIZE,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Draws of the weights, of seeds 0, 1, ...")
    ] = _DEFAULTS.num_seeds,
    iterations: options.Iterations = _DEFAULTS.max_iterations,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help='PNG of PSNR over resolution; needs pip install "rwgen[plots]".'
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Draw the weights of architectures, invert a photo from their layers, and rank them."""
    _check_destinations(output, plot)
    models = list(dict.fromkeys(models))
    names = tuple(name.strip() for name in layers.split(",") if name.strip())
    photo, pixels = load_input(InputImage("image", image))
    pixels = resize_image(central_square(pixels), size, size)
    with native_stderr_hidden():
        import keras

        from rwgen.probe.architectures import load_architecture
        from rwgen.probe.layers import (
            LayerProbe,
            probe_layer,
            probed_layers,
            rank_models,
            summarize,
        )

    def load(name: str) -> Any:
        # Keras counts up names such as layer_normalization_1; here they begin anew every time.
        keras.utils.clear_session(free_memory=False)
        return load_architecture(name, size)

    config = ProbeConfig(layers=names, num_seeds=seeds, max_iterations=iterations)
    settings = {
        "image_sha256": photo.sha256,
        "size": size,
        "max_iterations": iterations,
        "bias_stddev": config.bias_stddev,
    }
    made = _read_rows(output, settings)
    jobs: list[_Job] = []
    for name in models:  # all are built, and their layers found, before any work
        chosen = probed_layers(load(name), names)
        digest = _fingerprint(name)
        jobs += [(name, digest, layer.name, seed) for layer in chosen for seed in range(seeds)]
    missing = [job for job in jobs if job not in made]
    for number, job in enumerate(missing):
        name, _, layer_name, seed = job
        if number == 0 or name != missing[number - 1][0]:
            model = load(name)
        found = probe_layer(model, layer_name, pixels, seed, config)
        made[job] = dataclasses.asdict(found)
        _write(output, settings, made, [], [])
        if not quiet:
            _show(name, found, number + 1, len(missing))

    summaries: list[LayerSummary] = []
    for name in models:
        probes = [LayerProbe(**made[job]) for job in jobs if job[0] == name]
        summaries += summarize(name, size, probes)
    ranking = rank_models(summaries) if len(models) > 1 else []
    record = _write(output, settings, made, summaries, ranking)
    if plot is not None:
        from rwgen.probe.plot import plot_probe

        atomic_write(plot, plot_probe(summaries))
    if json:
        print(json_module.dumps(record))
    else:
        _print_tables(summaries, ranking)


def _check_destinations(output: str, plot: str | None) -> None:
    for option, path, suffix in (("--output", output, ".json"), ("--plot", plot, ".png")):
        if path is not None:
            if Path(path).suffix.lower() != suffix:
                raise InvalidInputError(f"{option}: expected a {suffix} file. Received: {path}")
            check_writable(path)
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise InvalidInputError(
            '--plot: expected Matplotlib. Received: no such package; pip install "rwgen[plots]"'
        )


def _show(model: str, found: LayerProbe, number: int, total: int) -> None:
    """One line for every inversion, on standard error."""
    if sys.stderr is not None:
        result = found.reason if found.psnr is None else f"{found.psnr:.1f} dB"
        line = f"{number}/{total} {model} {found.layer} seed {found.seed}: {result}"
        print(line, file=sys.stderr)


def _fingerprint(name: str) -> str:
    """Of a file; empty for a name, which says it all."""
    path = Path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".keras" else ""


def _read_rows(path: str, settings: dict[str, Any]) -> dict[_Job, dict[str, Any]]:
    """The inversions of an earlier run of the same settings."""
    if not Path(path).exists():
        return {}
    try:
        record = json_module.loads(Path(path).read_text(encoding="utf-8"))
        same = record["schema"] == SCHEMA and record["settings"] == settings
        rows = {
            (row["model"], row["model_sha256"], row["probe"]["layer"], row["probe"]["seed"]): {
                **row["probe"],
                "shape": tuple(row["probe"]["shape"]),
            }
            for row in record["probes"]
        }
    except (ValueError, KeyError, TypeError, OSError):
        raise InvalidInputError(
            f"--output: expected a new file, or one that `rwgen probe` wrote. Received: {path}"
        ) from None
    if not same:
        raise InvalidInputError(
            "--output: expected a new file, or one of the same photo, --size and --iterations. "
            f"Received: {path}"
        )
    return rows


def _write(
    path: str,
    settings: dict[str, Any],
    made: dict[_Job, dict[str, Any]],
    summaries: list[LayerSummary],
    ranking: list[tuple[str, float]],
) -> dict[str, Any]:
    record = {
        "schema": SCHEMA,
        "rwgen": __version__,
        "settings": settings,
        "ranking": [{"model": name, "psnr": value} for name, value in ranking],
        "layers": [dataclasses.asdict(row) for row in summaries],
        "probes": [
            {"model": name, "model_sha256": digest, "probe": probe}
            for (name, digest, _, _), probe in made.items()
        ],
    }
    atomic_write(path, f"{json_module.dumps(record, indent=1)}\n".encode())
    return record


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
