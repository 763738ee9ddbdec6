"""Malformed and hostile REST requests: each gets an error, and the server keeps working."""

import contextlib
import json
import select
import socket
import time

import pytest
from serving_clients import GUARD, eventually, in_threads, raw, rest, running

from rwgen.serving.admission import Slot
from rwgen.serving.rest.paths import find_route
from rwgen.serving.status import ServingError

PREDICT = "/v1/models/hp2:predict"
HEAD = b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
pytestmark = pytest.mark.usefixtures("still_answers")


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
        b'{"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [[[1]], [[1, 2]]]}}',
        b'{"signature_name": "two", "inputs": {"a": [[1, 2], [3, 4]], "b": [1, 2, 3]}}',
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


@pytest.mark.parametrize("path", ["/", "//v1/models/hp2:predict", "/v2/models/hp2:predict"])
def test_other_paths_are_not_found(server, path):
    status, content = rest(server, "POST", path, '{"instances": [1]}')
    assert (status, content) == (404, {"error": f"Not found: {path}"})


@pytest.mark.parametrize(
    "path",
    [
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
    # In chunks, without a declared total.
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /v1/models/hp2:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    received = raw(server, head + chunk * 20 + b"0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 413")


def test_inputs_above_the_limit_are_413_too(server):
    # Two characters of JSON per value of eight bytes.
    body = b'{"signature_name": "batched", "inputs": [' + b",".join([b"1"] * 300_000) + b"]}"
    assert len(body) < server.config.max_request_bytes
    status, content = rest(server, "POST", PREDICT, body)
    assert status == 413
    assert "1200000 bytes, is larger than 1048576 bytes" in content["error"]


@pytest.fixture
def reserved(monkeypatch):
    """The sizes that requests have reserved so far."""
    sizes, grow = [], Slot.grow

    def counted(slot, size):
        grow(slot, size)
        sizes.append(size)

    monkeypatch.setattr(Slot, "grow", counted)
    return sizes


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/hp2:none", 400),
        ("/v1/models/none:predict", 404),
        ("/v1/models/hp2/versions/7:predict", 404),
        ("/v1/models/none:classify", 404),
    ],
)
def test_the_path_is_looked_at_before_the_body(server, reserved, path, status):
    assert rest(server, "POST", path, b" " * 500_000)[0] == status
    assert reserved == []
    # A client that asks first is answered before it sends the body.
    head = HEAD.replace(PREDICT.encode(), path.encode()).replace(b"\r\n\r\n", b"\r\n%s\r\n\r\n")
    received = raw(server, head % (500_000, b"Expect: 100-continue"))
    assert received.startswith(b"HTTP/1.1 %d" % status)


def test_a_client_that_asks_before_it_sends_the_body_is_asked_for_it(server):
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=GUARD) as connection:
        body = b'{"instances": [2.0]}'
        head = HEAD % len(body)
        connection.sendall(head[:-2] + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert b"3.0" in b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_length_that_is_only_declared_takes_nothing(impatient):
    assert raw(impatient, HEAD % (10**18 - 1) + b"{").startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (b"GET /v1/models/hp2 HTT", b""),
        (b"GET /v1/models/hp2 HTTP/1.1\r\nHost: h\r\nX: ", b""),
        (HEAD % 50 + b"{", b"HTTP/1.1 408"),
    ],
)
def test_slow_clients_are_not_waited_for(impatient, data, answer):
    start = time.monotonic()
    received = raw(impatient, data)
    assert received.startswith(answer)
    assert bool(received) == bool(answer)
    assert time.monotonic() - start >= 0.15  # of the read timeout of 0.2


def test_a_client_that_drips_is_not_waited_for(impatient):
    address = ("127.0.0.1", impatient.rest_port)
    with socket.create_connection(address, timeout=GUARD) as connection:
        connection.sendall(HEAD % 1000)
        # The server answers before the body is complete.
        for _ in range(999):
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b"a")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_take_its_answer_is_left(saved, held):
    with (
        running(saved, read_timeout=0.5, max_concurrent_requests=1) as server,
        held.released_at_end(),
        socket.socket() as connection,
    ):
        body = json.dumps({"signature_name": "large", "inputs": [0.123456789]}).encode()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(GUARD)
        connection.connect(("127.0.0.1", server.rest_port))
        connection.sendall(HEAD % len(body) + body)
        # The request occupies the only slot until the read timeout.
        held.wait_for_run()
        assert rest(server, "POST", PREDICT, '{"instances": [2.0]}')[0] == 503
        held.release()
        eventually(lambda: rest(server, "POST", PREDICT, '{"instances": [2.0]}')[0] == 200)


def test_many_connections(saved):
    with running(saved, max_connections=20, read_timeout=GUARD) as server:
        address = ("127.0.0.1", server.rest_port)
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(socket.create_connection(address, timeout=GUARD))
            with pytest.raises((ConnectionError, OSError)):
                rest(server, "GET", "/v1/models/hp2")

        def answers():
            with contextlib.suppress(ConnectionError, OSError):
                return rest(server, "GET", "/v1/models/hp2")[0] == 200

        eventually(answers)


def test_many_requests_at_a_time_are_answered(server):
    def call(_number):
        return rest(server, "POST", PREDICT, '{"instances": [2.0]}')

    assert in_threads(64, call) == [(200, {"predictions": [3.0]})] * 64


def test_requests_of_too_many_bytes_at_a_time_are_unavailable(saved, reserved):
    limits = {"max_request_bytes": 1 << 20, "max_pending_bytes": 1 << 20, "read_timeout": GUARD}
    with running(saved, **limits) as server:
        address = ("127.0.0.1", server.rest_port)
        body = b" " * 500_000
        with socket.create_connection(address, timeout=GUARD) as connection:
            connection.sendall(HEAD % 1_000_000 + b" " * 900_000)
            eventually(lambda: sum(reserved) == 900_000)
            assert rest(server, "POST", PREDICT, body)[0] == 503
        eventually(lambda: rest(server, "POST", PREDICT, body)[0] == 400)
