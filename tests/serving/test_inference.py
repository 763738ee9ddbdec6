"""Classify, Regress and MultiInference beyond the cases of `test_conformance.py`."""

import json
import math

import grpc
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from serving_clients import GUARD, code_of, in_threads, rest, running, stubs_of
from serving_models import CLASSIFY, REGRESS, VERSION, ParsingAffine, save_model
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_log_pb2,
    regression_pb2,
)

import rwgen.serving.models.servable as servable_module
from rwgen.errors import InvalidInputError
from rwgen.serving.models.servable import Servable
from rwgen.serving.rest.json_examples import decode_examples
from rwgen.serving.status import ServingError


def example(**features):
    proto = tf.train.Example()
    for name, values in features.items():
        proto.features.feature[name].float_list.value.extend(values)
    return proto


def one(message, signature, *examples, context=None):
    """Return a Classify or Regress request."""
    request = message()
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.context.CopyFrom(context)
        request.input.example_list_with_context.examples.extend(examples)
    return request


def multi(tasks, *examples):
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "hp2", signature
    request.input.example_list.examples.extend(examples)
    return request


TASKS = [("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY), ("regress_x_to_y2", REGRESS)]


@pytest.fixture
def runs(monkeypatch):
    """The signatures that have been run so far."""
    found, run = [], Servable.run

    def noted(servable, signature, inputs):
        found.append(signature)
        return run(servable, signature, inputs)

    monkeypatch.setattr(Servable, "run", noted)
    return found


def test_many_tasks_are_one_run(old_server, runs):
    with stubs_of(old_server) as stubs:
        request = multi(TASKS, example(x=[2.0]), example(x=[4.0]))
        results = stubs.prediction.MultiInference(request, timeout=GUARD).results
    assert [value.value for value in results[0].regression_result.regressions] == [3, 4]
    scores = [row.classes[0].score for row in results[1].classification_result.classifications]
    assert scores == [3, 4]
    assert [value.value for value in results[2].regression_result.regressions] == [4, 5]
    (signature,) = runs
    # The input, and each output once: `y` answers two tasks.
    assert list(signature.inputs) == ["tf_example:0"]
    assert list(signature.outputs) == ["y2:0", "y:0"]


def test_combinations_take_bounded_memory(old, monkeypatch):
    monkeypatch.setattr(servable_module, "MAX_RUNS", 2)
    servable = Servable(old / str(VERSION), "hp2", VERSION)
    x = np.array([2.0], np.float32)
    for _ in range(2):
        for name, expected in (("serving_default", {"y": [3.0]}), ("both", {"y2": [4.0]})):
            outputs = servable.run(servable.signatures[name], {"x": x})
            for key, values in expected.items():
                assert outputs[key].tolist() == values
        outputs = servable.run(servable.signatures["variable"], {"x": x, "a": np.float32(3)})
        assert outputs["y"].tolist() == [8.0]
        assert len(servable._runs) == 2


def test_a_context_is_not_copied_beyond_the_limit(odd_server):
    limit = odd_server.config.max_request_bytes
    features = {"x": [1.0], "more": [0.0] * (limit // 40)}
    count = 20
    with stubs_of(odd_server) as stubs:
        request = one(
            regression_pb2.RegressionRequest,
            "row",
            *[example()] * count,
            context=example(**features),
        )
        assert request.ByteSize() < limit / 2
        code = code_of(lambda: stubs.prediction.Regress(request, timeout=GUARD))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    body = json.dumps({"signature_name": "row", "context": features, "examples": [{}] * count})
    assert len(body) < limit
    status, content = rest(odd_server, "POST", "/v1/models/hp2:regress", body)
    assert status == 413
    assert "The total size of the inputs" in content["error"]


@pytest.mark.parametrize("signature", ["classify_x_to_y", "regress_x_to_y"])
def test_joined_requests_get_their_own_answers(old, signature):
    action = signature.partition("_")[0]
    with running(old, enable_batching=True) as server:

        def ask(number):
            body = {"signature_name": signature, "examples": [{"x": float(number)}]}
            return rest(server, "POST", f"/v1/models/hp2:{action}", json.dumps(body))

        answers = in_threads(16, ask)
    for number, (status, content) in enumerate(answers):
        value = 0.5 * number + 2
        expected = [["", value]] if action == "classify" else value
        assert (status, content) == (200, {"results": [expected]})


def test_metrics_name_the_method(old):
    with running(old) as server, stubs_of(server) as stubs:
        body = '{"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}'
        assert rest(server, "POST", "/v1/models/hp2:classify", body)[0] == 200
        assert rest(server, "POST", "/v1/models/hp2:regress", body)[0] == 400
        request = one(regression_pb2.RegressionRequest, "regress_x_to_y", example(x=[1.0]))
        stubs.prediction.Regress(request, timeout=GUARD)
        request = multi(TASKS[:1], example(x=[1.0]))
        stubs.prediction.MultiInference(request, timeout=GUARD)
        text = server.metrics.text().decode()
    name = ":tensorflow:serving"
    assert f'{name}:request_count{{model_name="hp2",status="OK"}} 3\n' in text
    assert f'{name}:request_count{{model_name="hp2",status="INVALID_ARGUMENT"}} 1\n' in text
    for api, entrypoint in (("classify", "REST"), ("Regress", "GRPC"), ("MultiInference", "GRPC")):
        labels = f'API="{api}",entrypoint="{entrypoint}",model_name="hp2"'
        assert f"{name}:request_latency_count{{{labels}}} 1.0\n" in text
    for api in ("Classify", "Regress", "MultiInference"):
        labels = f'API="{api}",model_name="hp2",runtime="TF1"'
        assert f"{name}:runtime_latency_count{{{labels}}} 1.0\n" in text


def logged(kind, request):
    log = prediction_log_pb2.PredictionLog()
    getattr(log, kind).request.CopyFrom(request)
    return log.SerializeToString()


def test_warm_up(tmp_path, runs):
    records = [
        logged(
            "classify_log",
            one(classification_pb2.ClassificationRequest, "classify_x_to_y", example(x=[1.0])),
        ),
        logged(
            "regress_log",
            one(regression_pb2.RegressionRequest, "regress_x_to_y", example(x=[1.0])),
        ),
        logged("multi_inference_log", multi(TASKS[2:], example(x=[1.0]))),
    ]
    save_model(tmp_path, warmup=records, kind=ParsingAffine)
    Servable(tmp_path / str(VERSION), "hp2", VERSION)
    inputs = [list(signature.inputs) for signature in runs]
    assert inputs == [[f"{name}_inputs:0"] for name, _ in (TASKS[1], TASKS[0], TASKS[2])]


def test_a_warm_up_that_fails_keeps_the_version_from_being_served(tmp_path):
    request = one(classification_pb2.ClassificationRequest, "classify_x_to_y")
    save_model(tmp_path, warmup=[logged("classify_log", request)], kind=ParsingAffine)
    with pytest.raises(ServingError, match="warm-up request 1: Input is empty"):
        Servable(tmp_path / str(VERSION), "hp2", VERSION)
    with pytest.raises(InvalidInputError, match="Input is empty"), running(tmp_path):
        pass


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=5)
    | st.fixed_dictionaries({"b64": st.sampled_from(["", "YQ==", "?", 1])})
)
EXAMPLES = st.dictionaries(st.text(max_size=3), SCALARS | st.lists(SCALARS, max_size=3), max_size=3)
LISTS = (
    st.lists(st.booleans(), min_size=1)
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)
    | st.lists(st.floats(width=32), min_size=1)
    | st.lists(st.text(), min_size=1)
)


@hypothesis.given(EXAMPLES | SCALARS, st.lists(EXAMPLES | SCALARS, max_size=3))
def test_whatever_is_sent_is_an_example_or_an_error(context, examples):
    body = json.dumps({"context": context, "examples": examples}).encode()
    found = decoded(body)
    if isinstance(found, ServingError):
        assert found.http == 400
        return
    for data, sent in zip((found.context, *found.examples), (context, *examples), strict=True):
        assert tf.train.Example.FromString(data).features.feature.keys() == sent.keys()


def decoded(body):
    try:
        return decode_examples(body)
    except ServingError as error:
        return error


@hypothesis.given(st.dictionaries(st.text(max_size=5), LISTS, max_size=3))
def test_features_keep_their_values(features):
    body = json.dumps({"examples": [features]}).encode()
    (data,) = decode_examples(body).examples
    found = tf.train.Example.FromString(data).features.feature
    assert found.keys() == features.keys()
    for name, values in features.items():
        kind = {bool: "int64", int: "int64", float: "float", str: "bytes"}[type(values[0])]
        assert found[name].WhichOneof("kind") == f"{kind}_list"
        kept = list(getattr(found[name], f"{kind}_list").value)
        if kind == "bytes":
            values = [value.encode() for value in values]
        assert len(kept) == len(values)
        for one_kept, value in zip(kept, values, strict=True):
            assert one_kept == value or (math.isnan(one_kept) and math.isnan(value))
