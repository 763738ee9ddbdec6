"""`rwgen features`: features of images, from a server, a SavedModel or a network built here."""

from __future__ import annotations

import contextlib
import functools
import io
import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.checks import unexpected
from rwgen.cli import options
from rwgen.cli.existing import check_new, check_place
from rwgen.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from rwgen.cli.inputs import images_in, print_notes
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.client.config import ClientConfig, parse_url
from rwgen.client.extraction import Extraction, SourceConfig, open_source
from rwgen.client.ray_shards import (
    RETRIES,
    ShardJob,
    check_ray_data,
    extract_on_ray,
    open_on_one_core,
)
from rwgen.client.shards import FORMATS, ShardFormat, Shards, encoded_npz
from rwgen.errors import InvalidInputError
from rwgen.export.config import ExportConfig
from rwgen.files import atomic_write
from rwgen.network.lookup import load_recipe

DEFAULT_SIDE = 224
DEFAULT_BATCH = 8
DEFAULT_SHARD = 512
SUFFIXES = (".npz", ".npy", ".json")

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
            help="File to write: .npz and .json contain all layers and file names, .npy one layer. "
            "With --ray, a folder.",
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
    client_key: Annotated[
        str | None,
        typer.Option(metavar="FILE.pem", help="Private key of --client-certificate."),
    ] = None,
    client_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE.pem", help="Certificate to show to a server that asks for one."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Compute on a Ray cluster: local (start one), auto (running one) or "
            "ray://HOST:PORT. --output is then a folder, and all machines must see it and the "
            "images.",
        ),
    ] = None,
    shards: Annotated[
        ShardFormat, typer.Option(help="Format of the files that --ray writes.")
    ] = FORMATS[0],
    shard_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of images in a file, with --ray.")
    ] = DEFAULT_SHARD,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Compute features of images, in this process or on a server.

    Example: rwgen features photos --model models/features -o features.npz

    One of --server, --model and --network says what computes them.

    An image that cannot be used is left out and named at the end; the exit code is then 1. Hidden
    files in folders are passed over.

    With --ray, images are computed in processes of a cluster and written in shards to the folder
    --output. The same command computes what is missing there, so it also resumes a run that was
    killed.
    """
    path = _destination(output) if ray is None else Path(output)
    if ray is not None:
        check_ray_data()
        _check_folder(output, force)
    elif shard_size != DEFAULT_SHARD or shards != FORMATS[0]:
        option = "--shards" if shards != FORMATS[0] else "--shard-size"
        raise InvalidInputError(f"{option}: expected --ray too. Received: none")
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
    where = SourceConfig(
        server=server,
        model=model,
        network=network,
        # The signatures of this configuration are not used.
        export=ExportConfig(layers=words, signatures=("features",), size=wanted),
        client=ClientConfig(
            timeout=timeout,
            images_per_request=batch_size,
            root_certificates=root_certificates,
            client_key=client_key,
            client_certificate=client_certificate,
        ),
    )
    if server is not None:
        parse_url(server)
    if network is not None and wanted is not None:
        load_recipe(network).topology.check_image_size(words, wanted, "a --size")
    with contextlib.ExitStack() as stack:
        with native_stderr_hidden():
            source = stack.enter_context(open_source(where))
            _, dtype, shape = source.input_of(signature)
            returned = source.outputs_of(signature)
        if path.suffix == ".npy" and ray is None and len(returned) != 1:
            raise InvalidInputError(
                "--output: expected .npz or .json for several layers. Received: .npy for "
                f"{', '.join(returned)}"
            )
        target = None if dtype.hasobject else _target_size(wanted, shape)
        if ray is None:
            found = _extracted(
                Extraction(source, signature, dtype, target), files, batch_size, quiet
            )
            return _written(found, files, output, quiet, json)
    where = where.for_any_folder()
    job = ShardJob(
        Shards(path.absolute(), shards),
        functools.partial(open_on_one_core, where),
        signature,
        target,
        batch_size,
        shard_size,
    )
    job.shards.begin(
        {
            **where.identity(),
            "signature": signature,
            "size": f"{target[1]}x{target[0]}" if target else size,
        }
    )
    return _in_shards(files, job, ray, output, quiet, json)


def _extracted(
    found: Extraction, files: Sequence[Path], batch_size: int, quiet: bool
) -> Extraction:
    """Compute the features of all files, with a line for each batch."""
    for start in range(0, len(files), batch_size):
        before = found.too_large
        with native_stderr_hidden():  # libtiff
            found.add(files[start : start + batch_size])
        if found.too_large != before:
            say(
                f"a request of {found.too_large} images is too large for the server; each is sent "
                "alone; a smaller --batch-size saves the attempts"
            )
        if found.failure is not None:
            break
        if found.files and not quiet and sys.stderr is not None:
            done = min(start + batch_size, len(files))
            print(f"{done}/{len(files)} images", file=sys.stderr)
    return found


def _written(found: Extraction, files: Sequence[Path], output: str, quiet: bool, json: bool) -> int:
    """Write one file, say what is not in it, and return the exit code."""
    print_notes(
        (
            f"{altered[0]}{f' and {len(altered) - 1} more' if altered[1:] else ''}: {phrase}"
            for phrase, altered in found.altered.items()
        ),
        quiet,
    )
    for file, error in found.left_out:
        _say_left_out(str(file), str(error))
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
    atomic_write(output, _encoded(Path(output).suffix, names, outputs))
    complete = len(names) == len(files)
    if not quiet or not complete:
        say(f"wrote {output} with {len(names)} of {len(files)} images")
    if json:
        shapes = {name: list(value.shape) for name, value in outputs.items()}
        left_out = [str(file) for file in files if str(file) not in names]
        values = {"output": output, "files": names, "left_out": left_out, "shapes": shapes}
        print(json_module.dumps(values))
    return 0 if complete else EXIT_FAILED


def _in_shards(
    files: Sequence[Path], job: ShardJob, address: str, output: str, quiet: bool, json: bool
) -> int:
    """Add what is missing to a folder of shards, say what it lacks, and return the exit code."""
    names = list(dict.fromkeys(str(file.absolute()) for file in files))
    before = job.shards.finished()
    missing = [name for name in names if name not in before]
    left_out = {name: f"{name}: expected a name in UTF-8" for name in missing if not _is_text(name)}
    wanted = [name for name in missing if name not in left_out]
    done, failure = len(names) - len(wanted), None
    reports = extract_on_ray(wanted, job, address)
    with native_stderr_hidden() as shown, contextlib.closing(reports):  # Ray has no quiet mode
        for report in reports:
            done += report.images
            left_out |= report.left_out
            failure = report.failure
            if failure is not None:
                break
            if not quiet and shown is not None:
                print(f"{done}/{len(names)} images", file=shown)
    job.shards.clear()
    shards = job.shards.finished()
    for name, reason in left_out.items():
        _say_left_out(name, reason)
    lacking = [name for name in names if name not in shards]
    lost = [name for name in lacking if name not in left_out]
    if failure is not None:
        say(failure)
    elif lost:
        say(
            f"{lost[0]} and {len(lost) - 1} more: expected workers to finish. Received: some that "
            f"ended at a shard {RETRIES + 1} times; use --shard-size 1 to find the image, or less "
            "memory"
        )
    present = len(names) - len(lacking)
    if not quiet or lacking:
        say(f"wrote {output} with {present} of {len(names)} images")
    if json:
        values = {
            "output": output,
            "images": len(names),
            "computed": len(missing) - len(lacking),
            "left_out": lacking,
            "shards": len(set(shards.values())),
        }
        print(json_module.dumps(values))
    return EXIT_FAILED if lacking else 0


def _is_text(name: str) -> bool:
    """Whether a name can be a text in a table; on Linux, names are any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _say_left_out(file: str, reason: str) -> None:
    say(reason if file in reason else f"{file}: {reason}")


def _check_folder(output: str, force: bool) -> None:
    if force:
        raise InvalidInputError(
            "--force: expected no --force with --ray, which adds only what is missing; remove the "
            f"folder to start again. Received: --output {output}"
        )
    if not Path(output).is_dir():
        check_place("--output", output)
    if Path(output).is_file():
        raise unexpected("--output", "a folder, with --ray", output)


def _destination(output: str) -> Path:
    path = Path(output)
    if path.suffix not in SUFFIXES:
        raise unexpected("--output", f"a file ending in {', '.join(SUFFIXES)}", output)
    check_place("--output", output)
    return path


def _files(places: Sequence[str]) -> list[Path]:
    """Return the given files, and the images of the given folders."""
    files: list[Path] = []
    for place in map(Path, places):
        files += images_in(place) if place.is_dir() else [place]
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


def _encoded(suffix: str, names: list[str], outputs: dict[str, NDArray[Any]]) -> bytes:
    if suffix == ".json":
        features = {name: value.tolist() for name, value in outputs.items()}
        return json_module.dumps({"files": names, "features": features}).encode()
    if suffix == ".npz":
        return encoded_npz(names, outputs)
    file = io.BytesIO()
    (value,) = outputs.values()
    np.save(file, value)
    return file.getvalue()
