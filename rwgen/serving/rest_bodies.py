"""Request bodies: read within their time, their size, and the room that there is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.requests import Request

from rwgen.serving.admission import Slot
from rwgen.serving.status import Code, ServingError

DISCARDED_SHARE = 2
"""How often the largest body's size is read of one that is refused: a client that still sends
when the connection is closed would not see the answer."""


async def read_body(request: Request, slot: Slot, max_bytes: int, timeout: float) -> bytes:
    """Read the whole body of a request.

    Args:
        request: not read yet.
        slot: where its bytes are counted.
        max_bytes: its size at the most.
        timeout: seconds.

    Raises:
        ServingError: with 413 for a body that is too large and 408 for one that is too late;
            UNAVAILABLE, if there is no room for it.
        ClientDisconnect: nobody waits for an answer.
    """
    declared = request.headers.get("content-length", "")
    try:
        async with asyncio.timeout(timeout):
            if declared.isdigit() and int(declared[:20]) > max_bytes:
                raise await _refused(request, _too_large(max_bytes), max_bytes)
            chunks: list[bytes] = []
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    chunks.clear()
                    raise await _refused(request, _too_large(max_bytes), max_bytes)
                try:
                    slot.grow(len(chunk))
                except ServingError as error:
                    chunks.clear()
                    raise await _refused(request, error, max_bytes) from None
                chunks.append(chunk)
            return b"".join(chunks)
    except TimeoutError:
        raise too_late() from None


async def discard_body(request: Request, max_bytes: int, timeout: float) -> None:
    """Read what comes and keep none of it, before a request is refused.

    Args:
        request: at whichever place.
        max_bytes: of the largest body that would not be refused.
        timeout: seconds.

    Raises:
        ServingError: with 408, if it is too late.
        ClientDisconnect: nobody waits for an answer.
    """
    try:
        async with asyncio.timeout(timeout):
            await _skip(request, max_bytes)
    except TimeoutError:
        raise too_late() from None


def too_late() -> ServingError:
    """The error of a client that has not sent its request in time."""
    return ServingError(
        Code.DEADLINE_EXCEEDED, "The request did not arrive in time", HTTPStatus.REQUEST_TIMEOUT
    )


def _too_large(max_bytes: int) -> ServingError:
    return ServingError(
        Code.INVALID_ARGUMENT,
        f"Request body is larger than {max_bytes} bytes",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


async def _refused(request: Request, error: ServingError, max_bytes: int) -> ServingError:
    await _skip(request, max_bytes)
    return error


async def _skip(request: Request, max_bytes: int) -> None:
    size = 0
    more = True
    while more and size <= DISCARDED_SHARE * max_bytes:
        # Not `stream`, which cannot be begun again in the middle.
        message = await request.receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
