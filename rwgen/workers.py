"""Parallel map: apply a function in other processes, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from rwgen.checks import check_count
from rwgen.errors import InvalidInputError, WorkerError

Runner = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Applies a function to each value and yields the results in order, like the built-in `map`."""

CALLS_PER_PROCESS = 8
"""Average number of calls before a process is replaced: TensorFlow never frees compiled code."""

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
            with _executor(min(num_workers, len(batch))) as executor:
                yield from executor.map(function, batch)

    try:
        yield run
    except BrokenProcessPool:
        raise WorkerError(
            "expected worker processes to finish. Received: one that was killed; "
            "use fewer workers if memory ran out"
        ) from None


@contextlib.contextmanager
def _executor(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(
        num_workers,
        # Forking would not copy TensorFlow's threads.
        multiprocessing.get_context("spawn"),
        initializer=_initialize_worker,
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


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
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            raise WorkerError(
                f"expected worker processes to finish. Received: {' '.join(str(error).split())}"
            ) from None


def _connect(address: str) -> None:
    """Check that HOST:PORT accepts connections. Other addresses have special meanings for Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECTION_SECONDS).close()
