"""Every element type in every rank, over every interface: the echo of a model is what was sent."""

import base64
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from serving_clients import GUARD, code_of, rest, running, stubs_of
from serving_models import save_echo, save_echo_tensorflow_1
from tensorflow_serving.apis.predict_pb2 import PredictRequest

DTYPES = {
    dtype.name: dtype
    for dtype in (
        *(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.complex64, tf.complex128, tf.bool),
        *(tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64),
        tf.string,
    )
}
NOT_IN_JSON = ("bfloat16", "complex64", "complex128")
SHAPES = [(), (2,), (2, 3), (2, 0), (2, 1, 3)]


@pytest.fixture(scope="module", params=["tf1", "tf2"])
def echo_folder(request, tmp_path_factory):
    save = {"tf1": save_echo_tensorflow_1, "tf2": save_echo}[request.param]
    return save(tmp_path_factory.mktemp("echo"), DTYPES.values())


@pytest.fixture(scope="module")
def echo(echo_folder):
    with running(echo_folder) as server:
        yield server


@pytest.fixture(scope="module")
def echo_stubs(echo):
    with stubs_of(echo) as stubs:
        yield stubs


def values_of(dtype, shape):
    """Values that fill the range of an element type."""
    count = int(np.prod(shape))
    if dtype == tf.string:
        texts = [
            b"hello",
            b"",
            '\u00fc "quoted" \u2028\U0001f600'.encode(),
            b"\n\\",
            b"a\x00b",
            b"{}",
        ]
        values = np.array((texts * count)[:count], object)
    elif dtype == tf.bool:
        values = np.arange(count) % 2 == 0
    elif dtype.is_integer:
        values = np.array(([dtype.max, dtype.min, 1] * count)[:count], dtype.as_numpy_dtype)
    else:
        values = np.array(([0.1, -2.5, 3e4] * count)[:count]).astype(dtype.as_numpy_dtype)
        if dtype.is_complex:
            values = values * dtype.as_numpy_dtype(1 - 2j)
    return values.reshape(shape)


def in_json(array):
    """Return the values as a client writes them."""
    if array.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(array).tolist()
    return array.astype(np.float64).tolist() if array.dtype.kind == "f" else array.tolist()


def check_json(content, values):
    if values.dtype.kind == "f":  # JSON has the fewest digits that give the same number
        assert np.shape(content) == values.shape
        np.testing.assert_array_equal(np.array(content, values.dtype), values)
    else:
        assert content == in_json(values)


@pytest.mark.parametrize("name", DTYPES)
class TestEcho:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_grpc(self, echo_stubs, name, shape):
        values = values_of(DTYPES[name], shape)
        request = PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "hp2", name
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, DTYPES[name], shape))
        proto = echo_stubs.prediction.Predict(request, timeout=GUARD).outputs["y"]
        # Not in tensor_content: some clients read the typed fields alone.
        assert not proto.tensor_content
        assert tf.as_dtype(proto.dtype) == DTYPES[name]
        answer = np.asarray(tf.make_ndarray(proto))
        assert answer.shape == shape
        np.testing.assert_array_equal(answer.ravel(), values.ravel())

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_columns(self, echo, name, shape):
        if name in NOT_IN_JSON:
            status, content = post(echo, signature_name=name, inputs=np.ones(shape).tolist())
            assert (status, set(content)) == (501, {"error"})
            assert f"to type: {name}" in content["error"]
            return
        values = values_of(DTYPES[name], shape)
        status, content = post(echo, signature_name=name, inputs=in_json(values))
        assert status == 200
        check_json(content["outputs"], values)

    @pytest.mark.parametrize("shape", SHAPES[1:], ids=str)  # a scalar has no rows
    def test_rows(self, echo, name, shape):
        if name in NOT_IN_JSON:
            status, content = post(echo, signature_name=name, instances=np.ones(shape).tolist())
            assert (status, set(content)) == (400, {"error"})
            assert f"to type: {name}" in content["error"]
            return
        values = values_of(DTYPES[name], shape)
        status, content = post(echo, signature_name=name, instances=in_json(values))
        assert status == 200
        check_json(content["predictions"], values)


def post(server, **body):
    return rest(server, "POST", "/v1/models/hp2:predict", json.dumps(body))


def test_messages_may_be_as_large_as_the_limit(echo_folder):
    values = np.arange(10 << 20, dtype=np.float32)  # 40 MiB, more than the default limit
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", "float32"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
    options = [("grpc.max_receive_message_length", -1)]
    for limit in (1 << 25, 1 << 26):
        with (
            running(echo_folder, max_request_bytes=limit) as server,
            stubs_of(server, options=options) as stubs,
        ):
            if limit < values.nbytes:
                code = code_of(lambda s=stubs: s.prediction.Predict(request, timeout=GUARD))
                assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
                continue
            outputs = stubs.prediction.Predict(request, timeout=GUARD).outputs
            np.testing.assert_array_equal(tf.make_ndarray(outputs["y"]), values)
            # The same limit for the body, which is mostly white space.
            body = json.dumps({"signature_name": "float32", "inputs": 1}).encode()
            body += b" " * (limit - len(body))
            assert rest(server, "POST", "/v1/models/hp2:predict", body) == (200, {"outputs": 1.0})
            assert rest(server, "POST", "/v1/models/hp2:predict", body + b" ")[0] == 413


@pytest.mark.parametrize("sent", ["ab", ["ab", "c"], [["ab"], ["c"]]])
def test_a_scalar_text_next_to_bytes(echo, sent):
    status, content = post(echo, signature_name="texts", inputs=sent)
    coded = np.vectorize(encoded, otypes=[object])(np.array(sent, object)).tolist()
    assert (status, content) == (200, {"outputs": {"y_bytes": coded, "first": "ab"}})


def test_a_scalar_has_no_rows(echo):
    status, content = post(echo, signature_name="texts", instances=["ab", "c"])
    assert status == 400
    assert content == {"error": "Tensor name: first has no shape information "}


def encoded(text):
    return {"b64": base64.b64encode(text.encode()).decode()}
