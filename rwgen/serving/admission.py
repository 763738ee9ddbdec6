"""Limits on the number and total size of the requests that a server holds, and their order."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus

from rwgen.serving.status import Code, ServingError


def too_large(what: str, limit: int) -> ServingError:
    """Return the error for a part of a request that is larger than the limit of one request.

    Args:
        what: the part.
        limit: maximum number of bytes.
    """
    return ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"{what} is larger than {limit} bytes",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def check_inputs(size: int, limit: int) -> None:
    """Check the total size of the tensors of a request.

    Raises:
        ServingError: RESOURCE_EXHAUSTED.
    """
    if size > limit:
        raise too_large(f"The total size of the inputs, {size} bytes,", limit)


class Slot:
    """The share of one request in the limits of a `Gate`.

    Attributes:
        size: bytes that the request holds.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.size = 0

    def grow(self, size: int) -> None:
        """Reserve further bytes for the request.

        Raises:
            ServingError: UNAVAILABLE, if the limit would be exceeded.
        """
        self._gate.reserve(size)
        self.size += size


class Gate:
    """Admits requests within limits.

    Args:
        max_requests: maximum number of concurrent requests.
        max_bytes: maximum number of bytes that they may hold together.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0
        self._closed = False

    @property
    def requests(self) -> int:
        """Number of admitted requests."""
        return self._requests

    @contextlib.contextmanager
    def admit(self) -> Iterator[Slot]:
        """Admit a request for the duration of the context.

        Raises:
            ServingError: UNAVAILABLE, if there are too many requests or the gate is closed.
        """
        with self._lock:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            if self._requests >= self._max_requests:
                raise ServingError(Code.UNAVAILABLE, "Too many concurrent requests")
            self._requests += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            with self._lock:
                self._requests -= 1
                self._bytes -= slot.size

    def reserve(self, size: int) -> None:
        """Reserve bytes, which are released at the end of the request."""
        with self._lock:
            if self._bytes + size > self._max_bytes:
                raise ServingError(Code.UNAVAILABLE, "Concurrent requests hold too many bytes")
            self._bytes += size

    def close(self) -> None:
        """Admit no further requests."""
        with self._lock:
            self._closed = True


class Turns:
    """Lets REST and gRPC take turns on the event loop that they share.

    Without turns, REST crowds out gRPC: all REST requests that have arrived are handled in one pass
    of the loop, however long that takes, whereas gRPC needs several passes to accept a single call.
    So while gRPC is active, a REST request needs a ticket. Each gRPC call issues some, and an idle
    loop issues all. Requests that wait for tickets are let in as a group, since many short passes
    take longer than a few long ones.
    """

    MAX_TICKETS = 8
    """Number of tickets that can be issued at a time, and size of a group."""

    TICKETS_PER_CALL = 2
    """A gRPC call takes about twice as long to handle as a REST request."""

    ACTIVE_SECONDS = 0.05
    """Time after its last call during which gRPC counts as active."""

    TICK_SECONDS = 0.001
    """Interval of checks whether the loop is idle."""

    def __init__(self) -> None:
        self._tickets = self.MAX_TICKETS
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last_call = -math.inf
        self._events = 0
        self._ticking = False

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Handle a gRPC call in the context."""
        self._last_call = time.monotonic()
        self._events += 1
        self._issue(self.TICKETS_PER_CALL)
        try:
            yield
        finally:
            self._events += 1

    async def wait(self) -> None:
        """Wait for the turn of a REST request. Requests are let in in the order of their calls."""
        if time.monotonic() > self._last_call + self.ACTIVE_SECONDS and not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if not self._ticking:
            self._ticking = True
            self._tick_later(loop)
        if self._tickets and not self._waiting:
            self._tickets -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _issue(self, count: int) -> None:
        self._tickets = min(self._tickets + count, self.MAX_TICKETS)
        if self._tickets < min(len(self._waiting), self.MAX_TICKETS):
            return
        while self._waiting and self._tickets:
            turn = self._waiting.popleft()
            if not turn.done():  # a request may have been cancelled while it waited
                turn.set_result(None)
                self._tickets -= 1

    def _tick_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self.TICK_SECONDS, self._tick, loop, time.monotonic(), self._events)

    def _tick(self, loop: asyncio.AbstractEventLoop, begun: float, events: int) -> None:
        # A busy loop calls late. Timers have a resolution of a millisecond.
        is_late = time.monotonic() > begun + 2.5 * self.TICK_SECONDS
        if self._events == events and not is_late:
            self._issue(self.MAX_TICKETS)
        self._ticking = bool(self._waiting) or self._tickets < self.MAX_TICKETS
        if self._ticking:
            self._tick_later(loop)
