"""`rwgen serve`: the embedded server, and how TensorFlow Serving's program is started."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from rwgen.serving.config import ModelConfig, ServerConfig, read_tls
from rwgen.serving.model_config import model_config_text
from rwgen.serving.tensorflow_server import write_configuration

PHOTO = Path(__file__).parent.parent.parent / "examples" / "astronaut.jpg"
GUARD = 60  # seconds after which a test that hangs fails
SERVE = (sys.executable, "-P", "-m", "rwgen.cli.main", "serve")


@pytest.fixture(scope="module")
def models(call: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two models."""
    folder = tmp_path_factory.mktemp("serve")
    for name in ("one", "two"):
        arguments = ("-o", folder / name, "--layers", "conv1_1", "--signature", "pooled")
        assert call("export", "ranvgg19", *arguments).code == 0
    return folder


@pytest.fixture
def running() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, str]]]]:
    """Function that starts a server and returns its process and the ports that it logs."""
    processes = []

    def start(*arguments: object) -> tuple[subprocess.Popen[str], dict[str, str]]:
        process = subprocess.Popen(
            [*SERVE, *map(str, arguments), "--rest-port", "0", "--grpc-port", "0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "event=serving" in line:
                return process, dict(part.split("=", 1) for part in line.split() if "=" in part)
        raise AssertionError("the server ended")

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_models_are_served_until_a_signal(
    models: Path, running: Callable[..., Any], call: Callable[..., Any], tmp_path: Path
) -> None:
    process, ports = running(models, "--server", "embedded")
    for name in ("one", "two"):
        place = f"http://127.0.0.1:{ports['rest_port']}/v1/models/{name}"
        with urllib.request.urlopen(place) as answer:
            status = json.load(answer)["model_version_status"]
        assert [(entry["version"], entry["state"]) for entry in status] == [("1", "AVAILABLE")]
        for scheme, port in (("http", "rest_port"), ("grpc", "grpc_port")):
            url = f"{scheme}://127.0.0.1:{ports[port]}/v1/models/{name}"
            output = tmp_path / f"{name}-{scheme}.npy"
            arguments = ("--server", url, "--signature", "pooled", "--size", 16, "--quiet")
            run = call("features", PHOTO, "-o", output, *arguments)
            assert (run.code, run.err) == (0, "")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=GUARD) == 0


class Interrupt(logging.Handler):
    """Sends Ctrl-C as soon as the server logs that it is serving."""

    def emit(self, record: logging.LogRecord) -> None:
        if "event=serving" in record.getMessage():
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_the_server(models: Path, call: Callable[..., Any]) -> None:
    logger, handler = logging.getLogger("rwgen.serving"), Interrupt()
    level, handlers = logger.level, list(logger.handlers)
    logger.addHandler(handler)
    try:
        ports = ("--rest-port", "0", "--grpc-port", "0")
        run = call("serve", models, "--server", "embedded", *ports)
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    assert run.code == 0, run
    assert "event=stopped" in run.err


def test_options_reach_the_server(
    models: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ServerConfig] = []
    monkeypatch.setattr("rwgen.serving.server.Server", lambda config, models: seen.append(config))
    monkeypatch.setattr("rwgen.serving.server.serve_until_signal", lambda server: 0)
    options = ("--server", "embedded", "--quiet")
    assert call("serve", models, *options).code == 0
    arguments = (
        "--enable-batching",
        "--enable-cors",
        "--max-message-size",
        "1.5GiB",
        "--max-batch-size",
        3,
    )
    assert call("serve", models, *options, *arguments).code == 0
    default, given = seen
    assert default == ServerConfig()
    assert default.max_request_bytes == 32 * 2**20
    assert (given.enable_batching, given.enable_cors, given.max_batch_size) == (True, True, 3)
    assert given.max_request_bytes == 3 * 2**29
    assert given.max_pending_bytes >= 2 * given.max_request_bytes  # a message and its tensors


FAKE = """#!{python}
import json, pathlib, signal, sys
def end(number, _frame):
    pathlib.Path({told!r}).write_text(json.dumps([number, sys.argv[1:], config]))
    sys.exit(0)
flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
config = pathlib.Path(flags["model_config_file"]).read_text()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.slow
def test_tensorflow_model_server_is_taken_where_it_is_on_path(models: Path, tmp_path: Path) -> None:
    told, folder = tmp_path / "told", tmp_path / "bin"
    folder.mkdir()
    program = folder / "tensorflow_model_server"
    program.write_text(FAKE.format(python=sys.executable, told=str(told)))
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [*SERVE, models / "one", "--name", "mine", "--label", "stable=1"]
    command += ["--grpc-port", "0", "--rest-port", "0", "--host", "0.0.0.0"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    number, arguments, text = json.loads(told.read_text())
    assert number == signal.SIGTERM
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    # Port 0 would mean no REST, and an error for gRPC.
    rest, grpc = int(flags["rest_api_port"]), int(flags["port"])
    assert 0 < rest != grpc > 0
    assert (
        f"listens on all addresses of this machine, REST on port {rest}, gRPC on port {grpc}" in err
    )
    assert "enable_batching" not in flags
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("mine", str(models / "one"))
    assert dict(entry.version_labels) == {"stable": 1}
    left = [place for place in arguments if "rwgen-serve-" in place]
    assert left
    assert not any(Path(place.split("=")[1]).exists() for place in left)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of TensorFlow Serving's name on PATH, which does nothing."""
    path = tmp_path / "tensorflow_model_server"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--host", "127.0.0.1"),
        ("--max-message-size", "64MiB"),
        ("--request-timeout", "5.0"),
        ("--drain-timeout", "30.0"),
    ],
)
def test_what_tensorflow_model_server_cannot_honor_is_refused(
    refused: Callable[..., str], models: Path, option: str, value: str
) -> None:
    message = refused("serve", models / "one", option, value)
    assert f"{option}: expected no such option" in message
    assert f"Received: {value}; omit it, or choose --server embedded" in message


@pytest.mark.usefixtures("program")
def test_ports_of_tensorflow_model_server_must_be_free(
    refused: Callable[..., str], models: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for option, name in (("--rest-port", "REST"), ("--grpc-port", "gRPC")):
            message = refused("serve", models / "one", option, port)
            assert f"expected a free port for {name}. Received: {port}" in message


def test_its_files_say_what_the_settings_say(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_text('a "key"\n')
    certificate.write_text("a certificate\n")
    config = ServerConfig(
        enable_batching=True,
        enable_cors=True,
        max_batch_size=5,
        batch_timeout=0.25,
        tls=read_tls(str(key), str(certificate)),
    )
    arguments = write_configuration(tmp_path, config, [ModelConfig(name="m", base_path="x")], {})
    assert "--enable_batching=true" in arguments
    assert "--rest_api_enable_cors_support=true" in arguments
    text = (tmp_path / "batching_parameters_file").read_text()
    assert "max_batch_size { value: 5 }" in text
    assert "batch_timeout_micros { value: 250000 }" in text
    assert "client_verify" not in (tmp_path / "ssl_config_file").read_text()
    assert r"a \"key\"\n" in (tmp_path / "ssl_config_file").read_text()
    assert (tmp_path / "ssl_config_file").stat().st_mode & 0o077 == 0
    assert f"--ssl_config_file={tmp_path / 'ssl_config_file'}" in arguments


def test_one_version_is_served_where_its_folder_is_given(
    models: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[ModelConfig]] = []
    monkeypatch.setattr("rwgen.serving.Server", lambda config, models: seen.append(models))
    monkeypatch.setattr("rwgen.serving.serve_until_signal", lambda server: 0)
    options = ("--server", "embedded", "--quiet")
    for folder, labels in ((models / "one" / "1", ()), (models / "one" / "1", ("--label", "a=1"))):
        assert call("serve", folder, *options, *labels).code == 0
        (model,) = seen[-1]
        assert (model.name, model.base_path, model.versions) == ("one", models / "one", (1,))
        assert dict(model.version_labels) == ({"a": 1} if labels else {})
    text = model_config_text([model])
    (entry,) = text_format.Parse(
        text, model_server_config_pb2.ModelServerConfig()
    ).model_config_list.config
    assert list(entry.model_version_policy.specific.versions) == [1]
    monkeypatch.chdir(models / "one" / "1")
    assert call("serve", ".", *options).code == 0
    assert seen[-1][0].versions == (1,)


def test_a_label_does_not_choose_the_version_to_serve(
    models: Path, served: list[tuple[ServerConfig, list[ModelConfig]]], call: Callable[..., Any]
) -> None:
    arguments = (models / "one", "--label", "stable=1", "--server", "embedded", "--quiet")
    assert call("serve", *arguments).code == 0
    ((_, (model,)),) = served
    assert (model.version_labels, model.versions, model.latest) == ({"stable": 1}, (), 1)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServerConfig, list[ModelConfig]]]:
    """What servers are made of; none is started."""
    seen: list[tuple[ServerConfig, list[ModelConfig]]] = []
    monkeypatch.setattr(
        "rwgen.serving.Server", lambda config, models: seen.append((config, models))
    )
    monkeypatch.setattr("rwgen.serving.serve_until_signal", lambda server: 0)
    monkeypatch.setenv("PATH", "")
    return seen


def test_the_arguments_of_a_container_work_unchanged(
    models: Path,
    served: list[tuple[ServerConfig, list[ModelConfig]]],
    call: Callable[..., Any],
    tmp_path: Path,
) -> None:
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true, path: "/m" }')
    arguments = (
        "--port=9500",
        "--rest_api_port=9501",
        "--model_name=mine",
        f"--model_base_path={models / 'one'}",
        f"--monitoring_config_file={monitoring}",
        "--enable_batching=true",
        "--tensorflow_session_parallelism=2",
        "--file_system_poll_wait_seconds=3",
    )
    assert call("serve", *arguments, "--quiet").code == 0
    ((config, (model,)),) = served
    assert (config.grpc_port, config.rest_port, config.metrics_path) == (9500, 9501, "/m")
    assert (config.enable_batching, config.intra_op_threads, config.poll_interval) == (True, 2, 3)
    assert config.host == "127.0.0.1"  # nobody has asked for more
    assert (model.name, model.base_path) == ("mine", models / "one")
    assert config.wait_for_models
    # As in TF Serving's image, which always passes these two, they count for nothing here.
    file = tmp_path / "models.config"
    expected = ModelConfig(name="many", base_path="/models/many", latest=None)
    file.write_text(model_config_text([expected]))
    poll = "--model_config_file_poll_wait_seconds=60"
    for given in (("--model-config-file", file), (f"--model_config_file={file}",)):
        assert call("serve", *arguments, *given, poll, "--quiet").code == 0
        config, found = served[-1]
        assert found == [expected]
        assert (config.model_config_file, config.config_poll_interval) == (str(file), 60)
    assert call("serve", "--model_base_path=none", "--quiet").code == 0
    assert served[-1][1] == [ModelConfig(name="default", base_path=Path("none").resolve())]
    assert not ServerConfig().wait_for_models


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected DIR, the folder of an exported model, or --model-config-file"),
        (("one", "--model_base_path=two"), "DIR, --model-config-file, --model_base_path: expected"),
        (("one", "--model-config-file", "f"), "DIR, --model-config-file, --model_base_path: exp"),
        (("--model_base_path=one", "--name", "x"), "--name, --label: expected DIR with them"),
        (("--model_base_path=one", "--label", "a=1"), "--name, --label: expected DIR with them"),
        (("one", "--port=1", "--grpc-port", "2"), "--grpc-port, --port: expected one of them"),
        (("one", "--rest_api_port=1", "--rest-port", "2"), "--rest-port, --rest_api_port: expect"),
        (("--model_config_file=none",), "expected a readable file. Received: 'none'"),
        (("one", "--port=x"), "--port: expected a whole number"),
        (("one", "--rest_api_port=0", "--port=0"), "rest_port, grpc_port, grpc_socket: expected"),
        (("one", "--platform_config_file=x"), "--platform_config_file: expected no such flag"),
        (("one", "--model_base_pth=x"), "No such option"),
        (("one/1", "--label", "a=2"), "--label: expected a version of"),
    ],
)
def test_flags_that_do_not_fit_get_one_line(
    refused: Callable[..., str],
    models: Path,
    served: list[tuple[ServerConfig, list[ModelConfig]]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(models)
    assert message in refused("serve", *arguments)
    assert served == []


def test_flags_reach_tensorflow_model_server_as_they_are(tmp_path: Path) -> None:
    config = ServerConfig(rest_port=None, grpc_port=8600, metrics_path=None)
    flags = {
        "port": "0",
        "model_base_path": "/models/a",
        "ssl_config_file": "/tls",
        "file_system_poll_wait_seconds": "0",
        "platform_config_file": "/platforms",  # the embedded server would refuse it
    }
    arguments = write_configuration(tmp_path, config, [], flags)
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert len(given) == len(arguments)
    assert given == {
        **flags,
        "port": "8600",
        "rest_api_port": "0",
        "rest_api_timeout_in_ms": "60000",
        "allow_version_labels_for_unavailable_models": "true",
    }
    assert not list(tmp_path.iterdir())
    other = write_configuration(tmp_path, ServerConfig(), [], {"enable_batching": "true"})
    assert {path.name for path in tmp_path.iterdir()} == {
        "model_config_file",
        "monitoring_config_file",
    }
    assert "--enable_batching=true" in other


@pytest.mark.usefixtures("program")
def test_rest_of_tensorflow_model_server_has_no_tls(
    refused: Callable[..., str], models: Path, tmp_path: Path
) -> None:
    for name in ("key", "certificate"):
        (tmp_path / name).write_text(name)
    tls = ("--tls-key", tmp_path / "key", "--tls-certificate", tmp_path / "certificate")
    assert "--tls-key: expected no such option" in refused("serve", models / "one", *tls)


def test_one_port_for_both_interfaces_is_refused(refused: Callable[..., str], models: Path) -> None:
    line = refused("serve", models, "--rest-port", 8601, "--grpc-port", 8601)
    assert "rest_port, grpc_port: expected two different ports. Received: (8601, 8601)" in line


def test_a_server_that_ends_on_its_own_is_a_failure(
    refused: Callable[..., str], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rwgen.serving.serve_until_signal", lambda server: 1)
    line = refused("serve", models, "--server", "embedded", "--quiet", code=1)
    assert "until a signal" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "folder of an exported model"),
        ((".", "--server", "apache"), "--server"),
        (("one", "--label", "stable"), "--label"),
        (("one", "--label", "stable=x"), "--label"),
        (("one", "--label", "stable=9"), "--label: expected a version of one (1). Received: 'st"),
        ((".", "--label", "stable=1"), "--name, --label"),
        ((".", "--name", "x"), "--name, --label"),
        (("one", "--tls-key", "x"), "--tls-key: expected --tls-key and --tls-certificate"),
        (("one", "--tls-client-ca", "x"), "--tls-client-ca: expected --tls-key and"),
        (("one", "--tls-key", "x", "--tls-certificate", "x"), "readable PEM file for TLS"),
        (("one", "--rest-port", "7", "--grpc-port", "7"), "two different ports"),
        (("one", "--max-message-size", "64"), "--max-message-size: expected a number with a unit"),
        (("one", "--max-message-size", "2GiB"), "--max-message-size"),
        (("one", "--server", "tensorflow"), "tensorflow_model_server on PATH"),
    ],
)
def test_bad_calls_get_one_line(
    call: Callable[..., Any],
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(models)
    monkeypatch.setenv("PATH", "")
    ports = ("--rest-port", "0", "--grpc-port", "0", "--quiet")
    run = call("serve", *ports, *arguments)
    assert run.code == 2
    assert message in run.err
    assert run.err.count("\n") == 1, run.err
