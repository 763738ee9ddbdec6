"""A prediction from arrays to arrays, the same for REST and gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.batching import Batcher, Task, deadline_exceeded
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import Signature

INLINE_BYTES = 1 << 15
"""Messages up to this size are read and written at once; longer ones by another thread, so that
the event loop goes on meanwhile."""

Result = TypeVar("Result")


class Predictor:
    """Runs signatures through the batcher.

    Args:
        batcher: the queue before the models.
        codec: threads that read and write long messages.
    """

    def __init__(self, batcher: Batcher, codec: Executor) -> None:
        self._batcher = batcher
        self._codec = codec

    async def predict(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, NDArray[Any]],
        deadline: float,
    ) -> dict[str, NDArray[Any]]:
        """Give all outputs of a signature.

        Args:
            servable: leased until this returns.
            signature: one of its own.
            inputs: checked by name, type and shape.
            deadline: as `time.monotonic` counts.

        Raises:
            ServingError: UNAVAILABLE, DEADLINE_EXCEEDED, or the model's own.
        """
        task = Task(
            target=servable,
            signature=signature,
            inputs={**signature.defaults, **inputs},
            deadline=deadline,
        )
        self._batcher.submit(task)
        try:
            async with before(deadline):
                return await asyncio.wrap_future(task.future)
        finally:
            if not task.future.done() or task.future.cancelled():
                self._batcher.discard(task)

    async def convert(self, size: int, function: Callable[..., Result], *args: Any) -> Result:
        """Read or write a message.

        Args:
            size: its bytes, about.
            function: does it.
            args: its arguments.
        """
        if size <= INLINE_BYTES:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._codec, function, *args)


@contextlib.asynccontextmanager
async def before(deadline: float) -> AsyncIterator[None]:
    """Leave the context at the deadline at the latest.

    Args:
        deadline: as `time.monotonic` counts.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise deadline_exceeded() from None


def total_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> int:
    """What arrays take together."""
    return sum(array.nbytes for array in arrays.values())
