"""REST and gRPC take turns on the event loop that they share."""

import asyncio
import math
import subprocess
import sys

import pytest
import tensorflow as tf
from serving_clients import GUARD, eventually, running, stubs_of
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from rwgen.serving.admission import Turns


def in_loop(main):
    return asyncio.run(asyncio.wait_for(main(), GUARD))


async def let_in(turns, count, calls=0):
    """Return the numbers of the requests that are let in while gRPC accepts some calls."""
    numbers = []

    async def request(number):
        await turns.wait()
        numbers.append(number)

    tasks = [asyncio.create_task(request(number)) for number in range(count)]
    await asyncio.sleep(0)
    for _ in range(calls):
        with turns.call():
            pass
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return numbers


@pytest.fixture
def never_idle(monkeypatch):
    monkeypatch.setattr(Turns, "TICK_SECONDS", 3600)


@pytest.mark.usefixtures("never_idle")
def test_while_grpc_is_not_active_nothing_waits(monkeypatch):
    assert in_loop(lambda: let_in(Turns(), 50)) == list(range(50))

    async def after_a_call():
        turns = Turns()
        with turns.call():
            pass
        return await let_in(turns, 50)

    monkeypatch.setattr(Turns, "ACTIVE_SECONDS", -1)
    assert in_loop(after_a_call) == list(range(50))


@pytest.mark.usefixtures("never_idle")
@pytest.mark.parametrize(
    ("requests", "calls", "expected"),
    [
        (5, 0, 5),  # as many as there are tickets
        (50, 0, 8),
        (50, 3, 8),  # not enough tickets for another group yet
        (50, 4, 16),
        (50, 9, 24),
        (9, 1, 9),  # all that wait are a group
    ],
)
def test_while_grpc_is_active_each_call_lets_requests_in(requests, calls, expected):
    async def main():
        turns = Turns()
        with turns.call():
            return await let_in(turns, requests, calls)

    assert in_loop(main) == list(range(expected))


@pytest.mark.usefixtures("never_idle")
def test_a_request_that_is_cancelled_takes_no_ticket():
    async def main():
        turns = Turns()
        with turns.call():
            await let_in(turns, 20)
            return await let_in(turns, 50, calls=4)

    assert in_loop(main) == list(range(8))


def test_an_idle_loop_lets_all_requests_in(monkeypatch):
    monkeypatch.setattr(Turns, "ACTIVE_SECONDS", math.inf)

    async def main():
        turns = Turns()
        with turns.call():
            await asyncio.gather(*(turns.wait() for _ in range(50)))

    in_loop(main)


# Sends requests on 32 connections, each after the response to its last one, until its input ends.
CLIENTS = """
import asyncio, sys

BODY = b'{"signature_name": "batched", "instances": [1.0, 2.0]}'
HEAD = b"POST /v1/models/hp2:predict HTTP/1.1\\r\\nHost: h\\r\\n"
HEAD += b"Content-Length: %d\\r\\n\\r\\n" % len(BODY)

async def client():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    while True:
        writer.write(HEAD + BODY)
        head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\\r\\n")[0]
        await reader.readexactly(int(length))

async def main():
    clients = [asyncio.create_task(client()) for _ in range(32)]
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def test_grpc_is_not_crowded_out(saved, monkeypatch):
    handled, wait = [], Turns.wait

    async def counted(turns):
        await wait(turns)
        handled.append(1)

    monkeypatch.setattr(Turns, "wait", counted)
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", "batched"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    with running(saved) as server, stubs_of(server) as stubs:
        command = [sys.executable, "-c", CLIENTS, str(server.rest_port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as clients:
            eventually(lambda: len(handled) > 100)
            # On a busy machine, more than that may pass between two calls.
            monkeypatch.setattr(Turns, "ACTIVE_SECONDS", math.inf)
            before = len(handled)
            for _ in range(4):
                calls = [stubs.prediction.Predict.future(request) for _ in range(32)]
                for call in calls:
                    assert call.result(GUARD).outputs["y"].float_val[:] == [2.5, 3.0]
            during = len(handled) - before
            monkeypatch.setattr(Turns, "ACTIVE_SECONDS", 0)
            clients.communicate()
    # Without turns, some 30 for each of the calls.
    assert during / (4 * 32) < 8
