"""Random requests: every response is well-formed, and none is an internal error.

The number of examples is fixed. The environment variable RWGEN_FUZZ_EXAMPLES sets another one for a
longer run by hand, which prints a failing example in its smallest form:

    RWGEN_FUZZ_EXAMPLES=20000 pytest tests/serving/test_fuzz.py

With CI set, the same examples are drawn in every run (see tests/conftest.py).
"""

import http.client
import json
import os

import hypothesis
import tensorflow as tf
from hypothesis import strategies as st
from serving_clients import GUARD, rest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

LIMITS = hypothesis.settings(
    max_examples=int(os.environ.get("RWGEN_FUZZ_EXAMPLES", "300")),
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

PREDICT = "/v1/models/hp2:predict"

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    # Values close to what the model accepts.
    | st.sampled_from([1, 2.5, {"b64": "Mg=="}, {"b64": "%"}, "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "a", "b", "b64"]), inner, max_size=3)
    ),
    max_leaves=12,
)
SIGNATURES = st.sampled_from(["serving_default", "batched", "two", "parse", "none", ""])
BODIES = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {}, optional={"signature_name": SIGNATURES | VALUES, "instances": VALUES, "inputs": VALUES}
    ).map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps({"instances": [value, value]}).encode()),
)
PATHS = st.sampled_from([PREDICT]) | st.text(
    st.sampled_from("/:v1%.models hp2predict\x7f"), max_size=40
).map(lambda text: "/v1/models/" + text.replace(" ", "%20").replace("\x7f", "%00"))


def body(**values):
    return json.dumps(values).encode()


def test_rest(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=GUARD)
    seen = set()

    @LIMITS
    @hypothesis.given(st.sampled_from(["POST", "POST", "GET"]), PATHS, BODIES)
    @hypothesis.example("POST", PREDICT, body(instances=[1.0, 2.0]))
    @hypothesis.example(
        "POST", PREDICT, body(signature_name="two", inputs={"a": [[1, 2]], "b": [3]})
    )
    @hypothesis.example("POST", PREDICT, body(instances=["x"]))
    @hypothesis.example("POST", PREDICT, b"\xff")
    @hypothesis.example("POST", "/v1/models/none:predict", body(instances=[1.0]))
    @hypothesis.example("POST", "/v1/models/hp2:classify", body(examples=[{"x": 1.0}]))
    def run(method, path, body):
        connection.request(method, path, body=body)
        response = connection.getresponse()
        content = json.loads(response.read())
        seen.add(response.status)
        assert response.status in (200, 400, 404), content
        assert isinstance(content, dict)
        if response.status != 200:
            assert set(content) == {"error"}

    run()
    connection.close()
    assert seen == {200, 400, 404}
    assert rest(server, "GET", "/v1/models/hp2")[0] == 200


def tensors():
    def build(dtype, shape, content, floats, integers, texts):
        proto = tf.make_tensor_proto(0.0)
        proto.Clear()
        proto.dtype = dtype
        for side in shape:
            proto.tensor_shape.dim.add().size = side
        proto.tensor_content = content
        proto.float_val.extend(floats)
        proto.int_val.extend(integers)
        proto.string_val.extend(texts)
        return proto

    return st.builds(
        build,
        st.sampled_from([1, 1, 1, 3, 4, 7, 7, 20, 101]),
        st.lists(st.sampled_from([0, 1, 1, 2, -1, 3, 2**62]), max_size=3),
        st.sampled_from([b"", b"", b"", b"abcd", b"abc"]),
        st.lists(st.floats(width=32), max_size=3),
        st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        st.lists(st.binary(max_size=3), max_size=3),
    )


def message(name, signature, inputs, outputs, cut):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(value)
    request.output_filter.extend(outputs)
    data = request.SerializeToString()
    return data[: len(data) - cut] if cut else data


# Messages close to what the model accepts.
NUMBERS = st.lists(st.floats(width=32), max_size=3).map(
    lambda values: tf.make_tensor_proto(values, tf.float32)
)
NEAR = st.builds(
    message,
    st.just("hp2"),
    st.sampled_from(["serving_default", "batched", ""]),
    st.fixed_dictionaries({"x": NUMBERS}),
    st.sampled_from([[], [], ["y"], ["z"]]),
    st.sampled_from([0, 0, 0, 1]),
)
MESSAGES = (
    st.binary(max_size=100)
    | NEAR
    | st.builds(
        message,
        st.sampled_from(["hp2", "hp2", "hp2", "", "none"]),
        SIGNATURES,
        st.dictionaries(st.sampled_from(["x", "x", "texts", "a", "b"]), tensors(), max_size=2),
        st.lists(st.sampled_from(["y", "z"]), max_size=2),
        st.sampled_from([0, 0, 0, 1, 5]),
    )
)
EXPECTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}


LARGE = tf.make_tensor_proto([1.0])
LARGE.tensor_shape.dim[0].size = 2**62


def valid(**changes):
    values = {"name": "hp2", "signature": "batched", "inputs": {"x": tf.make_tensor_proto([1.0])}}
    return message(**{**values, "outputs": [], "cut": 0, **changes})


def test_grpc(stubs):
    predict = stubs.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    seen = set()

    @LIMITS
    @hypothesis.given(MESSAGES)
    @hypothesis.example(valid())
    @hypothesis.example(valid(signature="", outputs=["y"]))
    @hypothesis.example(valid(cut=1))
    @hypothesis.example(valid(inputs={}))
    @hypothesis.example(valid(inputs={"x": LARGE}))
    @hypothesis.example(valid(name="none"))
    @hypothesis.example(valid(signature="none"))
    def run(data):
        call = predict.future(data, timeout=GUARD)
        seen.add(call.code().name)
        assert call.code().name in EXPECTED, call.details()

    run()
    assert seen == EXPECTED
    assert stubs.y([2.0]) == [3.0]
