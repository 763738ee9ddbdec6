"""Limits on the number of requests that a server holds, and on their total size."""

from __future__ import annotations

import contextlib
import threading
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
