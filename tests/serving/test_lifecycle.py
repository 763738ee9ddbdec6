"""How a server starts and stops, and what it logs."""

import asyncio
import contextlib
import http.client
import json
import logging
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_clients import (
    GUARD,
    code_of,
    eventually,
    free,
    hp2,
    raw,
    rest,
    rest_predict,
    running,
    stubs_of,
)

import rwgen.serving.server
from rwgen import InvalidInputError
from rwgen.serving import Server, TlsConfig, serve_until_signal
from rwgen.serving.listeners import Listeners


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
        Server(free(tls=TlsConfig(key=b"none", certificate=b"none")), [hp2(saved)]).start()
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


def test_stopping_without_a_drain_does_not_wait_for_requests(saved, held):
    server = Server(free(), [hp2(saved)])
    server.start()
    with stubs_of(server) as stubs, ThreadPoolExecutor(2) as pool, held.released_at_end():
        call = pool.submit(stubs.y, [[1.0, 1.0]], signature="slow")
        held.wait_for_run()
        stopping = pool.submit(server.stop, drain=False)
        assert isinstance(call.exception(GUARD), grpc.RpcError)  # while the run is held back
        held.release()
        stopping.result(GUARD)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(saved, held, number):
    previous = signal.getsignal(number)
    server = Server(free(), [hp2(saved)])
    server.start()

    def call(stubs, index):
        if index % 2:
            return rest_predict(server, [[index, index]], "slow")
        return stubs.y([[index, index]], signature="slow")

    with stubs_of(server) as stubs, ThreadPoolExecutor(9) as pool, held.released_at_end():
        calls = [pool.submit(call, stubs, index) for index in range(8)]

        def stopping():
            try:
                return rest(server, "GET", "/v1/models/hp2")[0] == 503
            except ConnectionError:
                return True

        def interrupt():
            eventually(lambda: signal.getsignal(number) != previous)
            try:
                eventually(lambda: server.in_flight == 8)
            finally:
                signal.pthread_kill(threading.main_thread().ident, number)
            eventually(stopping)
            held.release()

        interrupting = pool.submit(interrupt)
        assert serve_until_signal(server) == 0
        interrupting.result(GUARD)
        for index, item in enumerate(calls):
            row = [0.5 * index + 2] * 2
            expected = (200, {"predictions": [row]}) if index % 2 else [row]
            assert item.result(GUARD) == expected
    assert signal.getsignal(number) == previous


def test_a_server_that_ends_on_its_own_is_a_failure(saved, monkeypatch):
    monkeypatch.setattr("rwgen.serving.server._WATCH_SECONDS", 0.01)
    monkeypatch.setattr(Listeners, "is_listening", False)
    assert serve_until_signal(Server(free(), [hp2(saved)])) == 1


def test_rest_that_cannot_listen_is_no_start():
    listeners = Listeners(free())
    with socket.create_server(("127.0.0.1", listeners.rest_port)):
        with pytest.raises(InvalidInputError, match=r"free address for REST\. .*in use"):
            listeners.start(None, ())
        assert not listeners.is_listening
    listeners.stop(0)


@pytest.mark.parametrize("failure", [OSError("gone"), None])
def test_a_server_whose_rest_fails_ends_as_a_failure(saved, monkeypatch, failure):
    served, log = threading.Event(), rwgen.serving.server.log

    def noted(level, event, **fields):
        log(level, event, **fields)
        if event == "serving":
            served.set()

    async def fail(_uvicorn):
        while not served.is_set():
            await asyncio.sleep(0.01)
        if failure is not None:
            raise failure

    monkeypatch.setattr("rwgen.serving.server.log", noted)
    monkeypatch.setattr("uvicorn.Server.main_loop", fail)
    server = Server(free(), [hp2(saved)])
    assert serve_until_signal(server) == 1
    assert server.wait(0)


def test_health_says_so_during_the_drain(saved, held):
    server = Server(free(), [hp2(saved)])
    server.start()
    seen = []
    with stubs_of(server) as stubs, ThreadPoolExecutor(3) as pool, held.released_at_end():
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=GUARD)

        def watch():
            with contextlib.suppress(grpc.RpcError):
                seen.extend(response.status for response in watching)

        watcher = pool.submit(watch)
        eventually(lambda: seen)
        call = pool.submit(stubs.y, [[1.0, 1.0]], signature="slow")
        held.wait_for_run()
        stopping = pool.submit(server.stop)
        eventually(lambda: len(seen) > 1)
        watching.cancel()
        held.release()
        for item in (watcher, call, stopping):
            item.result(GUARD)
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert seen == [serving, not_serving]


def test_requests_during_the_drain_are_unavailable(saved, monkeypatch):
    announced, tried = threading.Event(), threading.Event()

    async def farewell(_grace):
        announced.set()
        await asyncio.to_thread(tried.wait, GUARD)

    monkeypatch.setattr("rwgen.serving.listeners._farewell", farewell)
    server = Server(free(), [hp2(saved)])
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=GUARD)
    with (
        stubs_of(server) as stubs,
        contextlib.closing(connection),
        ThreadPoolExecutor(1) as pool,
    ):
        connection.request("GET", "/v1/models/hp2")
        assert connection.getresponse().read()
        assert stubs.y([2.0]) == [3.0]
        stopping = pool.submit(server.stop)
        try:
            assert announced.wait(GUARD)
            connection.request("GET", "/v1/models/hp2")
            response = connection.getresponse()
            assert "shutting down" in json.loads(response.read())["error"]
            assert (response.status, response.headers["connection"]) == (503, "close")
            assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.UNAVAILABLE
        finally:
            tried.set()
        stopping.result(GUARD)
