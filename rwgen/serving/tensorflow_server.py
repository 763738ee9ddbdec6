"""Starting TensorFlow Serving's `tensorflow_model_server` with the settings of `rwgen serve`."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rwgen.errors import InvalidInputError, WorkerError
from rwgen.serving.config import ModelConfig, ServerConfig, read_pem

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
            try:
                listener = stack.enter_context(socket.create_server(("", port)))
            except OSError as error:
                raise InvalidInputError(
                    f"expected a free port for {name}. Received: {port} ({error.strerror})"
                ) from None
            ports[key] = listener.getsockname()[1]
        return replace(config, **ports)


def run_program(program: str, config: ServerConfig, models: Sequence[ModelConfig]) -> int:
    """Run the program until it ends, forwarding SIGTERM and SIGINT to it.

    It listens on all addresses, since it has no flag for one. Must be called in the main thread.

    Args:
        program: path of the program.
        config: settings, of which ports, batching, the timeout of REST requests, poll interval,
            TLS, CORS and the metrics path are used. The others only apply to the embedded server.
        models: models to serve.

    Returns:
        0, also if the program was ended by a forwarded signal.

    Raises:
        InvalidInputError: the program cannot be started, or the TLS files cannot be read.
        WorkerError: the program fails.
    """
    with tempfile.TemporaryDirectory(prefix="rwgen-serve-") as folder:
        arguments = write_configuration(Path(folder), config, models)
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
    folder: Path, config: ServerConfig, models: Sequence[ModelConfig]
) -> list[str]:
    """Write the configuration files of the program.

    Args:
        folder: folder for the files.
        config: see `run_program`.
        models: see `run_program`.

    Returns:
        Command line arguments for the program.

    Raises:
        InvalidInputError: the TLS files cannot be read.
    """
    files = {
        "models.config": model_config_text(models),
        "monitoring.config": (
            f'prometheus_config {{ enable: true path: "{config.metrics_path}" }}\n'
        ),
    }
    arguments = [
        f"--port={config.grpc_port}",
        f"--rest_api_port={config.rest_port}",
        f"--rest_api_timeout_in_ms={int(config.request_timeout * 1000)}",
        f"--file_system_poll_wait_seconds={max(1, round(config.poll_interval))}",
        f"--model_config_file={folder / 'models.config'}",
        "--allow_version_labels_for_unavailable_models=true",
        f"--monitoring_config_file={folder / 'monitoring.config'}",
    ]
    if config.enable_batching:
        files["batching.config"] = batching_config_text(config)
        arguments += [
            "--enable_batching=true",
            f"--batching_parameters_file={folder / 'batching.config'}",
        ]
    if config.enable_cors:
        arguments.append("--rest_api_enable_cors_support=true")
    if config.tls_key is not None and config.tls_certificate is not None:
        files["tls.config"] = _tls_config_text(config.tls_key, config.tls_certificate)
        arguments.append(f"--ssl_config_file={folder / 'tls.config'}")
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)  # one of the files contains the TLS key
        path.write_text(text, encoding="utf-8")
    return arguments


def model_config_text(models: Sequence[ModelConfig]) -> str:
    """Return a `ModelServerConfig` in protocol buffers' text format."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    message = model_server_config_pb2.ModelServerConfig()
    for model in models:
        entry = message.model_config_list.config.add()
        entry.name = model.name
        entry.base_path = str(Path(model.base_path).resolve())
        entry.model_platform = "tensorflow"
        for label, version in model.version_labels.items():
            entry.version_labels[label] = version
        if model.version is not None:
            entry.model_version_policy.specific.versions.append(model.version)
        elif model.version_labels:
            # TF Serving has no policy for the latest version plus labeled ones.
            entry.model_version_policy.all.SetInParent()
    text: str = text_format.MessageToString(message)
    return text


def batching_config_text(config: ServerConfig) -> str:
    """Return TF Serving's `BatchingParameters` in text format; no package on PyPI has the class."""
    values = {
        "max_batch_size": config.max_batch_size,
        "batch_timeout_micros": round(config.batch_timeout * 1e6),
        "max_enqueued_batches": config.max_queued_requests,
        "num_batch_threads": config.batch_threads,
    }
    return "".join(f"{name} {{ value: {value} }}\n" for name, value in values.items())


def _tls_config_text(key: str, certificate: str) -> str:
    from google.protobuf import text_format

    lines = []
    for field, path in (("server_key", key), ("server_cert", certificate)):
        escaped = text_format.text_encoding.CEscape(read_pem(path), as_utf8=False)
        lines.append(f'{field}: "{escaped}"\n')
    return "".join(lines) + "client_verify: false\n"
