"""Settings of the optimizer; the command line takes its defaults from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rwgen.checks import check_choice, check_count, check_number, normalize_fields

LineSearch = Literal["wolfe_first", "hager_zhang"]
"""Line search of L-BFGS.

`wolfe_first` takes the full step if it satisfies the Wolfe conditions, and otherwise uses the
search of Hager and Zhang; `hager_zhang` always uses the latter, as `tfp.optimizer.lbfgs_minimize`
does."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of L-BFGS.

    Attributes:
        max_iterations: maximum number of iterations, restarts included.
        num_correction_pairs: number of pairs of differences that approximate the curvature (20, as
            in the code of Gatys et al. that the paper builds on). Styles and textures of more than
            a megapixel keep fewer, so that they fit into memory: six at 2048x1536 pixels.
        gradient_tolerance: stop when the largest gradient component falls below this fraction of
            its value at the start.
        first_step: root mean square of the first trial step, in network input units (1 is the
            range from black to white). L-BFGS first tries -gradient, so the loss is scaled to give
            this length.
        line_search: see `LineSearch`; `wolfe_first` needs a third of the evaluations.
        max_line_search_iterations: maximum number of iterations of one Hager-Zhang search.
        max_restarts: maximum number of restarts from the best point, with an empty history of
            pairs, after a line search has failed.
        iterations_per_chunk: number of iterations between two callbacks.
        jit_compile: whether to compile the objective with XLA; None compiles a task's searches that
            are long enough to repay the seconds of compilation (docs/performance.md).
        winograd: on a CPU, use Winograd's algorithm for convolutions of many channels where the
            objective is compiled, which takes half the time and rounds slightly more
            (docs/performance.md).
    """

    max_iterations: int = 200
    num_correction_pairs: int = 20
    gradient_tolerance: float = 1e-6
    first_step: float = 0.05
    line_search: LineSearch = "wolfe_first"
    max_line_search_iterations: int = 20
    max_restarts: int = 5
    iterations_per_chunk: int = 1
    jit_compile: bool | None = None
    winograd: bool = True

    def __post_init__(self) -> None:
        normalize_fields(self)
        for key in ("num_correction_pairs", "max_line_search_iterations", "iterations_per_chunk"):
            check_count(key, getattr(self, key), 1)
        for key in ("max_iterations", "max_restarts"):
            check_count(key, getattr(self, key), 0)
        check_choice("line_search", self.line_search, get_args(LineSearch))
        check_number("gradient_tolerance", self.gradient_tolerance)
        check_number("first_step", self.first_step, exclusive=True)
