"""The embedded server: REST and gRPC on one event loop in a background thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from rwgen.checks import unexpected
from rwgen.errors import InvalidInputError
from rwgen.serving.admission import Gate, Turns
from rwgen.serving.backend import Backend
from rwgen.serving.batching import Batcher
from rwgen.serving.config import ModelConfig, ServerConfig
from rwgen.serving.listeners import Listeners
from rwgen.serving.logs import log, silence
from rwgen.serving.metrics import Metrics
from rwgen.serving.models.manager import ModelManager
from rwgen.serving.predict import Predictor
from rwgen.serving.rest.app import RestApp
from rwgen.serving.rpc.services import GrpcServices

CODEC_THREADS = 2
"""Number of threads that encode and decode long messages, which bounds the memory they take."""
_WATCH_SECONDS = 1.0
"""Seconds between two checks that the server is still running."""


class Server:
    """Serves models over REST and gRPC until it is stopped.

    As a context manager, the server is started on entry, and drained and stopped on exit. It
    cannot be started again.

    Args:
        config: addresses and limits.
        models: models to serve. There may be none if `model_config_file` is given.

    Raises:
        InvalidInputError: there is no model, or two models have the same name.
    """

    def __init__(self, config: ServerConfig, models: Sequence[ModelConfig]) -> None:
        names = [model.name for model in models]
        is_empty = not names and config.model_config_file is None
        if is_empty or len(set(names)) != len(names):
            raise unexpected("models", "one or more models with distinct names", names)
        self.config = config
        self.metrics = Metrics()
        self._manager = ModelManager(models, config, self.metrics.load)
        self._gate = Gate(config.max_concurrent_requests, config.max_pending_bytes)
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._begun = False
        self._batcher: Batcher | None = None
        self._codec: ThreadPoolExecutor | None = None
        self._listeners: Listeners | None = None

    def start(self) -> None:
        """Load the models, then listen.

        Raises:
            InvalidInputError: no model can be loaded, an address is not available, the
                certificates are invalid, or the server was started before.
        """
        if self._begun:
            raise InvalidInputError("expected a new server. Received: one that was started before")
        self._begun = True
        silence()
        config = self.config
        listeners = Listeners(config)  # before the models, because it fails faster
        try:
            self._manager.start()
        except BaseException:
            listeners.stop(0.0)
            self._manager.stop()
            raise
        self._batcher = Batcher(
            max_batch_size=config.max_batch_size,
            max_batch_bytes=config.max_request_bytes,
            batch_timeout=config.batch_timeout,
            max_queued=config.max_queued_requests,
            threads=config.batch_threads,
            observe=self.metrics.run,
        )
        self._codec = ThreadPoolExecutor(CODEC_THREADS, thread_name_prefix="rwgen-codec")
        backend = Backend(
            config=config,
            manager=self._manager,
            predictor=Predictor(self._batcher, self._codec, join_all=config.enable_batching),
            gate=self._gate,
            turns=Turns(),
            metrics=self.metrics,
        )
        self._listeners = listeners
        try:
            listeners.start(RestApp(backend), GrpcServices(backend).handlers())
        except BaseException:
            self.stop(drain=False)
            raise
        log(
            logging.INFO,
            "serving",
            host=config.host,
            **{name: address for name, address in self._addresses().items() if address is not None},
            models=" ".join(self._manager.names),
        )

    @property
    def rest_port(self) -> int | None:
        """TCP port of REST, while the server runs, or None."""
        return self._running().rest_port

    @property
    def grpc_port(self) -> int | None:
        """TCP port of gRPC, while the server runs, or None."""
        return self._running().grpc_port

    @property
    def is_running(self) -> bool:
        """Whether the server has been started, has not been stopped, and still listens."""
        listeners = self._listeners
        return listeners is not None and listeners.is_listening and not self._stopped.is_set()

    @property
    def in_flight(self) -> int:
        """Number of requests being read, waiting or running."""
        return self._gate.requests

    def stop(self, drain: bool = True) -> None:
        """Stop accepting requests, finish those in flight, and free all resources.

        Args:
            drain: whether to wait up to `drain_timeout` seconds for requests in flight. Otherwise
                they fail immediately.
        """
        with self._stopping:
            if self._stopped.is_set():
                return
            log(logging.INFO, "stopping", drain=drain, in_flight=self.in_flight)
            self._gate.close()
            if self._listeners is not None:
                self._listeners.stop(self.config.drain_timeout if drain else 0.0)
            if self._batcher is not None:
                self._batcher.close()
            if self._codec is not None:
                self._codec.shutdown()
            self._manager.stop()
            log(logging.INFO, "stopped")
            self._stopped.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has stopped.

        Args:
            timeout: maximum number of seconds to wait, or None for no limit.

        Returns:
            Whether the server has stopped.
        """
        return self._stopped.wait(timeout)

    def __enter__(self) -> Server:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Drain and stop."""
        self.stop()

    def _addresses(self) -> dict[str, object]:
        return {
            "rest_port": self.rest_port,
            "grpc_port": self.grpc_port,
            "grpc_socket": self.config.grpc_socket,
        }

    def _running(self) -> Listeners:
        if self._listeners is None:
            raise InvalidInputError("expected a running server. Received: one that was not started")
        return self._listeners


class _Interrupted(BaseException):
    """A signal arrived while the server was starting, which may take long."""


def serve_until_signal(server: Server) -> int:
    """Run a server until SIGTERM or SIGINT, then drain it. Must be called in the main thread.

    A second signal ends the process immediately.

    Args:
        server: a server that is running or was never started.

    Returns:
        The exit code: 0, or 1 if the server ended on its own.

    Raises:
        InvalidInputError: see `Server.start`.
    """
    asked = threading.Event()
    starting = not server.is_running

    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in previous:
            signal.signal(number, signal.SIG_DFL)
        asked.set()
        if starting:
            raise _Interrupted

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, ask)
    try:
        if starting:
            try:
                server.start()
            except _Interrupted:
                server.stop()
                return 0
            starting = False
        while not asked.wait(_WATCH_SECONDS) and server.is_running:
            pass
        failed = not asked.is_set() and not server.wait(0)
        server.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return int(failed)
