"""Malformed and hostile gRPC requests: each gets an error, and the server keeps working."""

import contextlib
import socket
import threading

import grpc
import pytest
import tensorflow as tf
from serving_clients import GUARD, code_of, eventually, running, stubs_of
from tensorflow_serving.apis.predict_pb2 import PredictRequest

GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
pytestmark = pytest.mark.usefixtures("still_answers")


def bytes_method(stubs, path=GRPC_PREDICT, stream=False):
    make = stubs.channel.stream_unary if stream else stubs.channel.unary_unary
    return make(path, request_serializer=None, response_deserializer=None)


@pytest.mark.parametrize(
    "path",
    [
        GRPC_PREDICT,
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
    ],
)
@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0a\xff\xff\xff\xff\x07", b"\x0a\x02\x0a"])
def test_messages_that_are_wrong(stubs, path, data):
    assert code_of(lambda: bytes_method(stubs, path)(data, timeout=GUARD)) == INVALID


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
def test_what_is_not_grpc_takes_no_place_from_others(server, stubs, data):
    address = ("127.0.0.1", server.grpc_port)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(socket.create_connection(address, timeout=GUARD))
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(data)
        assert stubs.y([4.0]) == [4.0]
        with stubs_of(server) as others:
            assert others.y([4.0]) == [4.0]


def test_many_connections(saved):
    with running(saved, max_connections=20, read_timeout=GUARD) as server:
        address = ("127.0.0.1", server.grpc_port)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(address, timeout=GUARD))
            with stubs_of(server) as others:
                assert code_of(lambda: others.y([4.0])) == grpc.StatusCode.UNAVAILABLE

        def answers():
            with stubs_of(server) as others, contextlib.suppress(grpc.RpcError):
                return others.y([4.0]) == [4.0]

        eventually(answers)


def test_headers_above_the_limit_are_refused(stubs):
    metadata = [("x", "a" * 1_000_000)]
    method = bytes_method(stubs)
    code = code_of(lambda: method(b"", timeout=GUARD, metadata=metadata))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_methods_that_are_none(stubs):
    for path in ("/tensorflow.serving.PredictionService/None", "/none/None", "/"):
        code = code_of(lambda path=path: bytes_method(stubs, path)(b"", timeout=GUARD))
        assert code == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_above_the_limit_is_refused(server, stubs):
    data = b"\x00" * (server.config.max_request_bytes + 1)
    code = code_of(lambda: bytes_method(stubs)(data, timeout=GUARD))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_that_decompresses_to_a_large_one_is_refused(server, stubs):
    data = b"\x00" * (40 * server.config.max_request_bytes)
    for kind in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        with pytest.raises(grpc.RpcError) as caught:
            bytes_method(stubs)(data, timeout=GUARD, compression=kind)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "Decompressed message larger than max"


def test_compressed_messages(stubs):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", "batched"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0] * 1000))
    for kind in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        response = stubs.prediction.Predict(request, timeout=GUARD, compression=kind)
        assert tf.make_ndarray(response.outputs["y"]).tolist() == [3.0] * 1000


@pytest.fixture
def silence():
    """Messages of a client that sends none, until the end of the test."""
    ended = threading.Event()

    def messages():
        ended.wait(GUARD)
        yield from ()

    yield messages
    ended.set()


def test_calls_without_a_message_take_places(saved, silence):
    with running(saved, max_concurrent_requests=2) as server, stubs_of(server) as stubs:
        calls = [bytes_method(stubs, stream=True).future(silence()) for _ in range(2)]
        eventually(lambda: server.in_flight == 2)
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
        for call in calls:
            call.cancel()
        eventually(lambda: server.in_flight == 0)
        assert stubs.y([2.0]) == [3.0]
        # A call that ends without any message.
        no_messages = iter([])
        code = code_of(lambda: bytes_method(stubs, stream=True)(no_messages, timeout=GUARD))
        assert code == INVALID


def test_a_message_that_does_not_come_is_not_waited_for(impatient, silence):
    with stubs_of(impatient) as stubs:
        call = bytes_method(stubs, stream=True).future(silence())
        assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def tensor(shape, dtype=tf.float32, **values):
    proto = tf.make_tensor_proto(0.0)
    proto.Clear()
    proto.dtype = dtype if isinstance(dtype, int) else dtype.as_datatype_enum
    for side in shape:
        proto.tensor_shape.dim.add().size = side
    for key, value in values.items():
        if isinstance(value, list):
            getattr(proto, key).extend(value)
        else:
            setattr(proto, key, value)
    return proto


UNKNOWN_RANK = tensor([], float_val=[1.0])
UNKNOWN_RANK.tensor_shape.unknown_rank = True


@pytest.mark.parametrize(
    ("proto", "signature", "key"),
    [
        (tensor([2**62, 0, 2**62], float_val=[1.0]), "serving_default", "x"),
        (tensor([-1], float_val=[1.0]), "batched", "x"),
        (tensor([-2, -2], float_val=[1.0]), "serving_default", "x"),
        (tensor([1] * 300, float_val=[1.0]), "serving_default", "x"),
        (tensor([2], tensor_content=b"\x00" * 7), "batched", "x"),
        (tensor([2], tensor_content=b"\x00" * 80), "batched", "x"),
        (tensor([1], tf.float64, double_val=[1.0]), "batched", "x"),
        (tensor([1], tf.resource), "batched", "x"),
        (tensor([1], tf.variant), "batched", "x"),
        (tensor([1], 101, float_val=[1.0]), "batched", "x"),
        (tensor([1], 99_999, float_val=[1.0]), "batched", "x"),
        (UNKNOWN_RANK, "serving_default", "x"),
        (tensor([1], tf.string, tensor_content=b"\x01a"), "parse", "texts"),
        (tensor([1], tf.string, string_val=[b"\xff\x00"]), "parse", "texts"),
    ],
)
def test_tensors_that_are_wrong(stubs, proto, signature, key):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    request.inputs[key].CopyFrom(proto)
    assert code_of(lambda: stubs.prediction.Predict(request, timeout=GUARD)) == INVALID


@pytest.mark.parametrize(
    ("proto", "signature", "key"),
    [
        (tensor([1 << 40], float_val=[1.0]), "batched", "x"),
        (tensor([1 << 19], float_val=[1.0]), "batched", "x"),
        (tensor([2**62, 2**62, 2**62], float_val=[1.0]), "serving_default", "x"),
        (tensor([1 << 30], tf.string, string_val=[b""]), "parse", "texts"),
    ],
)
def test_tensors_that_declare_too_much(stubs, proto, signature, key):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    request.inputs[key].CopyFrom(proto)
    code = code_of(lambda: stubs.prediction.Predict(request, timeout=GUARD))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_integers_out_of_their_range_are_cut_as_by_tensorflow(stubs):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", "two"
    request.inputs["a"].CopyFrom(tensor([1, 2], tf.int32, int_val=[1, 2]))
    request.inputs["b"].CopyFrom(tensor([1], tf.uint8, int_val=[300]))
    response = stubs.prediction.Predict(request, timeout=GUARD)
    assert list(response.outputs["sum"].int_val) == [1 + 2 + 300 % 256]


def test_names_that_are_wrong(stubs):
    for name, expected in (
        ("", INVALID),
        ("../hp2", grpc.StatusCode.NOT_FOUND),
        ("\x00\n", grpc.StatusCode.NOT_FOUND),
        ("a" * 100_000, grpc.StatusCode.NOT_FOUND),
    ):
        assert code_of(lambda name=name: stubs.y([1.0], name=name)) == expected
    assert code_of(lambda: stubs.y([1.0], version=-1)) == INVALID
    code = code_of(lambda: stubs.y([1.0], signature="none"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
