"""How many requests, and how many bytes, a server holds at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rwgen.serving.status import Code, ServingError


class Slot:
    """The place of one request among all."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.size = 0

    def grow(self, size: int) -> None:
        """Count further bytes that the request holds.

        Raises:
            ServingError: UNAVAILABLE, if there is no room for them.
        """
        self._gate.reserve(size)
        self.size += size


class Gate:
    """Admits requests as long as there is room.

    Args:
        max_requests: at a time.
        max_bytes: of all of them at a time.
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
        """Requests at this time."""
        return self._requests

    @contextlib.contextmanager
    def admit(self) -> Iterator[Slot]:
        """A place for a request as long as the context.

        Raises:
            ServingError: UNAVAILABLE, if there is none.
        """
        with self._lock:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            if self._requests >= self._max_requests:
                raise ServingError(Code.UNAVAILABLE, "Too many requests at a time")
            self._requests += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            with self._lock:
                self._requests -= 1
                self._bytes -= slot.size

    def reserve(self, size: int) -> None:
        """Count bytes, which the request's end takes off again."""
        with self._lock:
            if self._bytes + size > self._max_bytes:
                raise ServingError(Code.UNAVAILABLE, "Requests of too many bytes at a time")
            self._bytes += size

    def close(self) -> None:
        """Admit no further requests."""
        with self._lock:
            self._closed = True
