"""What an optimisation tells: its steps, its result, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray


class StopReason(StrEnum):
    """Why an optimisation ended."""

    MAX_ITERATIONS = "max_iterations"
    GRADIENT_TOLERANCE = "gradient_tolerance"
    NO_PROGRESS = "no_progress"
    """Neither the search nor a restart from the best point finds a lower loss: with float32
    this is the end of what its rounding can resolve."""
    CALLBACK = "callback"


@dataclass(frozen=True)
class Step:
    """Where an optimisation stands.

    Attributes:
        iteration: L-BFGS iterations so far, over all restarts.
        evaluations: evaluations of objective and gradient so far.
        loss: the lowest loss so far.
        terms: the terms of that loss.
        seconds: wall time so far, compilation included.
        gradient_norm: Euclidean norm of the loss's gradient with respect to what is searched, at
            the point that the search is at; infinite without a loss.
    """

    iteration: int
    evaluations: int
    loss: float
    terms: dict[str, float]
    seconds: float
    gradient_norm: float


@dataclass(frozen=True)
class Solution:
    """The best point of an optimisation and how it was reached.

    Attributes:
        image: the best point, of the start's shape; the tasks return RGB in 0..255, not clipped.
        initial_loss: loss of the start.
        loss: loss of `image`, the lowest of all evaluated points.
        terms: the terms of `loss`.
        history: one entry for the start and one for each chunk.
        iterations: L-BFGS iterations.
        evaluations: evaluations of objective and gradient.
        restarts: restarts of L-BFGS from the best point.
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
"""Called for the start and after each chunk with the step and a function that returns the best
point so far; a true result ends the optimisation."""
