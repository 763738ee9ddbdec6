"""HTTP connections with limits that uvicorn lacks: their number, and timeouts for slow clients."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def limited_protocol(max_connections: int, timeout: float) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with limits on connections.

    The size of the headers is limited by h11, the size of the body by the application.

    Args:
        max_connections: maximum number of open connections; further ones are closed immediately.
        timeout: seconds within which the headers of a request must arrive, and within which the
            client must read what was written.
    """

    class LimitedProtocol(H11Protocol):
        _headers_due: asyncio.TimerHandle | None = None
        _answer_due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                transport.abort()
            else:
                self._headers_due = self._abort_later()

        def data_received(self, data: bytes) -> None:
            if self._headers_due is None and self.conn.their_state is h11.IDLE:
                self._headers_due = self._abort_later()
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._headers_due = _cancelled(self._headers_due)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer_due = self._abort_later()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._answer_due = _cancelled(self._answer_due)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._headers_due = _cancelled(self._headers_due)
            self._answer_due = _cancelled(self._answer_due)

        def _abort_later(self) -> asyncio.TimerHandle:
            return self.loop.call_later(timeout, self.transport.abort)

    return LimitedProtocol


def _cancelled(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
    return None
