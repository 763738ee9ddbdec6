"""`rwgen features`: features of images, from a server, a SavedModel or a network built here."""

from __future__ import annotations

import contextlib
import io
import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.checks import unexpected
from rwgen.cli import options
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.client.config import ClientConfig, parse_url
from rwgen.errors import ImageError, InvalidInputError
from rwgen.export.config import JPEG_START, PNG_START, ExportConfig
from rwgen.files import atomic_write
from rwgen.images import read_image, resize_image
from rwgen.network.lookup import load_recipe

if TYPE_CHECKING:
    from rwgen.client.local import FeatureSource

DEFAULT_SIDE = 224
DEFAULT_BATCH = 8
SUFFIXES = (".npz", ".npy", ".json")

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".bmp",
    ".ppm",
    ".avif",
)
"""Suffixes of the images in a folder. Files given by name may have any suffix."""

_EXPORT = ExportConfig()


def features(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Images, or folders to search for images."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .npz and .json contain all layers and file names, .npy one layer.",
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of a served model, such as http://localhost:8501/v1/models/NAME or "
            "grpc://localhost:8500/v1/models/NAME.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of an exported model to run in this process."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Network to build in this process.")
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Layers of --network, separated by commas. Models return the layers they were "
            "exported with.",
            show_default=",".join(_EXPORT.layers),
        ),
    ] = "",
    signature: Annotated[
        str, typer.Option(metavar="NAME", help="Signature to run, see rwgen export.")
    ] = "features",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Size to which images are resized; not used by features_from_bytes.",
            show_default=f"size of the model, or {DEFAULT_SIDE}x{DEFAULT_SIDE}",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1024, metavar="N", help="Number of images per request.")
    ] = DEFAULT_BATCH,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="Time limit for each request to --server."),
    ] = ClientConfig().timeout,
    root_certificates: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.pem", help="Certificate authorities to trust, for https and grpcs."
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Compute features of images, in this process or on a server."""
    path = _destination(output)
    sources = {"--server": server, "--model": model, "--network": network}
    given = [option for option, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InvalidInputError(
            "expected one of --server, --model and --network. "
            f"Received: {', '.join(given) or 'none'}"
        )
    if layers and network is None:
        raise unexpected("--layers", "no layers without --network", layers)
    files = _files(images)
    wanted = options.parse_size(size) if size is not None else None
    words = tuple(word.strip() for word in layers.split(",")) if layers else _EXPORT.layers
    # The signatures of this configuration are not used.
    export = ExportConfig(layers=words, signatures=("features",), size=wanted)
    config = ClientConfig(timeout=timeout, root_certificates=root_certificates)
    if server is not None:
        parse_url(server)
    if network is not None and wanted is not None:
        load_recipe(network).topology.check_image_size(words, wanted, "a --size")
    with contextlib.ExitStack() as stack:
        with native_stderr_hidden():
            source = _source(stack, server, model, network, export, config)
            _, dtype, shape = source.input_of(signature)
        send_bytes = dtype.hasobject
        target = None if send_bytes else _target_size(wanted, shape)
        found: list[dict[str, NDArray[Any]]] = []
        for start in range(0, len(files), batch_size):
            batch = _load(files[start : start + batch_size], dtype, target)
            found.append(source.predict(signature, batch))
            if not quiet and sys.stderr is not None:
                done = min(start + batch_size, len(files))
                print(f"{done}/{len(files)} images", file=sys.stderr)
    outputs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    names = [str(file) for file in files]
    atomic_write(path, _encoded(path.suffix, names, outputs))
    if json:
        shapes = {name: list(value.shape) for name, value in outputs.items()}
        print(json_module.dumps({"output": output, "files": names, "shapes": shapes}))
    return 0


def _source(
    stack: contextlib.ExitStack,
    server: str | None,
    model: str | None,
    network: str | None,
    export: ExportConfig,
    config: ClientConfig,
) -> FeatureSource:
    if server is not None:
        from rwgen.client.client import FeaturesClient

        return stack.enter_context(FeaturesClient(server, config))
    from rwgen.client.local import NetworkSource, SavedModelSource

    if model is not None:
        return SavedModelSource(model)
    return NetworkSource(str(network), export)


def _destination(output: str) -> Path:
    path = Path(output)
    if path.suffix not in SUFFIXES or path.is_dir():
        raise unexpected("--output", f"a file ending in {', '.join(SUFFIXES)}", output)
    if not path.parent.is_dir():
        raise unexpected("--output", "a file in an existing folder", output)
    return path


def _files(places: Sequence[str]) -> list[Path]:
    """Return the given files; folders are searched recursively for images, sorted by path."""
    files: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = [
                path
                for path in sorted(place.rglob("*"))
                if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            ]
            if not inside:
                raise InvalidInputError(f"expected a folder of images. Received: {str(place)!r}")
            files += inside
        else:
            files.append(place)
    return files


def _target_size(wanted: tuple[int, int] | None, shape: tuple[int | None, ...]) -> tuple[int, int]:
    if len(shape) != 4:
        raise InvalidInputError(f"expected a signature that takes images. Received: shape {shape}")
    height, width = wanted or (shape[1] or DEFAULT_SIDE, shape[2] or DEFAULT_SIDE)
    if shape[1] not in (None, height) or shape[2] not in (None, width):
        raise InvalidInputError(
            f"--size: expected {shape[2]}x{shape[1]}, the size of the model. "
            f"Received: {width}x{height}"
        )
    return height, width


def _load(
    files: Sequence[Path], dtype: np.dtype[Any], size: tuple[int, int] | None
) -> NDArray[Any]:
    if size is None:
        batch = np.empty(len(files), object)
        batch[:] = [_read_bytes(file) for file in files]
        return batch
    pixels = np.stack([resize_image(read_image(file), *size) for file in files])
    if dtype == np.uint8:
        pixels = np.rint(pixels)
    return pixels.astype(dtype)


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"expected a readable image. Received: {str(file)!r} ({reason})") from None
    if not data.startswith((JPEG_START, PNG_START)):
        raise ImageError(
            "--signature features_from_bytes: expected JPEG and PNG files. "
            f"Received: {str(file)!r}; other signatures take every format"
        )
    return data


def _encoded(suffix: str, names: list[str], outputs: dict[str, NDArray[Any]]) -> bytes:
    if suffix == ".json":
        features = {name: value.tolist() for name, value in outputs.items()}
        return json_module.dumps({"files": names, "features": features}).encode()
    file = io.BytesIO()
    if suffix == ".npz":
        np.savez(file, files=np.array(names), **outputs)  # type: ignore[arg-type]
        return file.getvalue()
    if len(outputs) != 1:
        raise InvalidInputError(
            f"--output: expected .npz or .json for several layers. Received: {suffix} for "
            f"{', '.join(outputs)}"
        )
    (value,) = outputs.values()
    np.save(file, value)
    return file.getvalue()
