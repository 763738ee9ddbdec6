"""A server's start and end, and what it logs."""

import contextlib
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_clients import (
    code_of,
    eventually,
    free,
    hp2,
    in_threads,
    raw,
    rest,
    rest_predict,
    running,
    stubs_of,
)

from rwgen import InvalidInputError
from rwgen.serving import Server


def test_a_server_is_told_what_is_wrong_with_it(saved, tmp_path):
    with pytest.raises(InvalidInputError, match="distinct"):
        Server(free(), [])
    with pytest.raises(InvalidInputError, match="distinct"):
        Server(free(), [hp2(saved), hp2(saved)])
    with pytest.raises(InvalidInputError, match="not started"):
        _ = Server(free(), [hp2(saved)]).rest_port
    with pytest.raises(InvalidInputError, match="Received: none"):
        Server(free(), [hp2(tmp_path)]).start()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidInputError, match="expected a SavedModel"):
        Server(free(), [hp2(tmp_path)]).start()
    with pytest.raises(InvalidInputError, match="TLS"):
        Server(free(tls_key="none", tls_certificate="none"), [hp2(saved)]).start()
    with pytest.raises(InvalidInputError, match="REST"):
        Server(free(host="256.0.0.1"), [hp2(saved)]).start()
    with running(saved) as server:
        with pytest.raises(InvalidInputError, match="REST"):
            Server(free(rest_port=server.rest_port), [hp2(saved)]).start()
        with pytest.raises(InvalidInputError, match="gRPC"):
            Server(free(grpc_port=server.grpc_port), [hp2(saved)]).start()


def test_a_stopped_server_is_gone_and_stops_once(saved):
    with running(saved) as server:
        port = server.rest_port
        assert server.is_running
        assert not server.wait(0)
    assert server.wait(0)
    assert not server.is_running
    server.stop()
    with pytest.raises(InvalidInputError, match="started before"):
        server.start()
    with pytest.raises(ConnectionRefusedError):
        rest(type("Gone", (), {"rest_port": port}), "GET", "/v1/models/hp2")


def test_stopping_without_a_drain_does_not_wait(saved):
    server = Server(free(), [hp2(saved)])
    server.start()
    with stubs_of(server) as stubs:
        caller = threading.Thread(
            target=lambda: in_threads(1, lambda _: stubs.y([[1.0, 1.0]], signature="slow"))
        )
        caller.start()
        time.sleep(0.05)
        server.stop(drain=False)
        caller.join(10)
        assert not caller.is_alive()


def test_two_servers_in_one_process(saved, server, stubs):
    with running(saved) as other, stubs_of(other) as others:
        for number in range(50):
            assert stubs.y([number]) == others.y([number])


def test_events_are_logged_in_lines_and_nothing_is_printed(saved, caplog, capfd):
    caplog.set_level(logging.DEBUG, "rwgen.serving")
    with running(saved) as server:
        rest(server, "POST", "/v1/models/a%0Ab:predict", "{}")
        raw(server, b"nonsense\r\n\r\n")
    lines = [record.getMessage() for record in caplog.records if record.name == "rwgen.serving"]
    events = {line.split()[0] for line in lines}
    assert events >= {"event=version_state", "event=serving", "event=request", "event=stopped"}
    assert not any("\n" in line for line in lines)
    output = capfd.readouterr()
    assert output.out == output.err == ""


PROGRAM = """
    import sys
    from rwgen.serving import ModelConfig, Server, ServerConfig, serve_until_signal

    server = Server(
        ServerConfig(rest_port=0, grpc_port=0, drain_timeout=20),
        [ModelConfig(name="hp2", base_path=sys.argv[1])],
    )
    server.start()
    print(server.rest_port, server.grpc_port, flush=True)
    sys.exit(serve_until_signal(server))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(saved, number):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(saved)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        rest_port, grpc_port = map(int, process.stdout.readline().split())
        server = type("Ports", (), {"rest_port": rest_port, "grpc_port": grpc_port})
        with stubs_of(server) as stubs:
            assert stubs.y([2.0]) == [3.0]

            def call(index):
                if index == 8:
                    time.sleep(0.15)
                    process.send_signal(number)
                    return None
                if index % 2:
                    return rest_predict(server, [[index, index]], "slow")
                return stubs.y([[index, index]], signature="slow")

            results = in_threads(9, call)
        for index, result in enumerate(results[:8]):
            row = [0.5 * index + 2] * 2
            assert result == ((200, {"predictions": [row]}) if index % 2 else [row])
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_health_says_so_during_the_drain(saved):
    server = Server(free(), [hp2(saved)])
    server.start()
    seen = []
    with stubs_of(server) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)

        def watch():
            try:
                seen.extend(response.status for response in watching)
            except grpc.RpcError:
                return

        watcher = threading.Thread(target=watch)
        watcher.start()
        eventually(lambda: seen)
        caller = threading.Thread(target=lambda: stubs.y([[1.0, 1.0]], signature="slow"))
        caller.start()
        time.sleep(0.05)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        eventually(lambda: len(seen) > 1)
        watching.cancel()
        for thread in (watcher, caller, stopping):
            thread.join(20)
            assert not thread.is_alive()
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert seen == [serving, not_serving]


def test_requests_during_the_drain_are_unavailable(saved, monkeypatch):
    monkeypatch.setattr("rwgen.serving.listeners.FAREWELL", 1.5)
    server = Server(free(), [hp2(saved)])
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    with stubs_of(server) as stubs, contextlib.closing(connection):
        connection.request("GET", "/v1/models/hp2")
        assert connection.getresponse().read()
        assert stubs.y([2.0]) == [3.0]
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.2)
        connection.request("GET", "/v1/models/hp2")
        response = connection.getresponse()
        assert "shutting down" in json.loads(response.read())["error"]
        assert (response.status, response.headers["connection"]) == (503, "close")
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
        stopping.join(20)
        assert not stopping.is_alive()
