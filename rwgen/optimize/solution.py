"""Steps and result of an optimization, and why it ended."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from rwgen.errors import InvalidInputError


class StopReason(StrEnum):
    """Why an optimization ended."""

    MAX_ITERATIONS = "max_iterations"
    GRADIENT_TOLERANCE = "gradient_tolerance"
    NO_PROGRESS = "no_progress"
    """Neither the search nor a restart from the best point finds a lower loss: in float32, this is
    the limit of its rounding."""
    CALLBACK = "callback"


@dataclass(frozen=True)
class Step:
    """State of an optimization after an iteration.

    Attributes:
        iteration: number of iterations so far, over all restarts.
        evaluations: number of evaluations of objective and gradient so far.
        loss: lowest loss so far.
        terms: terms of that loss, by name.
        seconds: wall time so far, compilation included.
        gradient_norm: Euclidean norm of the gradient of the loss with respect to the point that is
            searched, at the current point; infinite if the loss is not finite.
    """

    iteration: int
    evaluations: int
    loss: float
    terms: dict[str, float]
    seconds: float
    gradient_norm: float


@dataclass(frozen=True)
class Solution:
    """The best point of an optimization and how it was reached.

    Attributes:
        image: the best point, of the start's shape; the tasks return RGB in 0..255, not clipped.
        initial_loss: loss of the start, of a coarse-to-fine search at its first and smallest size.
        loss: loss of `image`, the lowest of all evaluated points.
        terms: the terms of `loss`.
        history: one entry for the start and one per chunk.
        iterations: number of iterations.
        evaluations: number of evaluations of objective and gradient.
        restarts: number of restarts from the best point.
        seconds: wall time, compilation included.
        stop_reason: why it ended.
    """

    image: NDArray[Any]
    initial_loss: float
    loss: float
    terms: dict[str, float]
    history: tuple[Step, ...]
    iterations: int
    evaluations: int
    restarts: int
    seconds: float
    stop_reason: StopReason


@dataclass(frozen=True)
class Snapshot(Step):
    """A step with the image, for callbacks of one argument."""

    _best: Callable[[], NDArray[Any]] = field(repr=False, compare=False)

    @property
    def image(self) -> NDArray[Any]:
        """The best image so far, as in `Solution.image`; computed when asked for."""
        return self._best()


StepCallback = Callable[[Step, Callable[[], NDArray[Any]]], bool | None]
"""Takes the step and a function that returns the best point so far."""

Callback = Callable[[Snapshot], bool | None] | StepCallback
"""Called at the start and after each chunk, with one argument, a `Snapshot`, or, if it takes two,
as a `StepCallback`. Returning True ends the optimization."""


def step_callback(callback: Callback | None) -> StepCallback | None:
    """A callback of two arguments from one of either form.

    Raises:
        InvalidInputError: it cannot be called with one argument or two.
    """
    if callback is None:
        return None
    function: Callable[..., bool | None] = callback
    if _takes(function, 2):
        return function
    if _takes(function, 1):
        return lambda step, best: function(Snapshot(**vars(step), _best=best))
    raise InvalidInputError(
        "callback: expected a function of one argument, a snapshot with iteration, loss and image. "
        f"Received: {callback!r:.100}"
    )


def _takes(function: Callable[..., Any], count: int) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a built-in function that does not tell
        return count == 1
    return True
