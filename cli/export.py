"""`rwgen export` and `rwgen inspect`: write networks as SavedModels, and describe exports."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.export.config import SIGNATURE_NAMES, ExportConfig
from rwgen.export.manifest import (
    Manifest,
    damaged_files,
    latest_version,
    read_manifest,
    version_folders,
)
from rwgen.network.lookup import load_recipe

_DEFAULTS = ExportConfig()
_LAYERS: Any = options.layer_option(
    options.LAYER_NAMES, "Layer whose features are returned", ", ".join(_DEFAULTS.layers)
)


def export(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="Name or file of a network, as for --network of other commands."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the model, in which the next version is created.",
        ),
    ],
    layers: _LAYERS = None,
    signatures: Annotated[
        str,
        typer.Option(
            "--signatures",
            "--signature",
            metavar="NAMES",
            help=f"Signatures to export, separated by commas: {', '.join(SIGNATURE_NAMES)}. The "
            "first is also serving_default.",
            show_default="all; without gram for dense layers",
        ),
    ] = "",
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Accept images of this size only.", show_default="any"),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Export a network as a SavedModel, for TF Serving and other runtimes.

    Example: rwgen export ranvgg19 -o models/features
    """
    recipe = load_recipe(network)
    names = options.split_layers(layers) or _DEFAULTS.layers
    kinds = {recipe.topology.layer(name).kind for name in names}
    possible = [name for name in SIGNATURE_NAMES if name != "gram" or "dense" not in kinds]
    config = ExportConfig(
        layers=names,
        signatures=_words(signatures) if signatures else tuple(possible),  # type: ignore[arg-type]
        size=options.parse_size(size) if size is not None else None,
    )
    if config.size is not None:
        recipe.topology.check_image_size(names, config.size, "a --size")
    with native_stderr_hidden():
        from rwgen.export.saved_model import export_network

        version = export_network(recipe, output, config)
    if json:
        manifest = read_manifest(version)
        print(json_module.dumps({"output": str(version), **_to_json(version, manifest)}))
    elif not quiet:
        print(version)
    return 0


def inspect(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="Folder of an exported model, or of one of its versions."
        ),
    ],
    json: options.Json = False,
) -> int:
    """Describe an export, and check that its files are unchanged.

    Example: rwgen inspect models/features
    """
    version = latest_version(Path(folder))
    manifest = read_manifest(version)
    damaged = damaged_files(version, manifest)
    if json:
        print(json_module.dumps({"folder": str(version), **_to_json(version, manifest)}))
    else:
        _show(version, manifest)
    if damaged:
        raise InvalidInputError(
            f"expected the files of the manifest. Received changes in: {', '.join(damaged)}"
        )
    return 0


def _to_json(version: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        **dataclasses.asdict(manifest),
        "versions_found": sorted(version_folders(version.parent)),
        "bytes": _num_bytes(version),
        "damaged": damaged_files(version, manifest),
    }


def _show(version: Path, manifest: Manifest) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{manifest.name}, version {version.name}, {_num_bytes(version) / 2**20:.1f} MiB"
    table = Table(title=Text(title), box=None, pad_edge=False)
    for heading in ("signature", "takes", "gives"):
        table.add_column(heading)
    for name, parts in manifest.signatures.items():
        texts = [
            "\n".join(_tensor(*item) for item in parts[kind].items())
            for kind in ("inputs", "outputs")
        ]
        table.add_row(name, *(Text(text) for text in texts))
    console = Console()
    console.print(table)
    written = ", ".join(f"{package} {number}" for package, number in manifest.versions.items())
    console.print(Text(f"network {manifest.recipe['name']}; written by {written}"))


def _tensor(name: str, tensor: Mapping[str, Any]) -> str:
    shape = ", ".join("?" if side is None else str(side) for side in tensor["shape"])
    return f"{name}: {tensor['dtype']} [{shape}]"


def _num_bytes(version: Path) -> int:
    return sum(path.stat().st_size for path in version.rglob("*") if path.is_file())


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))
