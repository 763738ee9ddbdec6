"""Starting TensorFlow Serving's `tensorflow_model_server` with the settings of `rwgen serve`."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rwgen.errors import InvalidInputError, WorkerError
from rwgen.serving.config import ModelConfig, ServerConfig, TlsConfig
from rwgen.serving.flags import PORTS
from rwgen.serving.model_config import model_config_text

PROGRAM = "tensorflow_model_server"

ALL_ADDRESSES = ("0.0.0.0", "::")
"""Hosts that stand for all addresses, on which the program listens."""


def find_program() -> str | None:
    """Return the path of the program, or None if it is not on PATH."""
    return shutil.which(PROGRAM)


def with_free_ports(config: ServerConfig) -> ServerConfig:
    """Return settings whose ports the program can use.

    It takes port 0 literally: as no REST at all, and for gRPC as an error. And if the port of REST
    is taken, it goes on without REST.

    Raises:
        InvalidInputError: a port is not available.
    """
    with contextlib.ExitStack() as stack:
        ports = {}
        for key, name in (("rest_port", "REST"), ("grpc_port", "gRPC")):
            port = getattr(config, key)
            if port is None:
                continue
            try:
                listener = stack.enter_context(socket.create_server(("", port)))
            except OSError as error:
                raise InvalidInputError(
                    f"expected a free port for {name}. Received: {port} ({error.strerror})"
                ) from None
            ports[key] = listener.getsockname()[1]
        return replace(config, **ports)


def run_program(
    program: str,
    config: ServerConfig,
    models: Sequence[ModelConfig],
    flags: Mapping[str, str],
) -> int:
    """Run the program until it ends, forwarding SIGTERM and SIGINT to it.

    It listens on all addresses, since it has no flag for one. Must be called in the main thread.

    Args:
        program: path of the program.
        config: settings, of which ports, batching, the timeout of REST requests, poll interval,
            TLS, CORS and the metrics path are used. The others only apply to the embedded server.
        models: models to serve, unless `flags` name them.
        flags: values of the program's own flags by name, which are passed on as they are.

    Returns:
        0, also if the program was ended by a forwarded signal.

    Raises:
        InvalidInputError: the program cannot be started.
        WorkerError: the program fails.
    """
    with tempfile.TemporaryDirectory(prefix="rwgen-serve-") as folder:
        arguments = write_configuration(Path(folder), config, models, flags)
        asked: list[int] = []
        process: subprocess.Popen[bytes] | None = None

        def forward(number: int, _frame: FrameType | None) -> None:
            asked.append(number)
            if process is not None:
                process.send_signal(number)

        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, forward) for number in numbers}
        try:
            # In a separate session: otherwise Ctrl-C in a shell would reach it twice.
            process = subprocess.Popen([program, *arguments], start_new_session=True)
            for number in asked:
                process.send_signal(number)
            code = process.wait()
        except OSError as error:
            raise InvalidInputError(
                f"expected an executable program. Received: {program!r} ({error.strerror})"
            ) from None
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    if code < 0 and -code in asked:
        return 0
    if code:
        raise WorkerError(f"expected {PROGRAM} to exit normally. Received: exit code {code}")
    return 0


def write_configuration(
    folder: Path,
    config: ServerConfig,
    models: Sequence[ModelConfig],
    flags: Mapping[str, str],
) -> list[str]:
    """Write the configuration files of the program.

    Args:
        folder: folder for the files.
        config: see `run_program`.
        models: see `run_program`.
        flags: see `run_program`.

    Returns:
        Command line arguments for the program.
    """
    texts: dict[str, str] = {}
    values = {
        "port": str(config.grpc_port or 0),
        "rest_api_port": str(config.rest_port or 0),
        "rest_api_timeout_in_ms": str(int(config.request_timeout * 1000)),
        "allow_version_labels_for_unavailable_models": "true",
    }
    if config.poll_interval is not None:
        values["file_system_poll_wait_seconds"] = str(max(1, round(config.poll_interval)))
    if not {"model_config_file", "model_base_path"} & set(flags):
        texts["model_config_file"] = model_config_text(models)
    if config.metrics_path is not None:
        texts["monitoring_config_file"] = (
            f'prometheus_config {{ enable: true path: "{config.metrics_path}" }}\n'
        )
    if config.enable_batching:
        values["enable_batching"] = "true"
        texts["batching_parameters_file"] = batching_config_text(config)
    if config.enable_cors:
        values["rest_api_enable_cors_support"] = "true"
    if config.tls is not None:
        texts["ssl_config_file"] = _tls_config_text(config.tls)
    # What the user wrote takes precedence, except for ports, of which free ones were chosen.
    passed = {name: value for name, value in flags.items() if name not in PORTS}
    for name, text in texts.items():
        if name not in passed:
            path = folder / name
            path.touch(mode=0o600)  # one of the files contains the TLS key
            path.write_text(text, encoding="utf-8")
            values[name] = str(path)
    return [f"--{name}={value}" for name, value in {**values, **passed}.items()]


def batching_config_text(config: ServerConfig) -> str:
    """Return TF Serving's `BatchingParameters` in text format; no package on PyPI has the class."""
    values = {
        "max_batch_size": config.max_batch_size,
        "batch_timeout_micros": round(config.batch_timeout * 1e6),
        "max_enqueued_batches": config.max_queued_requests,
        "num_batch_threads": config.batch_threads,
    }
    return "".join(f"{name} {{ value: {value} }}\n" for name, value in values.items())


def _tls_config_text(tls: TlsConfig) -> str:
    from google.protobuf import text_format

    def line(field: str, content: bytes) -> str:
        return f'{field}: "{text_format.text_encoding.CEscape(content, as_utf8=False)}"\n'

    text = line("server_key", tls.key) + line("server_cert", tls.certificate)
    if tls.client_ca is not None:
        text += line("custom_ca", tls.client_ca) + "client_verify: true\n"
    return text
