"""TLS on both interfaces, certificates of clients, and clients that stop in the handshake."""

import contextlib
import http.client
import json
import socket
import ssl

import grpc
import pytest
import trustme
from serving_clients import GUARD, Stubs, code_of, eventually, free, hp2, raw, running, stubs_of

from rwgen import ClientConfig, FeaturesClient, InvalidInputError, ServerError
from rwgen.serving import Server, TlsConfig

PREDICT = "/v1/models/hp2:predict"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue_cert("localhost", "127.0.0.1")


def pem(pair):
    return (
        pair.private_key_pem.bytes(),
        b"".join(part.bytes() for part in pair.cert_chain_pems),
    )


@pytest.fixture(scope="module")
def tls(pair):
    key, certificate = pem(pair)
    return TlsConfig(key=key, certificate=certificate)


@pytest.fixture(scope="module")
def secure(saved, tls):
    with running(saved, tls=tls, read_timeout=GUARD) as server:
        yield server


def client_context(authority, client=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


def https_predict(server, context, values):
    connection = http.client.HTTPSConnection(
        "localhost", server.rest_port, context=context, timeout=GUARD
    )
    with contextlib.closing(connection):
        connection.request("POST", PREDICT, json.dumps({"instances": values}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def trusting(authority, client=None):
    key, certificate = (None, None) if client is None else pem(client)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), key, certificate)


def test_both_interfaces_speak_tls_only(secure, authority):
    context = client_context(authority)
    for number in range(3):
        answer = https_predict(secure, context, [float(number), 2.0])
        assert answer == (200, {"predictions": [0.5 * number + 2, 3.0]})
    with stubs_of(secure, credentials=trusting(authority)) as stubs:
        assert stubs.y([2.0]) == [3.0]
    # Clients without TLS, and those that trust another authority, get nothing.
    assert b"predictions" not in raw(secure, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    with pytest.raises(ssl.SSLCertVerificationError):
        https_predict(secure, ssl.create_default_context(), [1.0])
    with stubs_of(secure) as stubs:
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE


def test_old_versions_of_tls_are_refused(secure, authority):
    context = client_context(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        https_predict(secure, context, [1.0])


def test_a_long_body_and_a_long_answer(saved, tls, authority):
    values = [number / 8 for number in range(40_000)]
    with running(saved, tls=tls) as server:
        answer = https_predict(server, client_context(authority), values)
    assert answer == (200, {"predictions": [0.5 * value + 2 for value in values]})


def test_a_request_in_the_same_packet_as_the_end_of_the_handshake(secure, authority):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    address = ("127.0.0.1", secure.rest_port)
    with socket.create_connection(address, timeout=GUARD) as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(1 << 16))
        client.write(b"GET /v1/models/hp2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        connection.sendall(outgoing.read())  # the end of the handshake, and the request
        received = b""
        while not received.endswith(b"}"):
            try:
                received += client.read(1 << 16)
            except ssl.SSLWantReadError:
                incoming.write(connection.recv(1 << 16))
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("intruder", ["none", "stranger"])
def test_only_clients_with_a_certificate_of_the_authority_are_served(
    saved, pair, authority, intruder
):
    key, certificate = pem(pair)
    members = trustme.CA()
    member = members.issue_cert("member@example.org")
    other = None if intruder == "none" else trustme.CA().issue_cert("stranger@example.org")
    tls = TlsConfig(key=key, certificate=certificate, client_ca=members.cert_pem.bytes())
    with running(saved, tls=tls) as server:
        assert https_predict(server, client_context(authority, member), [2.0])[0] == 200
        with stubs_of(server, credentials=trusting(authority, member)) as stubs:
            assert stubs.y([2.0]) == [3.0]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            https_predict(server, client_context(authority, other), [2.0])
        with stubs_of(server, credentials=trusting(authority, other)) as stubs:
            assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_the_client_shows_its_certificate(saved, pair, authority, scheme, tmp_path):
    key, certificate = pem(pair)
    members = trustme.CA()
    member = members.issue_cert("member@example.org")
    trusted, own_key, own = (str(tmp_path / name) for name in ("ca.pem", "key.pem", "cert.pem"))
    authority.cert_pem.write_to_path(trusted)
    member.private_key_pem.write_to_path(own_key)
    member.cert_chain_pems[0].write_to_path(own)
    tls = TlsConfig(key=key, certificate=certificate, client_ca=members.cert_pem.bytes())
    with running(saved, tls=tls) as server:
        port = server.grpc_port if scheme == "grpcs" else server.rest_port
        url = f"{scheme}://localhost:{port}/v1/models/hp2"
        known = ClientConfig(root_certificates=trusted, client_key=own_key, client_certificate=own)
        with FeaturesClient(url, known) as client:
            assert "y" in client.outputs_of("batched")
        unknown = ClientConfig(root_certificates=trusted, max_attempts=1)
        with FeaturesClient(url, unknown) as client, pytest.raises(ServerError):
            client.outputs_of("batched")
    with pytest.raises(InvalidInputError, match=r"or neither. Received: client_key alone"):
        ClientConfig(client_key=own_key)


def test_a_client_that_stops_in_the_handshake_is_not_waited_for(saved, tls):
    with running(saved, tls=tls, read_timeout=0.2) as server:
        for data in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            received = raw(server, data)  # returns when the server closes the connection
            assert b"HTTP" not in received


def test_connections_count_from_their_first_packet(saved, tls, authority):
    with running(saved, tls=tls, max_connections=20, read_timeout=GUARD) as server:
        address = ("127.0.0.1", server.rest_port)
        context = client_context(authority)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(address, timeout=GUARD))
            with pytest.raises((OSError, http.client.HTTPException)):
                https_predict(server, context, [2.0])

        def answers():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return https_predict(server, context, [2.0])[0] == 200

        eventually(answers)
        # The server does not wait for those that are still in the handshake when it stops.
        left = socket.create_connection(address, timeout=GUARD)
    with left:
        assert left.recv(1) == b""


def test_certificates_that_cannot_be_used(saved, pair, tls, tmp_path):
    other = pem(trustme.CA().issue_cert("localhost"))
    for values in (
        {"key": other[0], "certificate": tls.certificate},
        {"key": b"SECRET", "certificate": tls.certificate},
        {"key": tls.key, "certificate": tls.certificate, "client_ca": b"SECRET"},
        {"key": tls.key, "certificate": tls.certificate, "client_ca": b"\xff"},
    ):
        with pytest.raises(InvalidInputError, match="for TLS, in PEM format") as caught:
            Server(free(tls=TlsConfig(**values)), [hp2(saved)]).start()
        assert "SECRET" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_socket_in_the_file_system_and_no_ports(saved, tmp_path):
    path = tmp_path / "grpc.sock"
    with running(saved, rest_port=None, grpc_port=None, grpc_socket=str(path)) as server:
        assert (server.rest_port, server.grpc_port) == (None, None)
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert Stubs(channel).y([2.0]) == [3.0]
    assert not path.exists()


def test_grpc_without_rest_and_rest_without_grpc(saved):
    with running(saved, rest_port=None) as server, stubs_of(server) as stubs:
        assert server.rest_port is None
        assert stubs.y([2.0]) == [3.0]
        assert server.is_running
    with running(saved, grpc_port=None) as server:
        assert server.grpc_port is None
        head = b"GET /v1/models/hp2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert raw(server, head).startswith(b"HTTP/1.1 200")
