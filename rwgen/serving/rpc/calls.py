"""One gRPC call: its message in time, its deadline, its place among all, and its errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from rwgen.serving.admission import Gate, Slot
from rwgen.serving.logs import log
from rwgen.serving.models.servable import as_serving_error
from rwgen.serving.predict import before
from rwgen.serving.status import Code, ServingError, invalid

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Call:
    """A call whose message has arrived.

    Attributes:
        data: the message, not parsed.
        slot: where its bytes are counted.
        start: when the call began, as `time.monotonic` counts.
        deadline: the client's or the server's, whichever is sooner.
    """

    data: bytes
    slot: Slot
    start: float
    deadline: float


Handler = Callable[[Call], Awaitable[bytes]]


def method_handler(
    method: str, handler: Handler, gate: Gate, request_timeout: float, read_timeout: float
) -> grpc.RpcMethodHandler:
    """What a server needs to answer calls of a method.

    Messages come as bytes, so that one that cannot be read is answered like other errors. They
    come as a stream of one, which is the same on the wire: how long a server waits for the
    message of a call that has only one cannot be limited.

    Args:
        method: for logs.
        handler: gives the answer's bytes.
        gate: admits calls.
        request_timeout: seconds that a call may take.
        read_timeout: seconds in which its message must arrive.
    """

    async def answer(requests: AsyncIterator[bytes], context: Any) -> bytes:
        start = time.monotonic()
        status = Code.CANCELLED
        try:
            deadline = start + min(request_timeout, _time_remaining(context))
            with gate.admit() as slot:
                data = await _receive(requests, min(deadline, start + read_timeout))
                slot.grow(len(data))
                result = await handler(Call(data, slot, start, deadline))
            status = Code.OK
            return result
        except asyncio.CancelledError:  # the client has gone
            raise
        except Exception as error:
            failure = as_serving_error(error)
            status = failure.code
            await _abort(context, failure)
        finally:
            log(
                logging.ERROR if status == Code.INTERNAL else logging.DEBUG,
                "request",
                api="GRPC",
                method=method,
                status=status.name,
                seconds=time.monotonic() - start,
            )

    return grpc.stream_unary_rpc_method_handler(answer)


async def _receive(requests: AsyncIterator[bytes], deadline: float) -> bytes:
    async with before(deadline):
        async for data in requests:
            return data
    raise invalid("expected a request message. Received: none")


async def _abort(context: Any, error: ServingError) -> NoReturn:
    await context.abort(_CODES[int(error.code)], error.message)
    raise error


def _time_remaining(context: Any) -> float:
    seconds = context.time_remaining()
    return float("inf") if seconds is None else float(seconds)
