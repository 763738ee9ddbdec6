"""The pre-image optimizer: TensorFlow Probability's L-BFGS in compiled, resumable chunks.

Only the objective is compiled with XLA. The L-BFGS loop around it is an ordinary graph, because XLA
runs the body of a loop on a CPU in a single thread (docs/architecture.md).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError, OptimizationError
from rwgen.optimize.best_so_far import BestSoFar, TermsFunction, graph_function
from rwgen.optimize.checkpoint import Checkpoint, fingerprint, is_same_or_grown
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.lbfgs import PairProducts, ValueAndGradient, lbfgs_chunk, take_full_steps
from rwgen.optimize.solution import (
    Callback,
    Solution,
    Step,
    StepCallback,
    StopReason,
    step_callback,
)
from rwgen.optimize.state import Progress, Search
from rwgen.phases import phase


def minimize(
    objective: TermsFunction,
    start: NDArray[Any],
    config: OptimizerConfig | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    jit_compile: bool | None = None,
) -> Solution:
    """Minimize an objective from a starting point.

    Args:
        objective: see `Minimizer`.
        start: first point; its shape and dtype are the minimizer's.
        config: see `Minimizer`.
        callback: see `Minimizer.minimize`.
        checkpoint: see `Minimizer.minimize`.
        jit_compile: see `Minimizer`.

    Returns:
        See `Minimizer.minimize`.

    Raises:
        RwgenError: see `Minimizer.minimize`.
    """
    minimizer = Minimizer(objective, start.shape, start.dtype, config, jit_compile=jit_compile)
    return minimizer.minimize(start, callback, checkpoint)


class Minimizer:
    """L-BFGS for one objective and one shape; its graph is traced once and reused by every run.

    Not thread-safe: counters and the best point are variables.
    """

    def __init__(
        self,
        objective: TermsFunction,
        shape: Sequence[int],
        dtype: Any = np.float32,
        config: OptimizerConfig | None = None,
        *,
        jit_compile: bool | None = None,
    ) -> None:
        """Create a minimizer.

        Args:
            objective: maps a point of `shape`, and the inputs of a run, to scalar terms by name,
                differentiable by TensorFlow; their sum is minimized.
            shape: shape of the point.
            dtype: float32 or float64.
            config: settings of L-BFGS; None means the defaults.
            jit_compile: whether to compile the objective with XLA; None takes `config`'s, and
                compiles if that is None too. An objective whose parts are compiled separately must
                not be compiled as a whole.
        """
        self.config = config or OptimizerConfig()
        self._shape = tuple(shape)
        self._dtype = tf.as_dtype(dtype)
        compiled = self.config.jit_compile if jit_compile is None else jit_compile
        compiled = True if compiled is None else compiled
        self._objective = BestSoFar(objective, self._shape, self._dtype, compiled)
        self._evaluate = graph_function(self._objective)
        self._label = "x".join(map(str, reversed(self._shape[-3:-1])))
        self._has_advanced = False  # the first chunk is traced
        self._full_steps = graph_function(self._take_full_steps)
        self._tfp_chunk = graph_function(self._run_tfp)

    def minimize(
        self,
        start: NDArray[Any],
        callback: Callback | None = None,
        checkpoint: Checkpoint | None = None,
        *,
        inputs: Sequence[Any] = (),
        max_iterations: int | None = None,
    ) -> Solution:
        """Run L-BFGS from a starting point, or resume the run that a checkpoint holds.

        Args:
            start: first point, of the minimizer's shape.
            callback: see `Callback`; a resumed run first calls it with the saved step.
            checkpoint: where to store the state, as its part `search`. It is written every
                `checkpoint.every` iterations and when the run ends for any reason. It identifies
                the objective only by what was passed to `Checkpoint.expect`.
            inputs: further arguments of the objective: tensors, or structures of them. Runs whose
                inputs have equal shapes share the graph.
            max_iterations: replaces that of the configuration, which the graph does not depend on.

        Returns:
            The best of all evaluated points. The same start gives the same solution, whether the
            run was interrupted or not; only `seconds` differ.

        Raises:
            InvalidInputError: the start has another shape.
            CheckpointError: the checkpoint holds a search from another start or configuration.
            OutputError: the checkpoint could not be written.
            OptimizationError: the loss or its gradient is not finite at the start, or at every
                point that the line search tries, even after a restart.
        """
        if tuple(start.shape) != self._shape:
            raise InvalidInputError(
                f"expected a start of shape {self._shape}. Received: {start.shape}"
            )
        report = step_callback(callback)
        began = time.perf_counter()
        config = self.config
        if max_iterations is not None:
            config = dataclasses.replace(config, max_iterations=max_iterations)
        origin = {"start": fingerprint(start), "config": dataclasses.asdict(config)}
        point = tf.reshape(tf.convert_to_tensor(start, self._dtype), [-1])
        progress = self._restored(checkpoint, origin, point) if checkpoint else None
        if progress is None:
            progress = self._started(point, inputs, began)
        else:
            began -= progress.history[-1].seconds
        saved = progress.iteration
        while True:
            reason = self._reason_to_end(progress, config, report)
            iteration = progress.iteration
            if checkpoint and (reason or checkpoint.is_due(saved, iteration)):
                values = progress.to_values(self._objective.variables)
                checkpoint.save(search={"origin": origin, **values})
                saved = iteration
            if reason:
                break
            if progress.search.has_stopped():
                progress.finished, progress.restarts = iteration, progress.restarts + 1
                progress.search = self._begin(self._objective.position, inputs)
            search = progress.search
            target = min(config.max_iterations, iteration + config.iterations_per_chunk)
            name = "iterations" if self._has_advanced else "first iteration"
            with phase(name, self._label):
                search.state, search.products = self._advance(
                    search,
                    progress.tolerance * search.scale,
                    tf.constant(target - progress.finished),  # a number would cause a retrace
                    inputs,
                )
            self._has_advanced = True
            seconds = time.perf_counter() - began
            progress.history.append(self._step(search, progress.iteration, seconds))
        history = progress.history
        return Solution(
            image=self._objective.point(),
            initial_loss=history[0].loss,
            loss=history[-1].loss,
            terms=history[-1].terms,
            history=tuple(history),
            iterations=history[-1].iteration,
            evaluations=history[-1].evaluations,
            restarts=progress.restarts,
            seconds=history[-1].seconds,
            stop_reason=reason,
        )

    def _started(self, point: tf.Tensor, inputs: Sequence[Any], began: float) -> Progress:
        self._objective.reset()
        with phase("first evaluation", self._label):
            search = self._begin(point, inputs)
        tolerance = search.largest_gradient * self.config.gradient_tolerance
        return Progress(search, tolerance, [self._step(search, 0, time.perf_counter() - began)])

    def _restored(
        self, checkpoint: Checkpoint, origin: dict[str, Any], point: tf.Tensor
    ) -> Progress | None:
        saved = checkpoint.get("search")
        if saved is None:
            return None
        if not is_same_or_grown(saved.get("origin"), origin, ("max_iterations",)):
            raise checkpoint.refused("its search has another start or configuration")
        try:
            return Progress.from_values(saved, point, self._objective.variables)
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.refused(f"damaged: {error!r:.100}") from None

    def _reason_to_end(
        self, progress: Progress, config: OptimizerConfig, callback: StepCallback | None
    ) -> StopReason | None:
        step, search = progress.history[-1], progress.search
        if callback is not None and callback(step, self._objective.point):
            return StopReason.CALLBACK
        if step.iteration >= config.max_iterations:
            return StopReason.MAX_ITERATIONS
        if search.largest_component() <= progress.tolerance:
            return StopReason.GRADIENT_TOLERANCE
        no_restart = progress.restarts == config.max_restarts
        if search.has_stopped() and (no_restart or search.loss <= self._objective.loss):
            self._refuse_non_finite(search)
            return StopReason.NO_PROGRESS
        return None

    def _begin(self, position: tf.Tensor, inputs: Sequence[Any]) -> Search:
        """A search from `position` with an empty history of pairs."""
        non_finite = self._objective.non_finite
        loss, gradient = self._evaluate(position, *inputs)
        if not math.isfinite(loss):  # then the gradient is finite too
            raise OptimizationError(
                "expected a finite loss and gradient at the start. Received: NaN or infinity"
            )
        return Search.begin(position, loss, gradient, self.config, non_finite)

    def _advance(
        self,
        search: Search,
        tolerance: tf.Tensor,
        max_iterations: tf.Tensor,
        inputs: Sequence[Any],
    ) -> tuple[Any, PairProducts]:
        state, products, scale = search.state, search.products, search.scale
        if self.config.line_search == "hager_zhang":
            return self._tfp_chunk(state, scale, inputs, tolerance, max_iterations), products
        return lbfgs_chunk(
            self._scaled(scale, inputs),
            state,
            products,
            tolerance=tolerance,
            max_iterations=max_iterations,
            max_line_search_iterations=self.config.max_line_search_iterations,
            full_steps=functools.partial(self._full_steps, scale, inputs),
        )

    def _take_full_steps(self, scale: tf.Tensor, inputs: Sequence[Any], *arguments: Any) -> Any:
        return take_full_steps(self._scaled(scale, inputs), *arguments)

    def _run_tfp(
        self,
        state: Any,
        scale: tf.Tensor,
        inputs: Sequence[Any],
        tolerance: tf.Tensor,
        max_iterations: tf.Tensor,
    ) -> Any:
        return tfp.optimizer.lbfgs_minimize(
            self._scaled(scale, inputs),
            initial_position=None,
            previous_optimizer_results=state,
            num_correction_pairs=self.config.num_correction_pairs,
            tolerance=tolerance,
            max_iterations=max_iterations,
            max_line_search_iterations=self.config.max_line_search_iterations,
        )

    def _scaled(self, scale: tf.Tensor, inputs: Sequence[Any]) -> ValueAndGradient:
        def scaled(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, gradient = self._evaluate(position, *inputs)
            return loss * scale, gradient * scale

        return scaled

    def _refuse_non_finite(self, search: Search) -> None:
        if self._objective.non_finite != search.non_finite:
            raise OptimizationError(
                "expected a finite loss wherever the line search goes. Received: NaN or "
                f"infinity after {self._objective.evaluations} evaluations, at a best loss of "
                f"{self._objective.loss:.6g}"
            )

    def _step(self, search: Search, iteration: int, seconds: float) -> Step:
        return Step(
            iteration=iteration,
            evaluations=self._objective.evaluations,
            loss=self._objective.loss,
            terms=self._objective.terms,
            seconds=seconds,
            gradient_norm=search.gradient_norm(),
        )
