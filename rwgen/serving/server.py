"""The embedded server: REST and gRPC on one event loop, in a thread of its own."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, TracebackType

from rwgen.errors import InvalidInputError
from rwgen.serving.admission import Gate
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
"""Long messages that are read or written at a time: what they take meanwhile is bounded by it."""


_WATCH_SECONDS = 1.0


class Server:
    """Serves models over REST and gRPC until it is stopped.

    As a context manager it is started at the beginning and stopped, with a drain, at the end. A
    server is started once.

    Args:
        config: addresses and limits.
        models: what to serve.

    Raises:
        InvalidInputError: no model, or two of one name.
    """

    def __init__(self, config: ServerConfig, models: Sequence[ModelConfig]) -> None:
        names = [model.name for model in models]
        if not names or len(set(names)) != len(names):
            raise InvalidInputError(
                f"models: expected one or more with distinct names. Received: {names!r}"
            )
        self.config = config
        self.metrics = Metrics()
        self._manager = ModelManager(models, config.poll_interval, self.metrics.load)
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
            InvalidInputError: a model cannot be loaded, an address cannot be had, the files for
                TLS are of no use, or the server was started before.
        """
        if self._begun:
            raise InvalidInputError("expected a new server. Received: one started before")
        self._begun = True
        silence()
        config = self.config
        listeners = Listeners(config)  # before the models, because it fails sooner
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
        parts = (
            config,
            self._manager,
            Predictor(self._batcher, self._codec),
            self._gate,
            self.metrics,
        )
        self._listeners = listeners
        try:
            listeners.start(RestApp(*parts), GrpcServices(*parts).handlers())
        except BaseException:
            self.stop(drain=False)
            raise
        log(
            logging.INFO,
            "serving",
            host=config.host,
            rest_port=self.rest_port,
            grpc_port=self.grpc_port,
            models=" ".join(self._manager.names),
        )

    @property
    def rest_port(self) -> int:
        """The TCP port of REST, while the server runs."""
        return self._running().rest_port

    @property
    def grpc_port(self) -> int:
        """The TCP port of gRPC, while the server runs."""
        return self._running().grpc_port

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped, and still listens."""
        listeners = self._listeners
        return listeners is not None and listeners.is_listening and not self._stopped.is_set()

    @property
    def in_flight(self) -> int:
        """Requests that are read, wait or run at this time."""
        return self._gate.requests

    def stop(self, drain: bool = True) -> None:
        """Accept nothing more, finish what is in flight, and free everything.

        Args:
            drain: wait for requests in flight up to `drain_timeout`; else they fail at once.
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
            timeout: seconds at the most, None for any time.

        Returns:
            Whether it has.
        """
        return self._stopped.wait(timeout)

    def __enter__(self) -> Server:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop, with a drain."""
        self.stop()

    def _running(self) -> Listeners:
        if self._listeners is None:
            raise InvalidInputError("expected a server that runs. Received: one not started")
        return self._listeners


def serve_until_signal(server: Server) -> int:
    """Run a server until SIGTERM or SIGINT, then drain it. For the main thread.

    A second signal ends the process at once.

    Args:
        server: not started, or running already.

    Returns:
        The exit code: 0, or 1 if the server ended by itself.

    Raises:
        InvalidInputError: see `Server.start`.
    """
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in previous:
            signal.signal(number, signal.SIG_DFL)
        asked.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, ask)
    try:
        if not server.is_running:
            server.start()
        while not asked.wait(_WATCH_SECONDS) and server.is_running:
            pass
        failed = not asked.is_set() and not server.wait(0)
        server.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return int(failed)
