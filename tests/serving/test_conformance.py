"""TensorFlow Serving's own test cases, with a model as its tests use and one of TensorFlow 2.

Those for Classify and Regress must be declined.
"""

import json
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from serving_clients import GUARD, rest, stubs_of
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from rwgen.serving.models.spec import DTYPES, TensorInfo
from rwgen.serving.rest.json_request import decode_request
from rwgen.serving.rest.json_response import encode_response
from rwgen.serving.status import ServingError

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "tf_serving_cases.jsonl").read_text().splitlines()
]
DECLINED = {"g0", "g2", "c0"}  # successful Regress and Classify calls, not implemented here


@pytest.fixture(params=["tf1", "tf2"])
def served(request):
    return request.getfixturevalue({"tf1": "old_server", "tf2": "server"}[request.param])


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
    if case["id"] in DECLINED:
        assert status == 501
        assert set(content) == {"error"}
        return
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
