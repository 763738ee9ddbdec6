"""`rwgen serve`: serves exported models over TF Serving's interfaces."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from rwgen.checks import check_choice, unexpected
from rwgen.cli import options
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.errors import InvalidInputError
from rwgen.export.manifest import version_folders
from rwgen.serving.config import MAX_REQUEST_BYTES, ModelConfig, ServerConfig
from rwgen.serving.tensorflow_server import (
    ALL_ADDRESSES,
    PROGRAM,
    find_program,
    run_program,
    with_free_ports,
)

_DEFAULTS = ServerConfig()
SERVERS = ("auto", "embedded", "tensorflow")


_EMBEDDED_ONLY = ("host", "max_message_size", "request_timeout", "drain_timeout")
"""Options that TF Serving's program cannot honor, or only for one interface."""


def serve(
    context: typer.Context,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder of an exported model, or of one of its versions, or a folder of models.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the model in requests.", show_default="folder name"
        ),
    ] = None,
    server: Annotated[
        str,
        typer.Option(
            metavar="|".join(SERVERS),
            help=f"Server to start; auto means {PROGRAM} if it is on PATH, otherwise embedded.",
        ),
    ] = "auto",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help=f"Address to listen on; {PROGRAM} can only listen on all of them (0.0.0.0).",
        ),
    ] = _DEFAULTS.host,
    rest_port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port for REST; 0 picks a free one."),
    ] = _DEFAULTS.rest_port,
    grpc_port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port for gRPC; 0 picks a free one."),
    ] = _DEFAULTS.grpc_port,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=VERSION",
            help="Label for a version, which then stays loaded. Repeatable.",
        ),
    ] = None,
    enable_batching: Annotated[
        bool,
        typer.Option(
            "--enable-batching",
            help="Combine requests for every signature into batches, not only for those that the "
            "manifest of an export declares to be per image.",
        ),
    ] = _DEFAULTS.enable_batching,
    max_batch_size: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Maximum number of images in a batch of several requests."
        ),
    ] = _DEFAULTS.max_batch_size,
    enable_cors: Annotated[
        bool,
        typer.Option(
            "--enable-cors", help="Let pages of any origin read REST responses in a browser."
        ),
    ] = _DEFAULTS.enable_cors,
    max_message_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Maximum size of a request, such as 64MiB: of a REST body, of a gRPC message, and "
            "of the tensors of either. Up to 2 GiB.",
        ),
    ] = f"{_DEFAULTS.max_request_bytes >> 20}MiB",
    request_timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="Time limit for answering a request."),
    ] = _DEFAULTS.request_timeout,
    drain_timeout: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="SECONDS", help="Time limit for finishing requests on shutdown."
        ),
    ] = _DEFAULTS.drain_timeout,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="Private key for TLS on the gRPC port.")
    ] = _DEFAULTS.tls_key,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE.pem", help="Certificate chain for TLS on the gRPC port."),
    ] = _DEFAULTS.tls_certificate,
    quiet: options.Quiet = False,
) -> int:
    """Serve exported models over TF Serving's REST and gRPC interfaces."""
    check_choice("--server", server, SERVERS)
    models = _models(Path(folder), name, _labels(label or []))
    max_bytes = options.parse_bytes("--max-message-size", max_message_size)
    if max_bytes > MAX_REQUEST_BYTES:
        raise unexpected("--max-message-size", "less than 2 GiB", max_message_size)
    config = ServerConfig(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        enable_batching=enable_batching,
        enable_cors=enable_cors,
        max_request_bytes=max_bytes,
        # A request holds its message and its tensors.
        max_pending_bytes=max(_DEFAULTS.max_pending_bytes, 4 * max_bytes),
        max_batch_size=max_batch_size,
        request_timeout=request_timeout,
        drain_timeout=drain_timeout,
        tls_key=tls_key,
        tls_certificate=tls_certificate,
    )
    program = find_program() if server != "embedded" else None
    if server == "tensorflow" and program is None:
        raise InvalidInputError(f"expected {PROGRAM} on PATH. Received: none")
    if program is not None:
        for key in _EMBEDDED_ONLY:
            _refuse_unless_default(context, key)
        config = with_free_ports(config)
        if not quiet and sys.stderr is not None:
            print(
                f"{program} listens on all addresses of this machine, "
                f"REST on port {config.rest_port}, gRPC on port {config.grpc_port}",
                file=sys.stderr,
            )
        return run_program(program, config, models)
    if not quiet:
        logger = logging.getLogger("rwgen.serving")
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    with native_stderr_hidden():
        from rwgen.serving import Server, serve_until_signal

    code = serve_until_signal(Server(config, models))
    if code:
        say(
            "expected REST and gRPC to be served until a signal. Received: a failure of one of them"
        )
    return code


def _refuse_unless_default(context: typer.Context, key: str) -> None:
    """Refuse an option that would have no effect on TF Serving's program."""
    source, value = context.get_parameter_source(key), context.params[key]
    if source is not None and source.name != "DEFAULT" and value not in ALL_ADDRESSES:
        raise InvalidInputError(
            f"--{key.replace('_', '-')}: expected no such option, because {PROGRAM} cannot honor "
            f"it. Received: {value}; omit it, or choose --server embedded"
        )


def _models(folder: Path, name: str | None, labels: dict[str, int]) -> list[ModelConfig]:
    """Return the model in a folder, that of a version's folder, or all models in its subfolders."""
    version = None
    if (folder / "saved_model.pb").is_file() and folder.resolve().name.isdecimal():
        version, folder = int(folder.resolve().name), folder.resolve().parent
    found = version_folders(folder)
    if found:
        for label, version in labels.items():
            if version not in found:
                versions = ", ".join(map(str, sorted(found)))
                expected = f"a version of {folder} ({versions})"
                raise unexpected("--label", expected, f"{label}={version}")
        chosen = name if name is not None else folder.resolve().name
        return [
            ModelConfig(
                name=chosen, base_path=folder.resolve(), version_labels=labels, version=version
            )
        ]
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    models = [path for path in inside if version_folders(path)]
    if not models:
        raise InvalidInputError(
            "expected the folder of an exported model, or a folder of them. "
            f"Received: {str(folder)!r}"
        )
    if name is not None or labels:
        raise InvalidInputError(
            f"--name, --label: expected the folder of one model. Received: {str(folder)!r}, "
            f"which holds {', '.join(path.name for path in models)}"
        )
    return [ModelConfig(name=path.name, base_path=path.resolve()) for path in models]


def _labels(texts: list[str]) -> dict[str, int]:
    labels = {}
    for text in texts:
        label, _, version = text.partition("=")
        if not label or not (version.isascii() and version.isdecimal()) or len(version) > 19:
            raise unexpected("--label", "LABEL=VERSION, such as stable=3", text)
        labels[label] = int(version)
    return labels
