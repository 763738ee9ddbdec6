"""A running server: what it answers, its limits, health, metrics and TLS."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.json_format import Parse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from serving_clients import (
    GUARD,
    code_of,
    raw,
    rest,
    rest_predict,
    running,
    stubs_of,
)
from serving_models import VERSION
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from rwgen.export.manifest import Manifest, write_manifest
from rwgen.serving.batching import Batcher
from rwgen.serving.metrics import Metrics


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
    assert set(stubs.prediction.Predict(request, timeout=GUARD).outputs) == {"y"}


def test_metadata_by_rest_is_that_of_grpc(server, stubs):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "hp2"
    response = stubs.prediction.GetModelMetadata(request, timeout=GUARD)
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


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService"])
def test_health(service, stubs):
    health = health_pb2_grpc.HealthStub(stubs.channel)
    response = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=GUARD)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_are_those_of_tensorflow_serving(saved, server, stubs):
    assert rest_predict(server, [1.0])[0] == 200
    assert stubs.y([2.0]) == [3.0]
    assert rest_predict(server, ["x"])[0] == 400
    assert rest(server, "POST", "/v1/models/a-name-of-a-client:predict", "{}")[0] == 404
    text = raw(
        server,
        b"GET /monitoring/prometheus/metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ).decode()
    assert "a-name-of-a-client" not in text  # otherwise clients could fill the memory with names
    families = {
        family.name: family
        for family in text_string_to_metric_families(text.partition("\r\n\r\n")[2])
    }
    samples = {
        # The parser adds `_total` to the names of counters.
        (sample.name.rpartition(":")[2].removesuffix("_total"), *sample.labels.values())
        for family in families.values()
        for sample in family.samples
    }
    # Names, types and labels as in TensorFlow Serving's exporter.
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert '\n:tensorflow:serving:request_count{model_name="hp2",status="OK"} ' in text
    types = {name.rpartition(":")[2]: family.type for name, family in families.items()}
    counters = {"request_count", "load_attempt_count", "load_latency"}
    assert counters == {name for name, kind in types.items() if kind == "counter"}
    assert {"request_latency", "runtime_latency"} < set(types)
    path = str(saved / str(VERSION))
    assert samples >= {
        ("request_count", "hp2", "OK"),
        ("request_count", "hp2", "INVALID_ARGUMENT"),
        ("request_latency_count", "predict", "REST", "hp2"),
        ("request_latency_count", "Predict", "GRPC", "hp2"),
        ("runtime_latency_count", "Predict", "hp2", "TF1"),
        ("load_attempt_count", path, "success"),
        ("load_latency", path),
    }
    # Only what succeeds has a latency.
    count = ':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST"'
    assert re.findall(re.escape(count) + r',model_name="(.*)"', text) == ["hp2"]


def test_metrics_escape_their_labels():
    metrics = Metrics()
    metrics.load('a"b\\c\nd', success=False, seconds=1.0)
    (sample,) = next(
        family.samples
        for family in text_string_to_metric_families(metrics.text().decode())
        if family.name.endswith("load_attempt_count")
    )
    assert sample.labels == {"model_path": 'a"b\\c\nd', "status": "fail"}
    assert sample.value == 1


PER_IMAGE = Manifest("m", {}, (), {}, (1, 1), {}, {}, per_image=("batched",))


@pytest.mark.parametrize(
    ("manifest", "enable_batching", "num_runs"),
    [
        (None, False, 16),  # the outputs for a row may depend on other rows
        (None, True, 4),  # 32 rows, 8 per batch
        (PER_IMAGE, False, 4),
        (replace(PER_IMAGE, per_image=("two",)), False, 16),
    ],
)
def test_requests_are_batched_where_that_changes_no_answer(
    model_copy, held, monkeypatch, manifest, enable_batching, num_runs
):
    if manifest is not None:
        write_manifest(model_copy / str(VERSION), manifest)
    queued, submit = threading.Semaphore(0), Batcher.submit

    def counted(batcher, task):
        submit(batcher, task)
        queued.release()

    monkeypatch.setattr(Batcher, "submit", counted)

    def call(number):
        response = stubs.predict(np.array([number, -number], np.float32))
        return [tf.make_ndarray(response.outputs[key]).tolist() for key in ("y", "run")]

    with (
        running(
            model_copy, batch_threads=1, max_batch_size=8, enable_batching=enable_batching
        ) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(17) as pool,
        held.released_at_end(),
    ):
        # One run is held back, and the others gather behind it.
        blocker = pool.submit(stubs.predict, np.ones((1, 2), np.float32), "slow")
        held.wait_for_run()
        calls = [pool.submit(call, number) for number in range(16)]
        for _ in range(17):
            assert queued.acquire(timeout=GUARD)
        held.release()
        blocker.result(GUARD)
        results = [item.result(GUARD) for item in calls]
    for number, (values, _) in enumerate(results):
        assert values == [0.5 * number + 2, -0.5 * number + 2]
    runs = {run for _, row in results for run in row}
    assert len(runs) == num_runs


def test_a_clients_deadline_is_kept(stubs, held):
    code = code_of(lambda: stubs.predict(np.ones((1, 2), np.float32), "slow", timeout=0.05))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED  # while the run is held back
    held.release()
    assert stubs.y([2.0]) == [3.0]


def test_the_servers_own_deadline_is_504(saved, held):
    with (
        running(saved, request_timeout=0.02) as server,
        stubs_of(server) as stubs,
        held.released_at_end(),
    ):
        assert rest_predict(server, [[1.0, 2.0]], "slow")[0] == 504
        call = code_of(lambda: stubs.predict(np.ones((1, 2), np.float32), "slow"))
        assert call == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("interface", ["grpc", "rest"])
@pytest.mark.parametrize(
    "limits",
    [
        {"max_queued_requests": 1, "batch_threads": 1, "max_batch_size": 1},
        {"max_concurrent_requests": 2},
    ],
)
def test_too_many_requests_are_unavailable(saved, held, limits, interface):
    def call():
        if interface == "rest":
            return rest_predict(server, [[1.0, 1.0]], "slow")[0]
        try:
            return stubs.y([[1.0, 1.0]], signature="slow")
        except grpc.RpcError as error:
            return error.code()

    good, refused = {
        "rest": (200, 503),
        "grpc": ([[2.5, 2.5]], grpc.StatusCode.UNAVAILABLE),
    }[interface]
    with (
        running(saved, **limits) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(6) as pool,
        held.released_at_end(),
    ):
        # One request runs, another one waits, and the other four are refused.
        first = pool.submit(call)
        held.wait_for_run()
        others = [pool.submit(call) for _ in range(5)]
        done = as_completed(others, GUARD)
        assert [next(done).result() for _ in range(4)] == [refused] * 4
        held.release()
        assert [next(done).result(), first.result(GUARD)] == [good, good]
        assert stubs.y([2.0]) == [3.0]


def test_status_by_grpc(stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "hp2"
    (status,) = stubs.model.GetModelStatus(request, timeout=GUARD).model_version_status
    assert (status.version, status.state, status.status.error_code) == (VERSION, 30, 0)
