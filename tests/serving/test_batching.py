"""The queue in front of a model: what runs together, what waits, and what is refused."""

import threading
import time

import numpy as np
import pytest
from serving_clients import GUARD

from rwgen.serving.batching import Batcher, Task
from rwgen.serving.models.spec import DTYPES, Signature, TensorInfo
from rwgen.serving.status import Code, ServingError

FLOAT = DTYPES[1]


def signature(first=None, name="s"):
    info = TensorInfo(FLOAT, (first, 2) if first != "any" else None)
    return Signature(name, {"x": info}, {"y": info})


class Model:
    """Doubles its input. While `gate` is closed, runs block."""

    name = "m"

    def __init__(self):
        self.sizes = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def run(self, _signature, inputs):
        self.sizes.append(len(inputs["x"]))
        self.entered.release()
        assert self.gate.wait(GUARD)
        if (inputs["x"] < 0).any():
            raise ServingError(Code.INVALID_ARGUMENT, "negative")
        return {"y": inputs["x"] * 2}


def task(model, rows=1, value=1.0, seconds=GUARD, used=None, width=2, joinable=True):
    return Task(
        target=model,
        signature=used or signature(),
        inputs={"x": np.full((rows, width), value, np.float32)},
        deadline=time.monotonic() + seconds,
        joinable=joinable,
    )


@pytest.fixture
def make():
    made = []

    def build(**values):
        defaults = {
            "max_batch_size": 8,
            "max_batch_bytes": 1 << 20,
            "batch_timeout": 0.0,
            "max_queued": 100,
            "threads": 1,
            "observe": lambda model, api, requests, seconds: None,
        }
        made.append(Batcher(**{**defaults, **values}))
        return made[-1]

    yield build
    for batcher in made:
        batcher.close()


def submit_behind(model, batcher, tasks):
    """Submit tasks while a first one keeps the model busy, then let it finish."""
    model.gate.clear()
    first = task(model)
    batcher.submit(first)
    assert model.entered.acquire(timeout=GUARD)
    for item in tasks:
        batcher.submit(item)
    model.gate.set()
    return first


def test_requests_that_wait_run_together_and_get_their_own_rows(make):
    model, batcher = Model(), make()
    tasks = [task(model, rows, value) for rows, value in ((1, 3.0), (2, 4.0), (3, 5.0))]
    submit_behind(model, batcher, tasks)
    for item, (rows, value) in zip(tasks, ((1, 6.0), (2, 8.0), (3, 10.0)), strict=True):
        np.testing.assert_array_equal(item.future.result(GUARD)["y"], np.full((rows, 2), value))
    assert model.sizes == [1, 6]


def test_no_batch_is_larger_than_it_may_be(make):
    model, batcher = Model(), make(max_batch_size=4)
    tasks = [task(model, rows) for rows in (3, 2, 2, 9, 1)]
    submit_behind(model, batcher, tasks)
    for item in tasks:
        item.future.result(GUARD)
    assert model.sizes == [1, 3, 4, 9, 1]
    model, batcher = Model(), make(max_batch_bytes=16)
    tasks = [task(model) for _ in range(4)]
    submit_behind(model, batcher, tasks)
    for item in tasks:
        item.future.result(GUARD)
    assert model.sizes == [1, 2, 2]


def test_only_what_fits_together_runs_together(make):
    model, other, batcher = Model(), Model(), make()
    tasks = [
        task(model),
        task(other),
        task(model, used=signature(name="t")),
        task(model, width=3),
        task(model, used=signature(first=1)),
        task(model, used=signature(first="any")),
        task(model, rows=0),
        task(model, joinable=False),
        task(model),
    ]
    submit_behind(model, batcher, tasks)
    for item in tasks:
        item.future.result(GUARD)
    assert sorted(model.sizes) == [0, 1, 1, 1, 1, 1, 1, 2]
    assert other.sizes == [1]


def test_one_that_is_wrong_fails_alone(make):
    model, batcher = Model(), make()
    tasks = [task(model, value=value) for value in (1.0, -1.0, 2.0)]
    submit_behind(model, batcher, tasks)
    assert tasks[0].future.result(GUARD)["y"][0, 0] == 2
    assert tasks[2].future.result(GUARD)["y"][0, 0] == 4
    with pytest.raises(ServingError, match="negative"):
        tasks[1].future.result(GUARD)


def test_an_idle_model_is_not_waited_for(make):
    model, batcher = Model(), make(batch_timeout=3600)
    item = task(model)
    batcher.submit(item)
    item.future.result(GUARD)


@pytest.fixture
def busy(make):
    """A model and a batcher with two threads, one of which is running the model."""

    def build(**values):
        model, batcher = Model(), make(threads=2, **values)
        model.gate.clear()
        batcher.submit(task(model))
        assert model.entered.acquire(timeout=GUARD)
        return model, batcher

    return build


def test_a_second_thread_waits_for_a_full_batch_while_the_model_is_busy(busy):
    model, batcher = busy(batch_timeout=3600, max_batch_size=2)
    tasks = [task(model), task(model)]
    for item in tasks:
        batcher.submit(item)
    assert model.entered.acquire(timeout=GUARD)
    model.gate.set()
    for item in tasks:
        item.future.result(GUARD)
    assert model.sizes == [1, 2]


def test_a_second_thread_waits_no_longer_than_the_timeout(busy):
    model, batcher = busy(batch_timeout=0.05)
    start = time.monotonic()
    item = task(model)
    batcher.submit(item)
    assert model.entered.acquire(timeout=GUARD)  # although the first run has not ended
    assert time.monotonic() - start >= 0.05
    model.gate.set()
    item.future.result(GUARD)
    assert model.sizes == [1, 1]


def test_a_full_queue_turns_away(make):
    model, batcher = Model(), make(max_queued=2)
    model.gate.clear()
    batcher.submit(task(model))
    assert model.entered.acquire(timeout=GUARD)
    waiting = [task(model), task(model)]
    for item in waiting:
        batcher.submit(item)
    with pytest.raises(ServingError, match=r"queue .* is full") as caught:
        batcher.submit(task(model))
    assert caught.value.code == Code.UNAVAILABLE
    batcher.discard(waiting[0])
    batcher.discard(waiting[0])
    batcher.submit(task(model))  # a place has become free
    model.gate.set()
    waiting[1].future.result(GUARD)


def test_what_is_too_late_or_cancelled_does_not_run(make):
    model, batcher = Model(), make()
    late, cancelled = task(model, seconds=-1.0), task(model)
    cancelled.future.cancel()
    submit_behind(model, batcher, [late, cancelled]).future.result(GUARD)
    with pytest.raises(ServingError, match="Deadline") as caught:
        late.future.result(GUARD)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    batcher.close()
    assert model.sizes == [1]


def test_a_closed_queue_fails_what_waits(make):
    model, batcher = Model(), make()
    model.gate.clear()
    batcher.submit(task(model))
    assert model.entered.acquire(timeout=GUARD)
    waiting = task(model)
    batcher.submit(waiting)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(ServingError, match="shutting down"):
        waiting.future.result(GUARD)
    model.gate.set()
    closing.join(GUARD)
    with pytest.raises(ServingError, match="shutting down"):
        batcher.submit(task(model))


def test_outputs_without_a_batch_are_run_one_by_one(make):
    class Sums(Model):
        def run(self, name, inputs):
            return {"y": super().run(name, inputs)["y"].sum(axis=0)}

    model, batcher = Sums(), make()
    tasks = [task(model, width=3), task(model, width=3)]
    submit_behind(model, batcher, tasks)
    for item in tasks:
        np.testing.assert_array_equal(item.future.result(GUARD)["y"], [2, 2, 2])
    assert model.sizes == [1, 2, 1, 1]
