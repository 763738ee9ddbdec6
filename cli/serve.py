"""`rwgen serve`: serves exported models over TF Serving's interfaces."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rwgen.checks import check_choice, unexpected
from rwgen.cli import options
from rwgen.cli.help import Command
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.errors import InvalidInputError
from rwgen.export.manifest import version_folders
from rwgen.serving.config import (
    MAX_REQUEST_BYTES,
    ModelConfig,
    ServerConfig,
    TlsConfig,
    read_tls,
)
from rwgen.serving.flags import DEFAULT_MODEL, settings_of, split_flags
from rwgen.serving.model_config import read_models
from rwgen.serving.tensorflow_server import (
    ALL_ADDRESSES,
    PROGRAM,
    find_program,
    run_program,
    with_free_ports,
)

_DEFAULTS = ServerConfig()
SERVERS = ("auto", "embedded", "tensorflow")


_EMBEDDED_ONLY = (
    "host",
    "max_message_size",
    "request_timeout",
    "drain_timeout",
    "no_reload",
)
"""Options that TF Serving's program cannot honor, or only for one interface."""


_FLAGS_KEY = "rwgen.serving.flags"


class _ServeCommand(Command):
    """A command that takes TF Serving's flags apart from its own options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line."""
        others, ctx.meta[_FLAGS_KEY] = split_flags(args)
        return super().parse_args(ctx, others)


COMMAND = _ServeCommand
"""The class of the command."""


def serve(
    context: typer.Context,
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="Folder of an exported model, or of one of its versions, or a folder of models.",
            show_default=False,
        ),
    ] = None,
    model_config_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Models as TF Serving's users write them: a ModelServerConfig in text format.",
        ),
    ] = None,
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
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port for REST; 0 picks a free one."),
    ] = _DEFAULTS.rest_port,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port for gRPC; 0 picks a free one."),
    ] = _DEFAULTS.grpc_port,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=VERSION",
            help="Label for a version, which then stays loaded; may be repeated.",
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
        str | None, typer.Option(metavar="FILE.pem", help="Private key for TLS.")
    ] = None,
    tls_certificate: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="Certificate chain for TLS.")
    ] = None,
    tls_client_ca: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.pem",
            help="Certificates of the authorities for clients; others are refused.",
        ),
    ] = None,
    no_reload: Annotated[
        bool,
        typer.Option("--no-reload", help="Do not let clients change the models that are served."),
    ] = not _DEFAULTS.allow_reload,
    quiet: options.Quiet = False,
) -> int:
    """Serve exported models over TF Serving's REST and gRPC interfaces.

    Example: rwgen serve models/features

    The flags of tensorflow_model_server are accepted too, such as --rest_api_port=8501,
    --model_base_path=DIR or --model_config_file=FILE.
    """
    check_choice("--server", server, SERVERS)
    flags: dict[str, str] = context.meta[_FLAGS_KEY]
    program = find_program() if server != "embedded" else None
    if server == "tensorflow" and program is None:
        raise InvalidInputError(f"expected {PROGRAM} on PATH. Received: none")
    for option, flag in _SAME:
        if flag in flags and _is_given(context, option):
            shown = option.replace("_", "-")
            raise InvalidInputError(f"--{shown}, --{flag}: expected one of them. Received: both")
    if model_config_file is not None:
        flags["model_config_file"] = model_config_file
    settings = settings_of(flags, embedded=program is None)
    models = _served(folder, name, label or [], flags, read=program is None)
    max_bytes = options.parse_bytes("--max-message-size", max_message_size)
    if max_bytes > MAX_REQUEST_BYTES:
        raise unexpected("--max-message-size", "less than 2 GiB", max_message_size)
    given: dict[str, Any] = dict(
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
        tls=_tls(tls_key, tls_certificate, tls_client_ca),
        allow_reload=not no_reload,
        wait_for_models=folder is None,  # as TF Serving does
    )
    config = ServerConfig(**{**given, **settings})
    if program is not None:
        # REST is always without TLS there.
        for key in _EMBEDDED_ONLY if config.rest_port is None else (*_EMBEDDED_ONLY, "tls_key"):
            _refuse_unless_default(context, key)
        config = with_free_ports(config)
        if not quiet and sys.stderr is not None:
            rest = "no REST" if config.rest_port is None else f"REST on port {config.rest_port}"
            print(
                f"{program} listens on all addresses of this machine, "
                f"{rest}, gRPC on port {config.grpc_port}",
                file=sys.stderr,
            )
        return run_program(program, config, models, flags)
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


_SAME = (
    ("rest_port", "rest_api_port"),
    ("grpc_port", "port"),
    ("enable_batching", "enable_batching"),
    ("max_batch_size", "batching_parameters_file"),
    ("enable_cors", "rest_api_enable_cors_support"),
    ("tls_key", "ssl_config_file"),
    ("model_config_file", "model_config_file"),
)
"""Options, and flags of TF Serving that set the same."""


def _is_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _served(
    folder: str | None, name: str | None, labels: list[str], flags: dict[str, str], *, read: bool
) -> list[ModelConfig]:
    """Return the models in a folder, or those that flags name, if a file of these is to be read."""
    file, base_path = flags.get("model_config_file"), flags.get("model_base_path")
    if folder is not None:
        if file is not None or base_path is not None:
            raise InvalidInputError(
                "DIR, --model-config-file, --model_base_path: expected one of them. Received: both"
            )
        return _models(Path(folder), name or flags.get("model_name"), _labels(labels))
    if name is not None or labels:
        raise InvalidInputError(
            "--name, --label: expected DIR with them. Received: none; TF Serving has --model_name, "
            "and labels in --model_config_file"
        )
    if file is not None:  # as in TF Serving, the other two count for nothing then
        return list(read_models(file) or ()) if read else []
    if base_path is not None:
        chosen = flags.get("model_name", DEFAULT_MODEL)
        return [ModelConfig(name=chosen, base_path=Path(base_path).resolve())]
    raise InvalidInputError(
        "expected DIR, the folder of an exported model, or --model-config-file. Received: none"
    )


def _tls(key: str | None, certificate: str | None, client_ca: str | None) -> TlsConfig | None:
    if key is not None and certificate is not None:
        return read_tls(key, certificate, client_ca)
    for option, value in (
        ("--tls-key", key),
        ("--tls-certificate", certificate),
        ("--tls-client-ca", client_ca),
    ):
        if value is not None:
            raise InvalidInputError(
                f"{option}: expected --tls-key and --tls-certificate with it. Received: not both"
            )
    return None


def _refuse_unless_default(context: typer.Context, key: str) -> None:
    """Refuse an option that would have no effect on TF Serving's program."""
    value = context.params[key]
    if _is_given(context, key) and value not in ALL_ADDRESSES:
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
        for label, labeled in labels.items():
            if labeled not in found:
                versions = ", ".join(map(str, sorted(found)))
                expected = f"a version of {folder} ({versions})"
                raise unexpected("--label", expected, f"{label}={labeled}")
        chosen = name if name is not None else folder.resolve().name
        only = () if version is None else (version,)
        if only and set(labels.values()) - set(only):
            raise unexpected("--label", f"labels of version {version}", labels)
        return [
            ModelConfig(
                name=chosen, base_path=folder.resolve(), version_labels=labels, versions=only
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
