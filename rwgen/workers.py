"""Functions applied to many values in other processes, on this machine or on a Ray cluster."""

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

from rwgen.errors import InvalidInputError, WorkerError

Runner = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Applies a function to every value and yields the results in order, like the built-in `map`."""

CALLS_PER_PROCESS = 8
"""Calls on average after which a process is replaced: TensorFlow never frees what it compiled."""

CONNECTION_SECONDS = 10
"""How long a cluster may take to answer."""


@contextlib.contextmanager
def process_runner(num_workers: int) -> Iterator[Runner]:
    """Processes on this machine; they end with the context. Their standard error is not shown.

    Args:
        num_workers: processes at a time, from 1.

    Yields:
        A runner for functions and values that can be pickled.

    Raises:
        InvalidInputError: `num_workers` is out of range.
        WorkerError: a process was killed, for example for lack of memory.
    """
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        raise InvalidInputError(f"expected a number of workers from 1. Received: {num_workers!r}")

    def run(function: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        waiting = iter(values)
        # Not `max_tasks_per_child`, with which an executor can come to a standstill for ever.
        while batch := list(itertools.islice(waiting, num_workers * CALLS_PER_PROCESS)):
            with _executor(min(num_workers, len(batch))) as executor:
                yield from executor.map(function, batch)

    try:
        yield run
    except BrokenProcessPool:
        raise WorkerError(
            "expected workers that live until they are done. Received: one that was killed; "
            "choose fewer workers if memory was short"
        ) from None


@contextlib.contextmanager
def _executor(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(
        num_workers,
        # A forked copy of TensorFlow's threads would not run.
        multiprocessing.get_context("spawn"),
        initializer=_leave_messages_to_the_parent,
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _leave_messages_to_the_parent() -> None:
    """In a process of its own: Ctrl-C reaches all, and TensorFlow prints lines at its start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """An executor's process would else wait for ever where its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def ray_runner(address: str) -> Iterator[Runner]:
    """Processes of a Ray cluster, one core each.

    Args:
        address: as `ray.init` takes it: `local` starts a cluster on this machine, `auto` finds the
            one that runs there, `ray://HOST:PORT` is another.

    Yields:
        A runner for functions and values that can be pickled; rwgen must be installed there.

    Raises:
        InvalidInputError: Ray is not installed, or nothing answers at the address.
        WorkerError: a process was lost.
    """
    try:
        import ray
    except ImportError:
        raise InvalidInputError(
            'expected Ray for a cluster. Received: no such package; pip install "rwgen[ray]"'
        ) from None
    try:
        _connect(address)  # Ray itself would try for minutes
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"expected a Ray cluster at {address!r}. Received: {' '.join(str(error).split())}"
        ) from None

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
            "expected workers that live until they are done. Received: "
            f"{' '.join(str(error).split())}"
        ) from None
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Find out whether anything answers at HOST:PORT; other addresses are Ray's own words."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECTION_SECONDS).close()
