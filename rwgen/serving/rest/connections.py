"""HTTP connections with limits that uvicorn lacks: their number, and timeouts for slow clients."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
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


def tls_protocol(
    http: type[H11Protocol], context: ssl.SSLContext, max_connections: int, timeout: float
) -> type[asyncio.Protocol]:
    """Return a protocol that completes the handshake of TLS and then speaks HTTP.

    With a server of asyncio that does so itself, connections would neither count nor be known
    before the end of the handshake.

    Args:
        http: protocol made by `limited_protocol`.
        context: certificates.
        max_connections: see `limited_protocol`; the number includes those of `http`.
        timeout: seconds for the handshake.
    """

    class TlsProtocol(asyncio.Protocol):
        def __init__(self, **arguments: Any) -> None:
            self._arguments = arguments
            self._connections = arguments["server_state"].connections
            self._early: list[bytes] = []
            self._lost = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._transport = transport
            self._connections.add(self)
            if len(self._connections) > max_connections:
                transport.abort()
            else:
                loop = asyncio.get_running_loop()
                self._handshake = loop.create_task(self._upgrade(loop))

        async def _upgrade(self, loop: asyncio.AbstractEventLoop) -> None:
            try:
                with contextlib.suppress(OSError):  # also errors of TLS and timeouts
                    transport = await loop.start_tls(
                        self._transport,
                        self,
                        context,
                        server_side=True,
                        ssl_handshake_timeout=timeout,
                        ssl_shutdown_timeout=timeout,
                    )
                    if transport is not None and not self._lost:
                        protocol = http(**self._arguments)
                        transport.set_protocol(protocol)
                        protocol.connection_made(transport)
                        for data in self._early:
                            protocol.data_received(data)
            finally:
                self._connections.discard(self)

        def data_received(self, data: bytes) -> None:
            # A request may follow the handshake in the same packet.
            self._early.append(data)

        def connection_lost(self, _error: Exception | None) -> None:
            self._lost = True
            self._connections.discard(self)

        def shutdown(self) -> None:
            """Close the connection, because the server stops."""
            self._transport.abort()

    return TlsProtocol


def _cancelled(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
    return None
