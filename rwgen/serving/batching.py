"""A queue that combines waiting requests into batches.

Requests can share a batch if their outputs do not depend on each other, they ask for the same
version and signature, and their inputs have the same shapes apart from dimension 0.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.logs import log
from rwgen.serving.models.spec import Signature
from rwgen.serving.status import Code, ServingError

Arrays = Mapping[str, NDArray[Any]]


class Runnable(Protocol):
    """A loaded version of a model, which runs signatures."""

    name: str

    def run(self, signature: Signature, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return all outputs of a signature, or raise `ServingError`."""
        ...


@dataclass(eq=False, kw_only=True)
class Task:
    """A waiting request.

    Attributes:
        target: version that runs the request.
        signature: signature to run.
        inputs: all inputs of the signature.
        deadline: deadline on the clock of `time.monotonic`.
        joinable: whether the request may share a run with others.
        api: name of the method in metrics.
        future: the outputs by name, or a `ServingError`.
        rows: size of dimension 0, which all inputs share; None if the request must run alone.
        key: key shared by the requests that can run in one batch.
        size: size of the inputs in bytes.
        arrival: arrival on the clock of `time.monotonic`.
    """

    target: Runnable
    signature: Signature
    inputs: Arrays
    deadline: float
    joinable: bool
    api: str = "Predict"
    future: Future[dict[str, NDArray[Any]]] = field(default_factory=Future)
    rows: int | None = field(init=False)
    key: Hashable = field(init=False)
    size: int = field(init=False)
    arrival: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Set the size, and the rows and key that decide about batches."""
        arrays = self.inputs.values()
        self.size = sum(array.nbytes for array in arrays)
        self.rows = None
        self.key = object()
        if self.joinable and self.signature.has_batch and all(array.ndim for array in arrays):
            sizes = {len(array) for array in arrays}
            if len(sizes) == 1 and sizes != {0}:
                (self.rows,) = sizes
                shapes = ((name, array.shape[1:]) for name, array in sorted(self.inputs.items()))
                self.key = (id(self.target), self.signature.name, *shapes)


class Batcher:
    """A queue of requests, and the threads that run them.

    While nothing runs, a request is run immediately, together with any that are waiting. While the
    model is busy, requests wait up to `batch_timeout` for others to share their batch.

    Args:
        max_batch_size: maximum number of rows of a batch.
        max_batch_bytes: maximum size of the inputs of a batch.
        batch_timeout: maximum waiting time in seconds.
        max_queued: maximum number of waiting requests.
        threads: number of batches that run concurrently.
        observe: called after every run with the name of the model, the `api` of the requests, their
            number, and the seconds it took.
    """

    def __init__(
        self,
        *,
        max_batch_size: int,
        max_batch_bytes: int,
        batch_timeout: float,
        max_queued: int,
        threads: int,
        observe: Callable[[str, str, int, float], None],
    ) -> None:
        self._max_rows = max_batch_size
        self._max_bytes = max_batch_bytes
        self._timeout = batch_timeout
        self._max_queued = max_queued
        self._observe = observe
        self._changed = threading.Condition()
        self._groups: OrderedDict[Hashable, deque[Task]] = OrderedDict()
        self._queued = 0
        self._running = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"rwgen-batch-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Queue a request, whose `future` will receive the outputs.

        Raises:
            ServingError: UNAVAILABLE, if the queue is full or closed.
        """
        with self._changed:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            if self._queued >= self._max_queued:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full",
                )
            self._groups.setdefault(task.key, deque()).append(task)
            self._queued += 1
            self._changed.notify()

    def discard(self, task: Task) -> None:
        """Remove an abandoned request from the queue, if it is still there."""
        with self._changed:
            group = self._groups.get(task.key)
            if group is not None and task in group:
                group.remove(task)
                self._queued -= 1
                if not group:
                    del self._groups[task.key]

    def close(self) -> None:
        """Fail all waiting requests, and end the threads after the running batches."""
        with self._changed:
            self._closed = True
            left = [task for group in self._groups.values() for task in group]
            self._groups.clear()
            self._queued = 0
            self._changed.notify_all()
        for task in left:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(
                    ServingError(Code.UNAVAILABLE, "The server is shutting down")
                )
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                _run(batch, self._observe)
            finally:
                with self._changed:
                    self._running -= 1
                    # The model may be idle now, so that waiting requests can run.
                    self._changed.notify()
            # An idle thread must not keep the arrays of its last batch alive.
            del batch

    def _next_batch(self) -> list[Task] | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                now = time.monotonic()
                batch, ready_at = self._take(now)
                if batch:
                    self._running += 1
                    return batch
                self._changed.wait(None if ready_at is None else max(0.0, ready_at - now))

    def _take(self, now: float) -> tuple[list[Task], float | None]:
        """Return a batch that is ready, or an empty one and the time when one will be."""
        ready_at: float | None = None
        for key, group in self._groups.items():
            batch = self._fitting(group)
            rest = len(group) - len(batch)
            waited_until = group[0].arrival + self._timeout
            if not self._running or rest or self._is_full(batch) or waited_until <= now:
                for _ in batch:
                    group.popleft()
                self._queued -= len(batch)
                if rest:
                    # What is left arrived later than the first requests of other groups.
                    self._groups.move_to_end(key)
                    self._changed.notify()
                else:
                    del self._groups[key]
                return batch, None
            ready_at = waited_until if ready_at is None else min(ready_at, waited_until)
        return [], ready_at

    def _is_full(self, batch: list[Task]) -> bool:
        """Return whether no request could join a batch, such as one that must run alone."""
        rows = [task.rows for task in batch if task.rows is not None]
        return not rows or sum(rows) >= self._max_rows

    def _fitting(self, group: deque[Task]) -> list[Task]:
        """Return the first requests of a group that fit into one batch, at least one."""
        batch: list[Task] = []
        rows = size = 0
        for task in group:
            rows += task.rows or 0
            size += task.size
            if batch and (rows > self._max_rows or size > self._max_bytes):
                break
            batch.append(task)
        return batch


def _run(batch: list[Task], observe: Callable[[str, str, int, float], None]) -> None:
    """Run a batch, and give each request its outputs or its error."""
    now = time.monotonic()
    live = []
    for task in batch:
        if not task.future.set_running_or_notify_cancel():
            continue
        if task.deadline <= now:
            task.future.set_exception(deadline_exceeded())
        else:
            live.append(task)
    if len(live) > 1:
        try:
            results = _run_together(live)
        except Exception:
            # One request may be invalid: run each alone, so that only that one fails.
            log(logging.DEBUG, "batch_failed", requests=len(live))
        else:
            observe(live[0].target.name, live[0].api, len(live), time.monotonic() - now)
            for task, outputs in zip(live, results, strict=True):
                task.future.set_result(outputs)
            return
    for task in live:
        start = time.monotonic()
        try:
            outputs = task.target.run(task.signature, task.inputs)
        except Exception as error:
            task.future.set_exception(error)
        else:
            observe(task.target.name, task.api, 1, time.monotonic() - start)
            task.future.set_result(outputs)


def _run_together(tasks: list[Task]) -> list[dict[str, NDArray[Any]]]:
    first = tasks[0]
    inputs = {name: np.concatenate([task.inputs[name] for task in tasks]) for name in first.inputs}
    outputs = first.target.run(first.signature, inputs)
    total = sum(task.rows or 0 for task in tasks)
    if any(array.shape[:1] != (total,) for array in outputs.values()):
        raise ServingError(Code.INTERNAL, "Dimension 0 of an output is not the batch")
    results, start = [], 0
    for task in tasks:
        end = start + (task.rows or 0)
        results.append({name: array[start:end] for name, array in outputs.items()})
        start = end
    return results


def deadline_exceeded() -> ServingError:
    """Return the error of a request whose deadline has passed."""
    return ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the response was ready")
