"""One gRPC call: reading its message, its deadline, its admission, and its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from rwgen.serving.admission import Slot
from rwgen.serving.backend import Backend, Record
from rwgen.serving.predict import before
from rwgen.serving.status import ServingError, invalid

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Call:
    """A call whose message has arrived.

    Attributes:
        data: the serialized message.
        slot: the call's share of the limits.
        record: the call's record.
        deadline: deadline of the client or the server, whichever is earlier, on the clock of
            `time.monotonic`.
    """

    data: bytes
    slot: Slot
    record: Record
    deadline: float


Handler = Callable[[Call], Awaitable[bytes]]


def method_handler(method: str, handler: Handler, backend: Backend) -> grpc.RpcMethodHandler:
    """Make the gRPC handler of a method.

    Messages are received as bytes, so that a malformed one is answered like any other error. They
    are received as a stream of one message, which is the same on the wire: gRPC has no timeout for
    the message of a unary call.

    Args:
        method: name of the method, for the log.
        handler: returns the serialized response.
        backend: supplies limits, admission and records.
    """

    async def answer(requests: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            with (
                backend.turns.call(),
                backend.record("GRPC", method=method) as record,
                backend.gate.admit() as slot,
            ):
                record.api = method
                deadline = record.start + min(
                    backend.config.request_timeout, _time_remaining(context)
                )
                read_deadline = min(deadline, record.start + backend.config.read_timeout)
                data = await _receive(requests, read_deadline)
                slot.grow(len(data))
                return await handler(Call(data, slot, record, deadline))
        except ServingError as error:
            await context.abort(_CODES[int(error.code)], error.message)
            raise  # not reached: abort raises

    return grpc.stream_unary_rpc_method_handler(answer)


async def _receive(requests: AsyncIterator[bytes], deadline: float) -> bytes:
    async with before(deadline):
        async for data in requests:
            return data
    raise invalid("expected a request message. Received: none")


def _time_remaining(context: Any) -> float:
    seconds = context.time_remaining()
    return float("inf") if seconds is None else float(seconds)
