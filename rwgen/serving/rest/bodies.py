"""Request bodies, read within limits of time, size and total memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from rwgen.serving.admission import Slot, too_large
from rwgen.serving.status import Code, ServingError

DISCARDED_SHARE = 2
"""A refused body is read up to this multiple of the maximum body size before the connection is
closed: a client that is still sending at that moment would not see the response."""


class ClientGoneError(ServingError):
    """The client has disconnected. It gets no response."""

    def __init__(self) -> None:
        super().__init__(Code.CANCELLED, "The client has disconnected")


class Body:
    """The body of one request.

    Args:
        scope: ASGI scope of the request.
        receive: ASGI callable that returns the parts of the body.
        max_bytes: maximum size of the body.
        timeout: seconds within which the whole body must arrive.

    Attributes:
        is_gzip: whether the body is in gzip format.
        ended: whether the whole body has been read.
    """

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int, timeout: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._due = asyncio.get_running_loop().time() + timeout
        headers = Headers(scope=scope)
        # h11 has checked that it is a number of at most 20 digits.
        self._declared = int(headers.get("content-length", 0))
        # Such a client sends the body once the server begins to read it.
        self._awaited = headers.get("expect", "").lower() == "100-continue"
        self._encoding = headers.get("content-encoding", "identity").strip().lower()
        self.is_gzip = self._encoding in ("gzip", "x-gzip")
        self.ended = False

    async def read(self, slot: Slot) -> bytes:
        """Read the whole body, as it was sent.

        Args:
            slot: the request's share of the limits.

        Raises:
            ServingError: with HTTP status 413 for a body that is too large, 415 for an encoding
                other than gzip, and 408 for one that arrives too late; UNAVAILABLE if the server
                holds too many bytes.
            ClientGoneError: the client disconnects.
        """
        if not self.is_gzip and self._encoding != "identity":
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"expected a body in gzip format, or not encoded. Received: {self._encoding:.60}",
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        if self._declared > self._max_bytes:
            raise too_large("The request body", self._max_bytes)
        chunks: list[bytes] = []
        size = 0
        while not self.ended:
            chunk = await self._next()
            size += len(chunk)
            if size > self._max_bytes:
                raise too_large("The request body", self._max_bytes)
            slot.grow(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    async def discard(self) -> None:
        """Read and drop what is left of a body that is about to be refused.

        A client that waits for the server before it sends the body is not asked for it.

        Raises:
            ClientGoneError: the client disconnects.
        """
        if self._awaited:
            return
        size = 0
        try:
            while not self.ended and size <= DISCARDED_SHARE * self._max_bytes:
                size += len(await self._next())
        except ServingError:  # too late; the request is refused anyway
            return

    async def _next(self) -> bytes:
        self._awaited = False
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
