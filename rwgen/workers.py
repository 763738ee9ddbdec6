"""Parallel map: apply a function in other processes, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwgen.checks import check_count
from rwgen.errors import InvalidInputError, WorkerError

Runner = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Applies a function to each value and yields the results in order, like the built-in `map`."""

CALLS_PER_PROCESS = 8
"""Average number of calls before a process is replaced: TensorFlow never frees compiled code."""

CALLS_PER_KEPT_PROCESS = 32
"""The same for calls that mostly compute the same: processes keep what they have compiled."""


@dataclass(frozen=True)
class Attempt:
    """A call that has ended.

    Attributes:
        index: Position of its value.
        result: What it returned; None if it failed.
        error: The exception that it raised, or a `WorkerError` if its process was lost.
    """

    index: int
    result: Any = None
    error: BaseException | None = None


Attempts = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Attempt]]
"""Applies a function to each value and yields the calls as they end; a call that fails, or whose
process is killed, leaves the others alone."""

CONNECTION_SECONDS = 10
"""Timeout of the connection to a cluster."""


@contextlib.contextmanager
def process_runner(num_workers: int) -> Iterator[Runner]:
    """Run functions in processes on this machine, which end with the context.

    The standard error of the processes is discarded. What libraries print there on standard output,
    such as Keras' progress of a download, goes to the standard error of this process.

    Args:
        num_workers: Maximum number of concurrent processes, at least 1.

    Yields:
        A runner for functions and values that can be pickled.

    Raises:
        InvalidInputError: `num_workers` is out of range.
        WorkerError: A process was killed, for example because memory ran out.
    """
    check_count("num_workers", num_workers, 1)

    def run(function: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        waiting = iter(values)
        # Not `max_tasks_per_child`, with which an executor can deadlock.
        while batch := list(itertools.islice(waiting, num_workers * CALLS_PER_PROCESS)):
            executor = _executor(min(num_workers, len(batch)))
            try:
                yield from executor.map(function, batch)
            finally:
                executor.shutdown(cancel_futures=True)

    try:
        yield run
    except BrokenProcessPool:
        raise WorkerError(
            "expected worker processes to finish. Received: one that was killed; "
            "use fewer workers if memory ran out"
        ) from None


def process_attempts(num_workers: int) -> Attempts:
    """Run functions in processes on this machine, which stay alive from call to call.

    What they print is treated as in `process_runner`.

    Args:
        num_workers: Maximum number of concurrent processes, at least 1.

    Raises:
        InvalidInputError: `num_workers` is out of range.
    """
    check_count("num_workers", num_workers, 1)

    def run(function: Callable[[Any], Any], values: Sequence[Any]) -> Iterator[Attempt]:
        waiting = iter(enumerate(values))
        idle = [_KeptProcess() for _ in range(min(num_workers, len(values)))]
        running: dict[Future[Any], tuple[int, _KeptProcess]] = {}
        try:
            while True:
                for index, value in itertools.islice(waiting, len(idle)):
                    process = idle.pop()
                    running[process.submit(function, value)] = index, process
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index, process = running.pop(future)
                    idle.append(process)
                    yield _ended(index, future)
        finally:
            for process in [*idle, *(process for _, process in running.values())]:
                process.end()

    return run


class _KeptProcess:
    """A process for one call at a time. If it is killed, the next call starts another one.

    An executor of several processes ends them all, and fails all their calls, when one is killed.
    """

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._calls = 0

    def submit(self, function: Callable[[Any], Any], value: Any) -> Future[Any]:
        """Begin a call."""
        if self._calls == CALLS_PER_KEPT_PROCESS:
            self.end()
        for _ in range(2):
            self._executor = self._executor or _executor(1)
            try:
                future = self._executor.submit(function, value)
            except BrokenProcessPool:
                self.end()
            else:
                self._calls += 1
                return future
        raise WorkerError("expected a process that starts. Received: one that was killed at once")

    def end(self) -> None:
        """End the process, after the call that it runs."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._executor, self._calls = None, 0


def _ended(index: int, future: Future[Any]) -> Attempt:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        error = WorkerError(
            "expected the worker process to finish. Received: one that was killed; use fewer "
            "workers if memory ran out"
        )
    return Attempt(index, error=error) if error is not None else Attempt(index, future.result())


def _executor(num_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        num_workers,
        # Forking would not copy TensorFlow's threads.
        multiprocessing.get_context("spawn"),
        initializer=_initialize_worker,
    )


def _initialize_worker() -> None:
    """Let Ctrl-C end the process, redirect what it prints, and end it with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # closed
        os.dup2(2, 1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """End this process, which would otherwise wait forever if its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def ray_cluster(address: str) -> Iterator[None]:
    """Connect to a Ray cluster, or start one, for the time of the context.

    Args:
        address: Address for `ray.init`: `local` starts a cluster on this machine, `auto` connects
            to the running one, `ray://HOST:PORT` to one elsewhere. rwgen must be installed on it.

    Raises:
        InvalidInputError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise InvalidInputError(
            'expected Ray to be installed. Received: no such package; pip install "rwgen[ray]"'
        ) from None
    try:
        _connect(address)  # Ray itself retries for minutes
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"expected a Ray cluster at {address!r}. Received: {' '.join(str(error).split())}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def ray_runner(address: str) -> Iterator[Runner]:
    """Run functions in processes of a Ray cluster, one core each.

    Args:
        address: Address of the cluster, see `ray_cluster`.

    Yields:
        A runner for functions and values that can be pickled.

    Raises:
        InvalidInputError: Ray is not installed, or the cluster cannot be reached.
        WorkerError: A process was lost.
    """
    with ray_cluster(address):
        import ray

        def run(function: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
            remote = ray.remote(max_calls=CALLS_PER_PROCESS)(function)
            for reference in [remote.remote(value) for value in values]:
                yield ray.get(reference)

        try:
            yield run
        except ray.exceptions.RayError as error:
            raise _ray_failure(ray, error) from None


@contextlib.contextmanager
def ray_attempts(address: str, num_cpus: int = 1) -> Iterator[Attempts]:
    """Run functions in processes of a Ray cluster, which stay alive from call to call.

    Args:
        address: Address of the cluster, see `ray_cluster`.
        num_cpus: Number of cores of a call.

    Yields:
        See `Attempts`. Ray does not repeat a call whose process was lost.

    Raises:
        InvalidInputError: Ray is not installed, or the cluster cannot be reached.
    """
    with ray_cluster(address):
        import ray

        def run(function: Callable[[Any], Any], values: Sequence[Any]) -> Iterator[Attempt]:
            remote = ray.remote(num_cpus=num_cpus, max_calls=CALLS_PER_KEPT_PROCESS, max_retries=0)(
                _apply
            )
            calls = [remote.remote(function, value) for value in values]
            running = {reference: index for index, reference in enumerate(calls)}
            while running:
                (reference,), _ = ray.wait(list(running), num_returns=1)
                index = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield Attempt(index, error=_ray_failure(ray, error))
                else:
                    yield Attempt(index, result)

        # Ray prints there that a process was lost, in several lines.
        with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null):
            yield run


def _apply(function: Callable[[Any], Any], value: Any) -> Any:
    return function(value)  # Ray takes functions only, not what else can be called


def _ray_failure(ray: Any, error: Exception) -> BaseException:
    """The exception that a call raised, or a `WorkerError`."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause: BaseException = error.as_instanceof_cause()
        return cause
    return WorkerError(
        f"expected worker processes to finish. Received: {' '.join(str(error).split())}"
    )


def _connect(address: str) -> None:
    """Check that HOST:PORT accepts connections. Other addresses have special meanings for Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECTION_SECONDS).close()
