"""Requests whose answers by TensorFlow Serving are known, to models of TensorFlow 1 and 2.

`tf_serving_cases.jsonl` holds cases of its own tests. Those in `further_cases.jsonl`, of every
class of requests, were written for this server after its tests, documents and source: `src` names
the file that decides about the answer.
"""

import json
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.json_format import MessageToDict, ParseDict
from serving_clients import GUARD, rest, stubs_of
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from rwgen.serving.models.spec import DTYPES, TensorInfo
from rwgen.serving.rest.json_request import decode_request
from rwgen.serving.rest.json_response import encode_response
from rwgen.serving.status import ServingError


def read_cases(name):
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


CASES = read_cases("tf_serving_cases.jsonl")
FURTHER = read_cases("further_cases.jsonl")
SERVERS = {"tf1": "old_server", "tf2": "new_server", "odd": "odd_server"}
STUBS = {
    "Predict": ("prediction", predict_pb2.PredictRequest),
    "Classify": ("prediction", classification_pb2.ClassificationRequest),
    "Regress": ("prediction", regression_pb2.RegressionRequest),
    "MultiInference": ("prediction", inference_pb2.MultiInferenceRequest),
    "GetModelMetadata": ("prediction", get_model_metadata_pb2.GetModelMetadataRequest),
    "GetModelStatus": ("model", get_model_status_pb2.GetModelStatusRequest),
}


@pytest.fixture(params=["tf1", "tf2"])
def served(request):
    return request.getfixturevalue(SERVERS[request.param])


@pytest.fixture
def served_stubs(served):
    with stubs_of(served) as stubs:
        yield stubs


def cases(kind):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def info(name):
    number = tf.as_dtype(name.removeprefix("DT_").lower()).as_datatype_enum
    return TensorInfo(DTYPES[number], None)


def test_there_are_46_cases():
    assert len(CASES) == 46
    assert {case["kind"] for case in CASES} == {"rest", "json_in", "json_out", "grpc"}


@pytest.mark.parametrize("case", cases("rest"))
def test_rest(case, served):
    status, content = rest(served, case["method"], case["path"], case["body"])
    assert status == case["http"]
    if case["json"] is not None:
        assert content == case["json"]
    if case["error_has"] is not None:
        assert case["error_has"] in content["error"]
    if status != 200:
        assert set(content) == {"error"}


@pytest.mark.parametrize("case", cases("json_in"))
def test_json_in(case):
    infos = {name: info(dtype) for name, dtype in case["inputs"].items()}

    def decode():
        return decode_request(case["body"].encode(), lambda _name: infos).inputs

    if case["error_has"] is not None:
        with pytest.raises(ServingError, match=re.escape(case["error_has"])):
            decode()
        return
    arrays = decode()
    assert set(arrays) == set(case["tensors"])
    for name, (shape, values) in case["tensors"].items():
        assert list(arrays[name].shape) == shape
        assert arrays[name].dtype == infos[name].dtype.numpy
        if infos[name].dtype.name == "string":
            assert arrays[name].ravel().tolist() == [value.encode() for value in values]
        else:
            wanted = [float(value) for value in values]
            np.testing.assert_array_equal(
                arrays[name].ravel(), np.array(wanted, arrays[name].dtype)
            )


@pytest.mark.parametrize("case", cases("json_out"))
def test_json_out(case):
    outputs = {}
    for name, (dtype, shape, values) in case["outputs"].items():
        if dtype == "DT_STRING":
            values = [value.encode() for value in values]
        outputs[name] = np.array(values, info(dtype).dtype.numpy).reshape(shape)

    def encode():
        return encode_response(outputs, row=case["format"] == "row").decode()

    if case["error_has"] is not None:
        with pytest.raises(ServingError, match=re.escape(case["error_has"])):
            encode()
        return
    # Equal to the last digit, apart from whitespace.
    assert re.sub(r"\s", "", encode()) == re.sub(r"\s", "", case["json_text"])


@pytest.mark.parametrize("case", cases("grpc"))
def test_grpc(case, served_stubs):
    call = {"Predict": predict, "GetModelMetadata": metadata, "GetModelStatus": model_status}
    if case["code"] != "OK":
        with pytest.raises(grpc.RpcError) as caught:
            call[case["rpc"]](case, served_stubs)
        assert caught.value.code().name == case["code"]
        assert case["error_has"] in caught.value.details()
        return
    response = call[case["rpc"]](case, served_stubs)
    expected = case["expect"]
    assert set(response.outputs) == set(expected["outputs"])
    for name, (dtype, shape, values) in expected["outputs"].items():
        output = response.outputs[name]
        assert tf.as_dtype(output.dtype) == info_dtype(dtype)
        assert tf.make_ndarray(output).shape == tuple(shape)
        assert list(getattr(output, expected["field"])) == values
    spec = expected["model_spec"]
    assert response.model_spec.name == spec["name"]
    assert response.model_spec.signature_name == spec["signature_name"]
    assert response.model_spec.version.value == spec["version"]


def info_dtype(name):
    return tf.as_dtype(name.removeprefix("DT_").lower())


def fill_spec(request, case):
    request.model_spec.name = case["spec"]["name"]
    if "version" in case["spec"]:
        request.model_spec.version.value = case["spec"]["version"]
    return request


def predict(case, stubs):
    request = fill_spec(predict_pb2.PredictRequest(), case)
    request.output_filter.extend(case.get("output_filter", []))
    for name, (dtype, shape, values) in case["inputs"].items():
        tensor = tf.make_tensor_proto(values, info_dtype(dtype), shape)
        request.inputs[name].CopyFrom(tensor)
    return stubs.prediction.Predict(request, timeout=GUARD)


def metadata(case, stubs):
    request = fill_spec(get_model_metadata_pb2.GetModelMetadataRequest(), case)
    request.metadata_field.extend(case["metadata_field"])
    return stubs.prediction.GetModelMetadata(request, timeout=GUARD)


def model_status(case, stubs):
    request = fill_spec(get_model_status_pb2.GetModelStatusRequest(), case)
    return stubs.model.GetModelStatus(request, timeout=GUARD)


def further(kind):
    """Return the further cases of a kind with each model that they are for."""
    return [
        pytest.param(model, {**case, **case.get(model, {})}, id=f"{model}-{case['id']}")
        for case in FURTHER
        for model in case["models"]
        if case["kind"] == kind
    ]


def test_further_cases_have_distinct_names():
    names = [case["id"] for case in (*CASES, *FURTHER)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("model", "case"), further("rest"))
def test_further_rest(model, case, request):
    server = request.getfixturevalue(SERVERS[model])
    body = case["body"]
    if body is not None:
        body = body.encode(case.get("encoding", "utf-8"), "surrogateescape")
    status, content = rest(server, case["method"], case["path"], body)
    assert status == case["http"], content
    if status != 200:
        assert set(content) == {"error"}
        assert case["error_has"] in content["error"]
    else:
        # As text: NaN is not equal to itself.
        assert json.dumps(content, sort_keys=True) == json.dumps(case["json"], sort_keys=True)


@pytest.mark.parametrize(("model", "case"), further("grpc"))
def test_further_grpc(model, case, request):
    service, message = STUBS[case["rpc"]]
    with stubs_of(request.getfixturevalue(SERVERS[model])) as stubs:
        call = getattr(getattr(stubs, service), case["rpc"])
        proto = ParseDict(case["request"], message())
        if case["code"] != "OK":
            with pytest.raises(grpc.RpcError) as caught:
                call(proto, timeout=GUARD)
            assert caught.value.code().name == case["code"], caught.value.details()
            assert case["error_has"] in caught.value.details()
            return
        response = call(proto, timeout=GUARD)
    found = MessageToDict(response, preserving_proto_field_name=True)
    if case["rpc"] == "GetModelMetadata":  # the graph decides about the rest
        names = found["metadata"]["signature_def"]["signature_def"]
        found = {"model_spec": found["model_spec"], "signatures": sorted(names)}
    assert found == case["response"]
