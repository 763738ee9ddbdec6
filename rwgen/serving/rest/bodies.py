"""Request bodies: read within their time, their size, and the room that there is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import Message, Receive, Scope

from rwgen.serving.admission import Slot
from rwgen.serving.status import Code, ServingError

DISCARDED_SHARE = 2
"""How often the largest body's size is read of one that is refused: a client that still sends
when the connection is closed would not see the answer."""


class ClientGoneError(Exception):
    """Nobody waits for an answer any more."""


class Body:
    """The body of one request.

    Args:
        scope: of the request, with its headers.
        receive: gives the parts.
        max_bytes: its size at the most.
        timeout: seconds in which all of it must arrive.
    """

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int, timeout: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._due = asyncio.get_running_loop().time() + timeout
        lengths = [value for key, value in scope["headers"] if key == b"content-length"]
        # h11 has found them to be numbers of at most 20 digits.
        self._declared = int(lengths[0]) if lengths else 0
        self.ended = False

    async def read(self, slot: Slot) -> bytes:
        """The whole body.

        Args:
            slot: where its bytes are counted.

        Raises:
            ServingError: with 413 for a body that is too large and 408 for one that is too late;
                UNAVAILABLE, if there is no room for it.
            ClientGoneError: it breaks off.
        """
        if self._declared > self._max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while not self.ended:
            chunk = await self._next()
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            slot.grow(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    async def discard(self) -> None:
        """Read what comes and keep none of it, before the request is refused.

        Raises:
            ClientGoneError: it breaks off.
        """
        size = 0
        try:
            while not self.ended and size <= DISCARDED_SHARE * self._max_bytes:
                size += len(await self._next())
        except ServingError:  # too late, but the request is refused anyway
            return

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._due):
                message: Message = await self._receive()
        except TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                "The request did not arrive in time",
                HTTPStatus.REQUEST_TIMEOUT,
            ) from None
        if message["type"] != "http.request":
            raise ClientGoneError
        self.ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def _too_large(self) -> ServingError:
        return ServingError(
            Code.INVALID_ARGUMENT,
            f"Request body is larger than {self._max_bytes} bytes",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
