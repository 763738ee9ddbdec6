"""Predictions from arrays to arrays, shared by REST and gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.batching import Batcher, Task, deadline_exceeded
from rwgen.serving.models.inference import Classification, Inference, Regression, joined
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import Signature

INLINE_BYTES = 1 << 15
"""Messages up to this size are converted in the event loop, larger ones in another thread, so that
they do not block the loop."""

Result = TypeVar("Result")


class Predictor:
    """Runs signatures through the batcher.

    Args:
        batcher: queue in front of the models.
        codec: threads that convert long messages.
        join_all: whether requests for every signature may share a run, rather than only for those
            that are known to be per image.
    """

    def __init__(self, batcher: Batcher, codec: Executor, *, join_all: bool) -> None:
        self._batcher = batcher
        self._codec = codec
        self._join_all = join_all

    async def predict(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, NDArray[Any]],
        deadline: float,
        api: str = "Predict",
    ) -> dict[str, NDArray[Any]]:
        """Run a signature and return all of its outputs.

        Args:
            servable: a version that stays leased until this returns.
            signature: a signature of `servable`.
            inputs: inputs with valid names and dtypes.
            deadline: deadline on the clock of `time.monotonic`.
            api: name of the method in metrics.

        Raises:
            ServingError: UNAVAILABLE, DEADLINE_EXCEEDED, or an error of the model.
        """
        task = Task(
            target=servable,
            signature=signature,
            inputs={**signature.defaults, **inputs},
            deadline=deadline,
            joinable=self._join_all or signature.per_image,
            api=api,
        )
        self._batcher.submit(task)
        try:
            async with before(deadline):
                return await asyncio.wrap_future(task.future)
        finally:
            if not task.future.done() or task.future.cancelled():
                self._batcher.discard(task)

    async def infer(
        self,
        servable: Servable,
        inferences: Sequence[Inference],
        examples: NDArray[Any],
        deadline: float,
        api: str,
    ) -> list[Classification | Regression]:
        """Classify or regress examples by some signatures, in one run of the model.

        Args:
            servable: a version that stays leased until this returns.
            inferences: inferences with signatures of `servable`.
            examples: serialized examples.
            deadline: deadline on the clock of `time.monotonic`.
            api: name of the method in metrics.

        Returns:
            A result for each inference.

        Raises:
            ServingError: see `predict`, or the outputs are not as the inferences need them.
        """
        signature = joined(inferences)
        inputs = dict.fromkeys(signature.inputs, examples)
        outputs = await self.predict(servable, signature, inputs, deadline, api)
        return [inference.result(outputs, len(examples)) for inference in inferences]

    async def convert(self, size: int, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function that encodes or decodes a message.

        Args:
            size: approximate size of the message in bytes.
            function: function to call, in another thread if the message is long.
            *args: arguments of the function.
        """
        if size <= INLINE_BYTES:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._codec, function, *args)


@contextlib.asynccontextmanager
async def before(deadline: float) -> AsyncIterator[None]:
    """Interrupt the context at a deadline.

    Args:
        deadline: deadline on the clock of `time.monotonic`.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise deadline_exceeded() from None


def total_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> int:
    """Return the total size of some arrays in bytes."""
    return sum(array.nbytes for array in arrays.values())
