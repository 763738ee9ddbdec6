"""Requests that no honest client sends: each gets its error, and the server goes on as before."""

import contextlib
import json
import resource
import socket
import time

import grpc
import pytest
import tensorflow as tf
from serving_clients import code_of, eventually, in_threads, raw, rest, running, stubs_of
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from rwgen.serving.rest_paths import find_route
from rwgen.serving.status import ServingError

PREDICT = "/v1/models/hp2:predict"
GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
def still_answers(server, stubs):
    """After each test the server answers, and has not taken much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert stubs.y([2.0]) == [3.0]
    assert rest(server, "GET", "/v1/models/hp2")[0] == 200
    # Kilobytes; what Python and TensorFlow keep for themselves is a small part of it.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\x00",
        b"\xff\xfe{}",
        b'{"instances": [NaNa]}',
        b'{"instances": ' + b"[" * 500_000,
        b'{"instances": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"instances":' * 50_000,
        b'{"instances": [' + b"1" * 100_000 + b"]}",
        b'{"instances": [[1], [1, 2]]}',
        b'{"instances": ["x"]}',
        b'{"instances": [{"b64": "%%%"}]}',
        b'{"instances": [{"b64": "A"}]}',
        b'{"instances": [null, {"x": []}]}',
        b'{"signature_name": "none", "instances": [1]}',
        b'{"signature_name": "\\u0000\\ud800", "instances": [1]}',
        b'{"signature_name": "batched", "instances": [[1, 2]]}',
        b'{"signature_name": "two", "instances": [{"a": [1, 2, 3], "b": 1}]}',
        b'{"signature_name": "parse", "instances": ["no number"]}',
        b'{"signature_name": "parse", "instances": [{"b64": "/w=="}]}',
    ],
)
def test_bodies_that_are_wrong(server, body):
    status, content = rest(server, "POST", PREDICT, body)
    assert status == 400
    assert set(content) == {"error"}
    assert len(content["error"]) <= 1024


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/%2e%2e:predict",
        "/v1/models/%2e%2e%2fhp2:predict",
        "/v1/models/..:predict",
        "/v1/models/hp2%00:predict",
        "/v1/models/hp2%0a:predict",
        "/v1/models/%ff%fe:predict",
        "/v1/models/" + "a" * 10_000 + ":predict",
        "/v1/models/hp2/versions/" + "1" * 19 + ":predict",
    ],
)
def test_names_are_never_paths(server, path):
    status, content = rest(server, "POST", path, '{"instances": [1]}')
    assert status == 404
    assert "Servable not found" in content["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//v1/models/hp2:predict",
        "/v1/models/../models/hp2:predict",
        "/v1/models/hp2/../hp2:predict",
        "/v1/models/hp2:predict/",
        "/v1/models/hp2:predict:predict",
        "/v1/models/:predict",
        "/v1/models/hp2/labels/:predict",
        "/v1/models/hp2/versions/" + "1" * 10_000 + ":predict",
        "/v1/models/hp2/versions/%31:predict",
    ],
)
def test_paths_that_are_none(server, path):
    status, content = rest(server, "POST", path, '{"instances": [1]}')
    assert status == 400
    assert set(content) == {"error"}


def test_digits_of_other_scripts_are_no_version():
    with pytest.raises(ServingError, match="Malformed"):
        find_route("POST", "/v1/models/hp2/versions/\u0663:predict")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_malformed(server, method):
    assert rest(server, method, PREDICT, "{}")[0] == 400


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # a TLS client's first bytes
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/models/hp2 HTTP/1.1\r\n\r\n",  # no host
        b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 50_000,
    ],
)
def test_what_is_not_http_is_refused(server, data):
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        received = raw(server, data)
        assert received == b"" or received.startswith(b"HTTP/1.1 4")


def test_bodies_above_the_limit_are_413(server):
    size = server.config.max_request_bytes + 1
    status, content = rest(server, "POST", PREDICT, b" " * size)
    assert status == 413
    assert "larger than" in content["error"]
    # In pieces, whose total nobody declared.
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    received = raw(server, head + chunk * 20 + b"0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 413")


def test_a_length_that_is_only_declared_takes_nothing(server):
    head = b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nContent-Length: "
    start = time.monotonic()
    assert raw(server, head + b"9" * 18 + b"\r\n\r\n{").startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (b"GET /v1/models/hp2 HTT", b""),
        (b"GET /v1/models/hp2 HTTP/1.1\r\nHost: h\r\nX: ", b""),
        (
            b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n{",
            b"HTTP/1.1 408",
        ),
    ],
)
def test_slow_clients_are_not_waited_for(server, data, answer):
    start = time.monotonic()
    received = raw(server, data)
    assert received.startswith(answer)
    assert bool(received) == bool(answer)
    assert 0.5 < time.monotonic() - start < 5


def test_a_client_that_drips_is_not_waited_for(server):
    address = ("127.0.0.1", server.rest_port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        end = time.monotonic() + 8
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() < end:
                connection.sendall(b"a")
                time.sleep(0.1)
        assert time.monotonic() < end


def test_a_client_that_does_not_take_its_answer_is_left(saved):
    with running(saved, read_timeout=0.5, max_concurrent_requests=1) as server:
        body = json.dumps({"signature_name": "batched", "inputs": [0.123] * 200_000}).encode()
        head = b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", server.rest_port))
            connection.sendall(head % len(body) + body)
            time.sleep(0.2)
            # It has the only place, until its time is up.
            eventually(lambda: rest(server, "POST", PREDICT, '{"instances": [2.0]}')[0] == 200, 8)


def test_many_connections(saved):
    with running(saved, max_connections=20, read_timeout=1.0) as server:
        address = ("127.0.0.1", server.rest_port)
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(socket.create_connection(address, timeout=10))
            time.sleep(0.2)
            with pytest.raises((ConnectionError, OSError)):
                rest(server, "GET", "/v1/models/hp2")
            # Those that say nothing make room.
            time.sleep(1.2)
            assert rest(server, "GET", "/v1/models/hp2")[0] == 200


def test_many_requests_at_a_time_are_answered(server):
    def call(_number):
        return rest(server, "POST", PREDICT, '{"instances": [2.0]}')

    assert in_threads(64, call) == [(200, {"predictions": [3.0]})] * 64


def test_requests_of_too_many_bytes_at_a_time_are_unavailable(saved):
    limits = {"max_request_bytes": 1 << 20, "max_pending_bytes": 1 << 20, "read_timeout": 2.0}
    with running(saved, **limits) as server:
        address = ("127.0.0.1", server.rest_port)
        body = b" " * 500_000
        with socket.create_connection(address, timeout=10) as connection:
            head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head + b" " * 900_000)
            eventually(lambda: rest(server, "POST", PREDICT, body)[0] == 503)
        eventually(lambda: rest(server, "POST", PREDICT, body)[0] == 400)


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
    assert code_of(lambda: bytes_method(stubs, path)(data, timeout=20)) == INVALID


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
            connection = stack.enter_context(socket.create_connection(address, timeout=10))
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(data)
        assert stubs.y([4.0]) == [4.0]
        with stubs_of(server) as others:
            assert others.y([4.0]) == [4.0]


def test_methods_that_are_none(stubs):
    for path in ("/tensorflow.serving.PredictionService/None", "/none/None", "/"):
        code = code_of(lambda path=path: bytes_method(stubs, path)(b"", timeout=20))
        assert code == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_above_the_limit_is_refused(server, stubs):
    data = b"\x00" * (server.config.max_request_bytes + 1)
    code = code_of(lambda: bytes_method(stubs)(data, timeout=20))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_that_does_not_come_is_not_waited_for(saved):
    with running(saved, read_timeout=0.5, max_concurrent_requests=2) as server:

        def nothing():
            time.sleep(5)
            yield b""

        with stubs_of(server) as stubs:
            assert stubs.y([2.0]) == [3.0]
            calls = [bytes_method(stubs, stream=True).future(nothing()) for _ in range(2)]
            eventually(lambda: server.in_flight == 2)
            assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
            start = time.monotonic()
            for call in calls:
                assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - start < 3
            assert stubs.y([2.0]) == [3.0]
            # A call that ends without any message.
            assert code_of(lambda: bytes_method(stubs, stream=True)(iter([]), timeout=5)) == INVALID


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
        (tensor([1 << 40], float_val=[1.0]), "batched", "x"),
        (tensor([1 << 19], float_val=[1.0]), "batched", "x"),
        (tensor([2**62, 2**62, 2**62], float_val=[1.0]), "serving_default", "x"),
        (tensor([2**62, 0, 2**62], float_val=[1.0]), "serving_default", "x"),
        (tensor([-1], float_val=[1.0]), "batched", "x"),
        (tensor([-2, -2], float_val=[1.0]), "serving_default", "x"),
        (tensor([1] * 300, float_val=[1.0]), "serving_default", "x"),
        (tensor([2]), "batched", "x"),
        (tensor([1], float_val=[1.0, 2.0]), "batched", "x"),
        (tensor([2], tensor_content=b"\x00" * 7), "batched", "x"),
        (tensor([2], tensor_content=b"\x00" * 80), "batched", "x"),
        (tensor([1, 1], float_val=[1.0]), "batched", "x"),
        (tensor([], float_val=[1.0]), "batched", "x"),
        (tensor([1], tf.float64, double_val=[1.0]), "batched", "x"),
        (tensor([1], tf.resource), "batched", "x"),
        (tensor([1], tf.variant), "batched", "x"),
        (tensor([1], 101, float_val=[1.0]), "batched", "x"),
        (tensor([1], 99_999, float_val=[1.0]), "batched", "x"),
        (UNKNOWN_RANK, "serving_default", "x"),
        (tensor([1 << 30], tf.string, string_val=[b""]), "parse", "texts"),
        (tensor([1], tf.string, tensor_content=b"\x01a"), "parse", "texts"),
        (tensor([1], tf.string, string_val=[b"\xff\x00"]), "parse", "texts"),
    ],
)
def test_tensors_that_are_wrong(stubs, proto, signature, key):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    request.inputs[key].CopyFrom(proto)
    start = time.monotonic()
    assert code_of(lambda: stubs.prediction.Predict(request, timeout=20)) == INVALID
    assert time.monotonic() - start < 2


def test_integers_out_of_their_range_are_refused(stubs):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", "two"
    request.inputs["a"].CopyFrom(tensor([1, 2], tf.int32, int_val=[1, 2]))
    request.inputs["b"].CopyFrom(tensor([1], tf.uint8, int_val=[300]))
    assert code_of(lambda: stubs.prediction.Predict(request, timeout=20)) == INVALID


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
