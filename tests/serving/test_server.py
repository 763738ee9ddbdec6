"""A running server: both interfaces, health, metrics, TLS, and its start and end."""

import contextlib
import http.client
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.json_format import Parse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_clients import (
    code_of,
    eventually,
    free,
    hp2,
    in_threads,
    raw,
    rest,
    rest_predict,
    running,
    stubs_of,
)
from serving_models import VERSION
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

import rwgen.serving
from rwgen import InvalidInputError
from rwgen.serving import ModelConfig, Server, ServerConfig


def test_both_interfaces_give_the_same(server, stubs):
    values = np.random.default_rng(0).standard_normal(7).astype(np.float32)
    status, content = rest_predict(server, values.tolist(), "batched")
    assert status == 200
    by_rest = [row["y"] for row in content["predictions"]]
    by_grpc = stubs.y(values)
    np.testing.assert_array_equal(np.array(by_rest, np.float32), np.array(by_grpc, np.float32))
    np.testing.assert_array_equal(np.array(by_grpc, np.float32), values * np.float32(0.5) + 2)


def test_versions_and_labels_name_the_same(server, stubs):
    assert stubs.y([2.0], version=VERSION) == [3.0]
    assert stubs.y([2.0], label="Version_Label") == [3.0]
    assert code_of(lambda: stubs.y([2.0], version=7)) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: stubs.y([2.0], label="none")) == grpc.StatusCode.INVALID_ARGUMENT
    status, content = rest_predict(server, [2.0], version="/versions/7")
    assert (status, content) == (
        404,
        {"error": "Servable not found for request: Specific(hp2, 7)"},
    )


def test_several_inputs_and_strings(server, stubs):
    status, content = rest_predict(server, [{"a": [1, 2], "b": 3}, {"a": [3, 4], "b": 5}], "two")
    assert (status, content) == (200, {"predictions": [6, 12]})
    instances = ["1.5", {"b64": "Mg=="}]
    status, content = rest_predict(server, instances, "parse")
    assert status == 200
    assert [row["number"] for row in content["predictions"]] == [1.5, 2.0]
    assert content["predictions"][1]["texts_bytes"] == {"b64": "Mg=="}
    response = stubs.predict(np.array([b"7"], object), "parse", key="texts")
    assert list(response.outputs["number"].float_val) == [7.0]
    assert list(response.outputs["texts_bytes"].string_val) == [b"7"]


def test_only_the_outputs_asked_for_come(stubs):
    request = predict_pb2.PredictRequest(output_filter=["y"])
    request.model_spec.name, request.model_spec.signature_name = "hp2", "batched"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    assert set(stubs.prediction.Predict(request, timeout=20).outputs) == {"y"}


def test_metadata_by_rest_is_that_of_grpc(server, stubs):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "hp2"
    response = stubs.prediction.GetModelMetadata(request, timeout=20)
    assert response.model_spec.version.value == VERSION
    by_grpc = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(by_grpc)
    assert by_grpc.signature_def["two"].inputs["a"].dtype == tf.int32.as_datatype_enum
    for path in ("/v1/models/hp2/metadata", f"/v1/models/hp2/versions/{VERSION}/metadata"):
        status, content = rest(server, "GET", path)
        assert status == 200
        assert content["model_spec"] == {
            "name": "hp2",
            "signature_name": "",
            "version": str(VERSION),
        }
        by_rest = get_model_metadata_pb2.SignatureDefMap()
        Parse(json.dumps(content["metadata"]["signature_def"]), by_rest)
        assert by_rest == by_grpc


def test_what_is_not_implemented_says_so(server, stubs):
    for call, request in (
        (stubs.prediction.Classify, classification_pb2.ClassificationRequest()),
        (stubs.prediction.Regress, regression_pb2.RegressionRequest()),
        (stubs.prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
        (stubs.model.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ):
        assert code_of(lambda c=call, r=request: c(r, timeout=20)) == grpc.StatusCode.UNIMPLEMENTED
    assert rest(server, "POST", "/v1/models/hp2:classify", "{}")[0] == 501


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService"])
def test_health(service, stubs):
    health = health_pb2_grpc.HealthStub(stubs.channel)
    response = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_have_tensorflow_servings_names(server):
    assert rest_predict(server, [1.0])[0] == 200
    assert rest_predict(server, ["x"])[0] == 400
    assert rest(server, "POST", "/v1/models/a-name-of-a-client:predict", "{}")[0] == 404
    text = raw(
        server,
        b"GET /monitoring/prometheus/metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ).decode()
    assert ':tensorflow:serving:request_count{model_name="hp2",status="OK"}' in text
    assert ':tensorflow:serving:request_count{model_name="hp2",status="INVALID_ARGUMENT"}' in text
    assert ':tensorflow:serving:request_latency_bucket{API="predict"' in text
    assert ":tensorflow:serving:runtime_latency_count" in text
    assert ":tensorflow:cc:saved_model:load_attempt_count" in text
    assert "a-name-of-a-client" not in text  # or clients could fill the memory with names


def test_requests_are_batched_and_answered_as_if_they_were_not(saved):
    with running(saved, batch_threads=1, max_batch_size=8) as server, stubs_of(server) as stubs:
        # A run that takes a while, behind which the others gather.
        busy = stubs.predict.__func__
        blocker = threading.Thread(
            target=busy, args=(stubs, np.ones((1, 2), np.float32)), kwargs={"signature": "slow"}
        )
        blocker.start()
        time.sleep(0.05)

        def call(number):
            response = stubs.predict(np.array([number, -number], np.float32))
            return [tf.make_ndarray(response.outputs[key]).tolist() for key in ("y", "run")]

        results = in_threads(16, call)
        blocker.join()
    for number, (values, _) in enumerate(results):
        assert values == [0.5 * number + 2, -0.5 * number + 2]
    runs = {run for _, row in results for run in row}
    assert len(runs) <= 8  # 32 rows, 8 at a time; the first may have gone alone


def test_deadlines_are_kept(server, stubs):
    values = np.ones((1, 2), np.float32)
    start = time.monotonic()
    code = code_of(lambda: stubs.predict(values, "slow", timeout=0.05))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 2
    assert stubs.y([2.0]) == [3.0]


def test_the_servers_own_deadline_is_504(saved):
    with running(saved, request_timeout=0.02) as server:
        assert rest_predict(server, [[1.0, 2.0]], "slow")[0] == 504
        with stubs_of(server) as stubs:
            call = code_of(lambda: stubs.predict(np.ones((1, 2), np.float32), "slow"))
            assert call == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    "limits",
    [
        {"max_queued_requests": 1, "batch_threads": 1, "max_batch_size": 1},
        {"max_concurrent_requests": 2},
    ],
)
def test_too_many_requests_are_unavailable(saved, limits):
    with running(saved, **limits) as server, stubs_of(server) as stubs:
        results = in_threads(6, lambda _: stubs.y([[1.0, 1.0]], signature="slow"))
        failed = [result for result in results if isinstance(result, grpc.RpcError)]
        assert 1 <= len(failed) <= 5
        assert {error.code() for error in failed} == {grpc.StatusCode.UNAVAILABLE}
        answered = [result for result in results if isinstance(result, list)]
        assert answered == [[[2.5, 2.5]]] * (6 - len(failed))
        statuses = in_threads(6, lambda _: rest_predict(server, [[1.0, 1.0]], "slow")[0])
        assert set(statuses) == {200, 503}
        assert stubs.y([2.0]) == [3.0]


def test_a_server_is_told_what_is_wrong_with_it(saved, tmp_path):
    with pytest.raises(InvalidInputError, match="distinct"):
        Server(free(), [])
    with pytest.raises(InvalidInputError, match="distinct"):
        Server(free(), [hp2(saved), hp2(saved)])
    with pytest.raises(InvalidInputError, match="not started"):
        _ = Server(free(), [hp2(saved)]).rest_port
    with pytest.raises(InvalidInputError, match="Received: none"):
        Server(free(), [hp2(tmp_path)]).start()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidInputError, match="expected a SavedModel"):
        Server(free(), [hp2(tmp_path)]).start()
    with pytest.raises(InvalidInputError, match="TLS"):
        Server(free(tls_key="none", tls_certificate="none"), [hp2(saved)]).start()
    with pytest.raises(InvalidInputError, match="REST"):
        Server(free(host="256.0.0.1"), [hp2(saved)]).start()
    with running(saved) as server:
        with pytest.raises(InvalidInputError, match="REST"):
            Server(free(rest_port=server.rest_port), [hp2(saved)]).start()
        with pytest.raises(InvalidInputError, match="gRPC"):
            Server(free(grpc_port=server.grpc_port), [hp2(saved)]).start()


def test_a_stopped_server_is_gone_and_stops_once(saved):
    with running(saved) as server:
        port = server.rest_port
        assert server.is_running
        assert not server.wait(0)
    assert server.wait(0)
    assert not server.is_running
    server.stop()
    with pytest.raises(InvalidInputError, match="started before"):
        server.start()
    with pytest.raises(ConnectionRefusedError):
        rest(type("Gone", (), {"rest_port": port}), "GET", "/v1/models/hp2")


def test_stopping_without_a_drain_does_not_wait(saved):
    server = Server(free(), [hp2(saved)])
    server.start()
    with stubs_of(server) as stubs:
        caller = threading.Thread(
            target=lambda: in_threads(1, lambda _: stubs.y([[1.0, 1.0]], signature="slow"))
        )
        caller.start()
        time.sleep(0.05)
        server.stop(drain=False)
        caller.join(10)
        assert not caller.is_alive()


def test_two_servers_in_one_process(saved, server, stubs):
    with running(saved) as other, stubs_of(other) as others:
        for number in range(50):
            assert stubs.y([number]) == others.y([number])


def test_tls(saved, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    with running(saved, tls_key=str(key), tls_certificate=str(certificate)) as server:
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with stubs_of(server, credentials=trusted) as stubs:
            assert stubs.y([2.0]) == [3.0]
        with stubs_of(server) as stubs:
            assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
        assert rest_predict(server, [2.0]) == (200, {"predictions": [3.0]})


def test_events_are_logged_in_lines_and_nothing_is_printed(saved, caplog, capfd):
    caplog.set_level(logging.DEBUG, "rwgen.serving")
    with running(saved) as server:
        rest(server, "POST", "/v1/models/a%0Ab:predict", "{}")
        raw(server, b"nonsense\r\n\r\n")
    lines = [record.getMessage() for record in caplog.records if record.name == "rwgen.serving"]
    events = {line.split()[0] for line in lines}
    assert events >= {"event=version_state", "event=serving", "event=request", "event=stopped"}
    assert not any("\n" in line for line in lines)
    output = capfd.readouterr()
    assert output.out == output.err == ""


PROGRAM = """
    import sys
    from rwgen.serving import ModelConfig, Server, ServerConfig, serve_until_signal

    server = Server(
        ServerConfig(rest_port=0, grpc_port=0, drain_timeout=20),
        [ModelConfig(name="hp2", base_path=sys.argv[1])],
    )
    server.start()
    print(server.rest_port, server.grpc_port, flush=True)
    sys.exit(serve_until_signal(server))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(saved, number):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(saved)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        rest_port, grpc_port = map(int, process.stdout.readline().split())
        server = type("Ports", (), {"rest_port": rest_port, "grpc_port": grpc_port})
        with stubs_of(server) as stubs:
            assert stubs.y([2.0]) == [3.0]

            def call(index):
                if index == 8:
                    time.sleep(0.15)
                    process.send_signal(number)
                    return None
                if index % 2:
                    return rest_predict(server, [[index, index]], "slow")
                return stubs.y([[index, index]], signature="slow")

            results = in_threads(9, call)
        for index, result in enumerate(results[:8]):
            row = [0.5 * index + 2] * 2
            assert result == ((200, {"predictions": [row]}) if index % 2 else [row])
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_health_says_so_during_the_drain(saved):
    server = Server(free(), [hp2(saved)])
    server.start()
    seen = []
    with stubs_of(server) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)

        def watch():
            try:
                seen.extend(response.status for response in watching)
            except grpc.RpcError:
                return

        watcher = threading.Thread(target=watch)
        watcher.start()
        eventually(lambda: seen)
        caller = threading.Thread(target=lambda: stubs.y([[1.0, 1.0]], signature="slow"))
        caller.start()
        time.sleep(0.05)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        eventually(lambda: len(seen) > 1)
        watching.cancel()
        for thread in (watcher, caller, stopping):
            thread.join(20)
            assert not thread.is_alive()
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert seen == [serving, not_serving]


def test_requests_during_the_drain_are_unavailable(saved, monkeypatch):
    monkeypatch.setattr("rwgen.serving.listeners.FAREWELL", 1.5)
    server = Server(free(), [hp2(saved)])
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    with stubs_of(server) as stubs, contextlib.closing(connection):
        connection.request("GET", "/v1/models/hp2")
        assert connection.getresponse().read()
        assert stubs.y([2.0]) == [3.0]
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.2)
        connection.request("GET", "/v1/models/hp2")
        response = connection.getresponse()
        assert "shutting down" in json.loads(response.read())["error"]
        assert (response.status, response.headers["connection"]) == (503, "close")
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
        stopping.join(20)
        assert not stopping.is_alive()


@pytest.mark.parametrize(
    "values",
    [
        {"host": ""},
        {"rest_port": -1},
        {"grpc_port": 65536},
        {"rest_port": True},
        {"max_batch_size": 0},
        {"batch_threads": 0},
        {"max_queued_requests": 0},
        {"max_concurrent_requests": 1.5},
        {"max_request_bytes": 2**31},
        {"max_pending_bytes": 1},
        {"batch_timeout": -1},
        {"request_timeout": 0},
        {"read_timeout": float("nan")},
        {"drain_timeout": float("inf")},
        {"poll_interval": "1"},
        {"tls_key": "key.pem"},
        {"metrics_path": "metrics"},
        {"metrics_path": "/a b"},
    ],
)
def test_configurations_are_checked(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        ServerConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a:b"},
        {"name": "a\nb"},
        {"base_path": ""},
        {"version_labels": {"": 1}},
        {"version_labels": {"stable": -1}},
        {"version_labels": ["stable"]},
    ],
)
def test_model_configurations_are_checked(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        ModelConfig(**{"name": "hp2", "base_path": "models", **values})


def test_status_by_grpc(stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "hp2"
    (status,) = stubs.model.GetModelStatus(request, timeout=20).model_version_status
    assert (status.version, status.state, status.status.error_code) == (VERSION, 30, 0)


def test_configurations_need_no_tensorflow():
    code = "import sys, rwgen.serving; print('tensorflow' in sys.modules, 'grpc' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"]


def test_without_its_packages_the_way_to_install_them_is_told():
    code = """
    import sys
    sys.modules["uvicorn"] = None
    import rwgen.serving
    from rwgen import InvalidInputError
    try:
        rwgen.serving.Server
    except InvalidInputError as error:
        print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rwgen[serve]" in result.stdout
    with pytest.raises(AttributeError):
        _ = rwgen.serving.none
