"""HTTP beyond paths and JSON: compressed bodies, and requests of pages from other origins."""

import gzip
import http.client
import json
import zlib

import numpy as np
import pytest
from serving_clients import GUARD, running

PREDICT = "/v1/models/hp2:predict"
ORIGIN = {"Origin": "https://example.org"}
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


def send(server, method, path, body=b"", headers=None):
    """Return status, body and headers, with their names in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=GUARD)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return response.status, response.read(), names
    finally:
        connection.close()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_body_in_gzip_format(server, encoding):
    for number in (2, 20_000):  # a short body, and one that is decoded in another thread
        body = gzip.compress(json.dumps({"instances": [0.5] * number}).encode())
        status, content, _ = send(server, "POST", PREDICT, body, {"Content-Encoding": encoding})
        assert status == 200
        assert json.loads(content) == {"predictions": [2.25] * number}


BODY = b'{"instances": [1.0]}'
ENCODED = {
    "plain": lambda: BODY,
    "empty": lambda: b"",
    "cut": lambda: gzip.compress(BODY)[:-4],
    "followed": lambda: gzip.compress(BODY) + b"more",
    "zlib": lambda: zlib.compress(BODY),
    "too long": lambda: gzip.compress(b" " * ((1 << 20) + 1)),
    "a bomb": lambda: gzip.compress(bytes(1 << 29)),
    "br": lambda: b"\x0b\x02\x80{}\x03",
}
"""Bodies by name, made when they are needed: gzip's hold the time, which is in no test's name."""


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("gzip", "plain", 400, "Failed to uncompress the gzipped body"),
        ("gzip", "empty", 400, "Failed to uncompress the gzipped body"),
        ("gzip", "cut", 400, "its end"),
        ("gzip", "followed", 400, "its end"),
        ("gzip", "zlib", 400, "Failed to uncompress"),
        ("gzip", "too long", 413, "uncompressed request body"),
        ("gzip", "a bomb", 413, "uncompressed request body"),
        ("deflate", "zlib", 415, "Received: deflate"),
        ("br", "br", 415, "Received: br"),
        ("gzip, gzip", "empty", 415, "Received: gzip, gzip"),
    ],
)
def test_other_encodings_and_bombs_are_refused(server, encoding, body, status, message):
    headers = {"Content-Encoding": encoding}
    answered, content, _ = send(server, "POST", PREDICT, ENCODED[body](), headers)
    assert answered == status
    assert message in json.loads(content)["error"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br;q=1.0, GZIP;q=0.001", "gzip"),
        ("gzip;q=0, br", None),
        ("gzip; q=0.0", None),
        ("deflate", None),
        (None, None),
    ],
)
def test_responses_are_compressed_for_clients_that_accept_it(server, accepted, encoding):
    values = np.arange(5000, dtype=np.float32)
    headers = {"Accept-Encoding": accepted} if accepted else {}
    body = json.dumps({"instances": values.tolist()})
    status, content, received = send(server, "POST", PREDICT, body, headers)
    assert (status, received.get("content-encoding")) == (200, encoding)
    assert len(content) == int(received["content-length"])
    answer = json.loads(gzip.decompress(content) if encoding else content)
    np.testing.assert_array_equal(answer["predictions"], values / 2 + 2)
    # Short responses and errors are not worth it.
    for short in ('{"instances": [1.0]}', "{"):
        assert "content-encoding" not in send(server, "POST", PREDICT, short, headers)[2]


@pytest.fixture(scope="module")
def open_server(saved):
    with running(saved, enable_cors=True) as server:
        yield server


def test_a_preflight_request(server, open_server):
    for asked, expected in ((server, {}), (open_server, CORS)):
        for path in (PREDICT, "/v1/models/none/metadata"):
            status, content, headers = send(asked, "OPTIONS", path, headers=ORIGIN)
            assert (status, content) == (200, b"")
            assert {name: headers.get(name) for name in CORS} == dict.fromkeys(CORS) | expected


@pytest.mark.parametrize("headers", [{}, {"Origin": "null"}])
def test_a_preflight_request_names_an_origin(open_server, headers):
    status, content, _ = send(open_server, "OPTIONS", PREDICT, headers=headers)
    assert status == 400
    assert json.loads(content) == {"error": "Origin header is missing in CORS preflight"}
    assert send(open_server, "OPTIONS", "/other", headers=ORIGIN)[0] == 404


def test_all_responses_are_for_other_origins_or_none_is(server, open_server):
    for asked, expected in ((server, {}), (open_server, CORS)):
        for body, code in ((b'{"instances": [1.0]}', 200), (b"{", 400)):
            status, _, headers = send(asked, "POST", PREDICT, body, ORIGIN)
            assert status == code
            assert {name: headers.get(name) for name in CORS} == dict.fromkeys(CORS) | expected
