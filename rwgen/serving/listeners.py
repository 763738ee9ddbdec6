"""The sockets of REST and gRPC, and the event loop that serves them."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from starlette.types import ASGIApp

from rwgen.errors import InvalidInputError
from rwgen.serving.config import ServerConfig
from rwgen.serving.logs import log
from rwgen.serving.rest.connections import limited_protocol, tls_protocol
from rwgen.serving.rpc.services import MODEL_SERVICE, PREDICTION_SERVICE
from rwgen.serving.tls import server_context, server_credentials

KEEP_ALIVE = 60
"""Seconds that a REST connection may be idle between two requests."""

GRPC_IDLE_SECONDS = 300
"""Seconds that a gRPC connection may be idle."""

BACKLOG = 512
"""Number of connections that may wait to be accepted."""

MAX_HEADER_BYTES = 1 << 16
"""Maximum size of the headers of a request."""

FAREWELL = 0.25
"""Seconds between the announcement of a shutdown and closing connections, during which clients that
are just sending a request still get a response."""

_SERVICES = ("", PREDICTION_SERVICE, MODEL_SERVICE)


class Listeners:
    """Both interfaces of a server.

    Args:
        config: addresses and limits.

    Attributes:
        rest_port: TCP port of REST, or None.
        grpc_port: TCP port of gRPC after `start`, or None.

    Raises:
        InvalidInputError: the REST port is not available, or the certificates are invalid.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        tls = config.tls
        self._context = None if tls is None else server_context(tls)
        self._credentials = None if tls is None else server_credentials(tls)
        self._socket: socket.socket | None = None
        self.rest_port: int | None = None
        if config.rest_port is not None:
            self._socket = _listen(config.host, config.rest_port)
            self.rest_port = self._socket.getsockname()[1]
        self.grpc_port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._grace = 0.0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, app: ASGIApp, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Start listening, in a background thread.

        Args:
            app: application that answers REST requests.
            handlers: handlers that answer gRPC requests.

        Raises:
            InvalidInputError: the port of an interface is not available.
        """
        ready = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self._main(app, handlers, ready))
            except BaseException as error:
                self._error = error
                log(logging.ERROR, "listeners_failed", error=error)
            finally:
                ready.set()

        self._thread = threading.Thread(target=run, name="rwgen-listeners", daemon=True)
        self._thread.start()
        ready.wait()
        if self._error is not None:
            raise self._error

    @property
    def is_listening(self) -> bool:
        """Whether both interfaces are up."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, grace: float) -> None:
        """Stop accepting requests, and return when those in flight have finished.

        Args:
            grace: seconds after which requests in flight fail instead.
        """
        self._grace = grace
        if self._thread is not None:
            if self._loop is not None and self._stop is not None and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    async def _main(
        self, app: ASGIApp, handlers: Sequence[grpc.GenericRpcHandler], ready: threading.Event
    ) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_log_exception)
        services = grpc.aio.server(options=_grpc_options(self._config))
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, services)
        services.add_generic_rpc_handlers(tuple(handlers))
        self._add_addresses(services)
        await services.start()
        # Without REST, a task that never ends takes its place.
        web = uvicorn.Server(_uvicorn_config(self._config, app, self._context))
        sockets = None if self._socket is None else [self._socket]
        serving: asyncio.Task[Any] = asyncio.create_task(
            asyncio.Event().wait() if sockets is None else web.serve(sockets)
        )
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while sockets and not web.started and not serving.done():
                await asyncio.sleep(0.005)
            if sockets and not web.started:
                address = f"{self._config.host}:{self.rest_port}"
                raise _no_free_address("REST", f"{address}: {serving.exception()}")
            for name in _SERVICES:
                await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
            ready.set()
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                raise serving.exception() or RuntimeError("REST ended")
            await servicer.enter_graceful_shutdown()
            # Closing a connection loses a request that its client is sending at that moment, and
            # gRPC cancels calls that it has not dispatched yet. So clients are warned first:
            # requests already fail with UNAVAILABLE, and REST responses ask to close.
            web.server_state.default_headers.append((b"connection", b"close"))
            await _farewell(self._grace)
            web.config.timeout_graceful_shutdown = math.ceil(self._grace)
        finally:
            stopping.cancel()
            web.should_exit = True
            if sockets is None:
                serving.cancel()
            await asyncio.gather(serving, services.stop(self._grace), return_exceptions=True)

    def _add_addresses(self, services: grpc.aio.Server) -> None:
        if self._config.grpc_port is not None:
            host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
            self.grpc_port = self._add_address(services, f"{host}:{self._config.grpc_port}")
        if self._config.grpc_socket is not None:
            self._add_address(services, f"unix:{self._config.grpc_socket}")

    def _add_address(self, services: grpc.aio.Server, address: str) -> int:
        try:
            if self._credentials is None:
                port = services.add_insecure_port(address)
            else:
                port = services.add_secure_port(address, self._credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise _no_free_address("gRPC", address)
        return int(port)


async def _farewell(grace: float) -> None:
    await asyncio.sleep(min(FAREWELL, grace))


def _listen(host: str, port: int) -> socket.socket:
    """Bind a socket. Clients cannot connect before the server is ready."""
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        raise _no_free_address("REST", f"{host}:{port}: {error}") from None
    return listener


def _no_free_address(interface: str, received: str) -> InvalidInputError:
    return InvalidInputError(f"expected a free address for {interface}. Received: {received}")


def _grpc_options(config: ServerConfig) -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_receive_message_length", config.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # More than may run, so that excess calls fail instead of waiting silently.
        ("grpc.max_concurrent_streams", 2 * config.max_concurrent_requests + 16),
        ("grpc.server_handshake_timeout_ms", math.ceil(config.read_timeout * 1000)),
        # Clients reconnect when they need to.
        ("grpc.max_connection_idle_ms", GRPC_IDLE_SECONDS * 1000),
        # Otherwise two servers could share a port, and each would get some of the requests.
        ("grpc.so_reuseport", 0),
        *config.grpc_options,
    ]


def _uvicorn_config(
    config: ServerConfig, app: ASGIApp, context: ssl.SSLContext | None
) -> uvicorn.Config:
    limits = (config.max_connections, config.read_timeout)
    plain = limited_protocol(*limits)
    http = plain if context is None else tls_protocol(plain, context, *limits)
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    # With two event loops in a process, gRPC wakes up both, and one finds nothing to read.
    level = logging.DEBUG if isinstance(error, BlockingIOError) else logging.ERROR
    log(level, "loop_error", message=context.get("message"), error=error)
