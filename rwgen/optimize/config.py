"""Settings of the optimizer; the command line takes its defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rwgen.checks import check_choice, check_count, check_number

LineSearch = Literal["wolfe_first", "hager_zhang"]
"""How L-BFGS finds its step: the full step if it satisfies the Wolfe conditions, else the search of
Hager and Zhang; or that search always, as `tfp.optimizer.lbfgs_minimize` does."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How L-BFGS runs.

    Attributes:
        max_iterations: L-BFGS iterations at the most, restarts included.
        num_correction_pairs: pairs of differences that approximate the curvature (20, as in the
            code of Gatys et al. that the paper builds on).
        gradient_tolerance: stop when the largest gradient component has fallen below this share
            of what it was at the start.
        first_step: root mean square of the first trial step, in network input units (1 is the
            range from black to white). L-BFGS tries -gradient first, so the loss is scaled to
            make it this long.
        line_search: see `LineSearch`; `wolfe_first` needs a third of the evaluations.
        max_line_search_iterations: of the Hager-Zhang line search in one iteration.
        max_restarts: how often a search that cannot go on is restarted, without its memory, from
            the best point.
        iterations_per_chunk: iterations between two callbacks.
        jit_compile: compile the objective with XLA.
        winograd: on a CPU, compute convolutions of many channels by Winograd's algorithm, which
            takes half the time and rounds a little more (docs/performance.md).
    """

    max_iterations: int = 200
    num_correction_pairs: int = 20
    gradient_tolerance: float = 1e-6
    first_step: float = 0.05
    line_search: LineSearch = "wolfe_first"
    max_line_search_iterations: int = 20
    max_restarts: int = 5
    iterations_per_chunk: int = 1
    jit_compile: bool = True
    winograd: bool = True

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        for key in ("num_correction_pairs", "max_line_search_iterations", "iterations_per_chunk"):
            check_count(key, getattr(self, key), 1)
        for key in ("max_iterations", "max_restarts"):
            check_count(key, getattr(self, key), 0)
        check_choice("line_search", self.line_search, get_args(LineSearch))
        check_number("gradient_tolerance", self.gradient_tolerance)
        check_number("first_step", self.first_step, exclusive=True)
