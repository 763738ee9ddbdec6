"""Steps and result of an optimization, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray


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


Callback = Callable[[Step, Callable[[], NDArray[Any]]], bool | None]
"""Called at the start and after each chunk with the step and a function that returns the best point
so far. Returning True ends the optimization."""
