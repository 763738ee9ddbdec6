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
from rwgen.cli.existing import check_new, check_place
from rwgen.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.client.config import ClientConfig, parse_url
from rwgen.errors import ImageError, InvalidInputError, RwgenError, ServerError
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
_LAYERS: Any = options.layer_option(
    options.LAYER_NAMES,
    "Layer of --network (models return those that they were exported with)",
    ", ".join(_EXPORT.layers),
)


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
    layers: _LAYERS = None,
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
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Compute features of images, in this process or on a server.

    An image that cannot be used is left out and named at the end; the exit code is then 1. Hidden
    files in folders are passed over.
    """
    path = _destination(output)
    check_new("--output", output, force)
    sources = {"--server": server, "--model": model, "--network": network}
    given = [option for option, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InvalidInputError(
            "expected one of --server, --model and --network. "
            f"Received: {', '.join(given) or 'none'}"
        )
    if layers and network is None:
        raise unexpected("--layer", "no layers without --network", ",".join(layers))
    files = _files(images)
    wanted = options.parse_size(size) if size is not None else None
    words = options.split_layers(layers) or _EXPORT.layers
    # The signatures of this configuration are not used.
    export = ExportConfig(layers=words, signatures=("features",), size=wanted)
    config = ClientConfig(
        timeout=timeout, images_per_request=batch_size, root_certificates=root_certificates
    )
    if server is not None:
        parse_url(server)
    if network is not None and wanted is not None:
        load_recipe(network).topology.check_image_size(words, wanted, "a --size")
    with contextlib.ExitStack() as stack:
        with native_stderr_hidden():
            source = _source(stack, server, model, network, export, config)
            _, dtype, shape = source.input_of(signature)
            returned = source.outputs_of(signature)
        if path.suffix == ".npy" and len(returned) != 1:
            raise InvalidInputError(
                "--output: expected .npz or .json for several layers. Received: .npy for "
                f"{', '.join(returned)}"
            )
        target = None if dtype.hasobject else _target_size(wanted, shape)
        found = _Features(source, signature, dtype, target)
        for start in range(0, len(files), batch_size):
            found.add(files[start : start + batch_size])
            if found.failure is not None:
                break
            if found.files and not quiet and sys.stderr is not None:
                done = min(start + batch_size, len(files))
                print(f"{done}/{len(files)} images", file=sys.stderr)
    for file, error in found.left_out:
        say(str(error) if str(file) in str(error) else f"{file}: {error}")
    if found.failure is not None:
        if not found.files:
            raise found.failure
        say(f"{found.failed_at} and all after it: {found.failure}")
    if not found.files:
        if len(files) > 1:
            say(f"wrote nothing: none of {len(files)} images can be used")
            return EXIT_FAILED
        ((_, error),) = found.left_out
        invalid = isinstance(error, InvalidInputError)
        return EXIT_USAGE if invalid else EXIT_FAILED
    outputs = found.outputs()
    names = [str(file) for file in found.files]
    atomic_write(path, _encoded(path.suffix, names, outputs))
    complete = len(names) == len(files)
    if not quiet or not complete:
        say(f"wrote {output} with {len(names)} of {len(files)} images")
    if json:
        shapes = {name: list(value.shape) for name, value in outputs.items()}
        left_out = [str(file) for file in files if str(file) not in names]
        values = {"output": output, "files": names, "left_out": left_out, "shapes": shapes}
        print(json_module.dumps(values))
    return 0 if complete else EXIT_FAILED


class _Features:
    """Features of the images that have some; the others are left out.

    Attributes:
        files: images whose features are computed.
        left_out: images that have none, and why.
        failure: why no more features can be computed, or None.
        failed_at: the first image that none can be computed for then.
    """

    def __init__(
        self,
        source: FeatureSource,
        signature: str,
        dtype: np.dtype[Any],
        size: tuple[int, int] | None,
    ) -> None:
        """Compute nothing yet.

        Args:
            source: where features come from.
            signature: what it runs.
            dtype: of the signature's input, object for encoded images.
            size: (height, width) that images are resized to; None sends them encoded.
        """
        self._source, self._signature = source, signature
        self._dtype, self._size = dtype, size
        self._parts: list[dict[str, NDArray[Any]]] = []
        self.files: list[Path] = []
        self.left_out: list[tuple[Path, RwgenError]] = []
        self.failure: RwgenError | None = None
        self.failed_at = Path()
        self._said = False

    def add(self, files: Sequence[Path]) -> None:
        """Compute the features of one batch, or note why there are none."""
        loaded = []
        for file in files:
            try:
                loaded.append((file, self._load(file)))
            except ImageError as error:
                self.left_out.append((file, error))
        if loaded:
            self._predict(loaded)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Features of `files` by layer, [images, ...]."""
        return {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }

    def _load(self, file: Path) -> NDArray[Any]:
        """The encoded image [], or its pixels [height, width, 3]."""
        if self._size is None:
            return np.array(_read_bytes(file), self._dtype)
        with native_stderr_hidden():  # libtiff
            pixels = resize_image(read_image(file), *self._size)
        return (np.rint(pixels) if self._dtype == np.uint8 else pixels).astype(self._dtype)

    def _predict(self, loaded: Sequence[tuple[Path, NDArray[Any]]]) -> None:
        batch = np.stack([image for _, image in loaded])
        try:
            part = self._source.predict(self._signature, batch)
        except (InvalidInputError, ServerError) as error:
            if not self._is_about_images(error):
                self.failure, self.failed_at = error, loaded[0][0]
            elif len(loaded) == 1:
                self.left_out.append((loaded[0][0], error))
            else:
                if getattr(error, "code", "") == "RESOURCE_EXHAUSTED" and not self._said:
                    self._said = True
                    say(
                        f"a request of {len(loaded)} images is too large for the server; each is "
                        "sent alone; a smaller --batch-size saves the attempts"
                    )
                for item in loaded:  # only one of them may be at fault
                    if self.failure is None:
                        self._predict([item])
        else:
            self._parts.append(part)
            self.files += [file for file, _ in loaded]

    def _is_about_images(self, error: RwgenError) -> bool:
        """Whether another image may do; arrays of equal size do or fail together."""
        code = getattr(error, "code", "INVALID_ARGUMENT")
        too_large = code == "RESOURCE_EXHAUSTED"
        return too_large or (self._size is None and code == "INVALID_ARGUMENT")


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
    if path.suffix not in SUFFIXES:
        raise unexpected("--output", f"a file ending in {', '.join(SUFFIXES)}", output)
    check_place("--output", output)
    return path


def _files(places: Sequence[str]) -> list[Path]:
    """Return the given files; folders are searched recursively for images, sorted by path.

    Hidden files and folders are passed over: many are no images, such as `._photo.jpg` of macOS.
    """
    files: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = [
                path
                for path in sorted(place.rglob("*"))
                if path.suffix.lower() in IMAGE_SUFFIXES
                and path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(place).parts)
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
    (value,) = outputs.values()
    np.save(file, value)
    return file.getvalue()
