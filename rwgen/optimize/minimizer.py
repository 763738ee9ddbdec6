"""The pre-image optimizer: TensorFlow Probability's L-BFGS in compiled, resumable chunks.

Only the objective is compiled with XLA. The L-BFGS loop around it is an ordinary graph: under
XLA on a CPU a loop would lose its threads (docs/architecture.md).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError, OptimizationError
from rwgen.optimize.checkpoint import Checkpoint, fingerprint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.lbfgs import PairProducts, lbfgs_chunk
from rwgen.optimize.solution import Callback, Solution, Step, StopReason
from rwgen.optimize.state import Progress, Search

TermsFunction = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""A point to scalar terms by name; their sum is minimised."""


def minimize(
    objective: TermsFunction,
    start: NDArray[Any],
    config: OptimizerConfig | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Minimise an objective from a start; see `Minimizer`."""
    minimizer = Minimizer(objective, start.shape, start.dtype, config)
    return minimizer.minimize(start, callback, checkpoint)


class Minimizer:
    """L-BFGS for one objective and one shape; its graph is traced once, however often it runs.

    Not for several threads at a time: counters and the best point live in variables.
    """

    def __init__(
        self,
        objective: TermsFunction,
        shape: Sequence[int],
        dtype: Any = np.float32,
        config: OptimizerConfig | None = None,
    ) -> None:
        """Prepare a minimizer.

        Args:
            objective: a point of `shape` to scalar terms by name, differentiable by TensorFlow.
            shape: shape of the point.
            dtype: float32 or float64.
            config: how L-BFGS runs.
        """
        self.config = config or OptimizerConfig()
        self._shape = tuple(shape)
        self._dtype = tf.as_dtype(dtype)
        self._term_names: tuple[str, ...] = ()
        self._objective = objective
        # Kept by every evaluation, in the graph, so that the best point and its terms cost
        # neither further evaluations nor a return to Python.
        self._evaluations = tf.Variable(0, dtype=tf.int64)
        self._non_finite = tf.Variable(0, dtype=tf.int64)
        self._best_loss = tf.Variable(np.inf, dtype=self._dtype)
        self._best_position = tf.Variable(tf.zeros([math.prod(self._shape)], self._dtype))
        self._best_terms = tf.Variable(tf.zeros([0], self._dtype), shape=[None])
        self._variables = {
            "evaluations": self._evaluations,
            "non_finite": self._non_finite,
            "best_loss": self._best_loss,
            "best_position": self._best_position,
            "best_terms": self._best_terms,
        }
        self._evaluate = _graph_function(self._loss_and_gradient, self.config.jit_compile)
        self._track = _graph_function(self._tracked_evaluation)
        self._advance = _graph_function(self._lbfgs_chunk)

    def minimize(
        self,
        start: NDArray[Any],
        callback: Callback | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Solution:
        """Run L-BFGS from a start, or go on with the run that a checkpoint holds.

        Args:
            start: the first point, of the minimizer's shape.
            callback: see `Callback`; a run that goes on calls it with the saved step first.
            checkpoint: where the state is kept, as its part `search`. It is written every so many
                iterations and when the run ends, for whatever reason. Of the objective it knows
                only what was told to `Checkpoint.expect`.

        Returns:
            The best of all points that were evaluated. The same start gives the same solution,
            whether the run was interrupted or not; only `seconds` differ.

        Raises:
            InvalidInputError: the start has another shape.
            CheckpointError: the checkpoint holds a search from another start or configuration.
            OutputError: the checkpoint could not be written.
            OptimizationError: the loss or its gradient is not finite at the start, or wherever
                the line search, restarted too, still tries to go.
        """
        if tuple(start.shape) != self._shape:
            raise InvalidInputError(
                f"expected a start of shape {self._shape}. Received: {start.shape}"
            )
        began = time.perf_counter()
        # How it is compiled follows the memory there is, and changes rounding only.
        config = dataclasses.replace(self.config, jit_compile=True)
        origin = {"start": fingerprint(start), "config": dataclasses.asdict(config)}
        point = tf.reshape(tf.convert_to_tensor(start, self._dtype), [-1])
        progress = self._restored(checkpoint, origin, point) if checkpoint else None
        if progress is None:
            progress = self._started(point, began)
        else:
            began -= progress.history[-1].seconds
        saved = progress.iteration
        while True:
            reason = self._reason_to_end(progress, callback)
            iteration = progress.iteration
            if checkpoint and (reason or checkpoint.is_due(saved, iteration)):
                values = progress.to_values(self._variables)
                checkpoint.save(search={"origin": origin, **values})
                saved = iteration
            if reason:
                break
            if progress.search.has_stopped():
                progress.finished, progress.restarts = iteration, progress.restarts + 1
                progress.search = self._begin(self._best_position.read_value())
            search = progress.search
            target = min(self.config.max_iterations, iteration + self.config.iterations_per_chunk)
            search.state, search.products = self._advance(
                search.state,
                search.products,
                search.scale,
                progress.tolerance * search.scale,
                tf.constant(target - progress.finished),  # a Python number would be traced anew
            )
            seconds = time.perf_counter() - began
            progress.history.append(self._step(search, progress.iteration, seconds))
        history = progress.history
        return Solution(
            image=self._best_image(),
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

    def _started(self, point: tf.Tensor, began: float) -> Progress:
        self._evaluations.assign(0)
        self._best_loss.assign(np.inf)
        search = self._begin(point)
        tolerance = search.largest_gradient * self.config.gradient_tolerance
        return Progress(search, tolerance, [self._step(search, 0, time.perf_counter() - began)])

    def _restored(
        self, checkpoint: Checkpoint, origin: dict[str, Any], point: tf.Tensor
    ) -> Progress | None:
        saved = checkpoint.get("search")
        if saved is None:
            return None
        if saved.get("origin") != origin:
            raise checkpoint.refused("its search has another start or configuration")
        try:
            return Progress.from_values(saved, point, self._variables)
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.refused(f"damaged: {error!r:.100}") from None

    def _reason_to_end(self, progress: Progress, callback: Callback | None) -> StopReason | None:
        step, search = progress.history[-1], progress.search
        if callback is not None and callback(step, self._best_image):
            return StopReason.CALLBACK
        if step.iteration >= self.config.max_iterations:
            return StopReason.MAX_ITERATIONS
        if search.largest_component() <= progress.tolerance:
            return StopReason.GRADIENT_TOLERANCE
        no_restart = progress.restarts == self.config.max_restarts
        if search.has_stopped() and (no_restart or search.loss <= self._best_loss):
            self._refuse_non_finite(search)
            return StopReason.NO_PROGRESS
        return None

    def _begin(self, position: tf.Tensor) -> Search:
        """A search without memory from `position`."""
        non_finite = int(self._non_finite)
        loss, gradient = self._track(position)
        if not math.isfinite(loss):  # then the gradient is finite too
            raise OptimizationError(
                "expected a finite loss and gradient at the start. Received: NaN or infinity"
            )
        return Search.begin(position, loss, gradient, self.config, non_finite)

    def _lbfgs_chunk(
        self,
        state: Any,
        products: PairProducts,
        scale: tf.Tensor,
        tolerance: tf.Tensor,
        max_iterations: tf.Tensor,
    ) -> tuple[Any, PairProducts]:
        def scaled(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, gradient = self._tracked_evaluation(position)
            return loss * scale, gradient * scale

        if self.config.line_search == "wolfe_first":
            return lbfgs_chunk(
                scaled,
                state,
                products,
                tolerance=tolerance,
                max_iterations=max_iterations,
                max_line_search_iterations=self.config.max_line_search_iterations,
            )
        found = tfp.optimizer.lbfgs_minimize(
            scaled,
            initial_position=None,
            previous_optimizer_results=state,
            num_correction_pairs=self.config.num_correction_pairs,
            tolerance=tolerance,
            max_iterations=max_iterations,
            max_line_search_iterations=self.config.max_line_search_iterations,
        )
        return found, products

    def _tracked_evaluation(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Loss and gradient; counts, and keeps the best point.

        The line search survives +inf but not NaN, so whatever is not finite becomes +inf.
        """
        loss, gradient, terms = self._evaluate(position)
        finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient))
        loss = tf.where(finite, loss, tf.constant(np.inf, self._dtype))
        gradient = tf.where(finite, gradient, tf.zeros_like(gradient))
        self._evaluations.assign_add(1)
        # A line search may try an infinite step, which says nothing about the objective.
        blamed = ~finite & tf.reduce_all(tf.math.is_finite(position))
        self._non_finite.assign_add(tf.cast(blamed, tf.int64))

        def keep() -> tf.Tensor:
            self._best_loss.assign(loss)
            self._best_position.assign(position)
            self._best_terms.assign(terms)
            return tf.constant(True)

        tf.cond(loss < self._best_loss, keep, lambda: tf.constant(False))
        return loss, gradient

    def _loss_and_gradient(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(position)
            terms = self._objective(tf.reshape(position, self._shape))
            values = tf.stack([tf.cast(value, self._dtype) for value in terms.values()])
            loss = tf.reduce_sum(values)
        gradient = tape.gradient(loss, position, unconnected_gradients="zero")
        self._term_names = tuple(terms)  # set while tracing; every trace gives the same names
        return loss, gradient, values

    def _refuse_non_finite(self, search: Search) -> None:
        if int(self._non_finite) != search.non_finite:
            raise OptimizationError(
                "expected a finite loss wherever the line search goes. Received: NaN or "
                f"infinity after {int(self._evaluations)} evaluations, at a best loss of "
                f"{float(self._best_loss):.6g}"
            )

    def _step(self, search: Search, iteration: int, seconds: float) -> Step:
        values = self._best_terms.numpy().tolist()
        return Step(
            iteration=iteration,
            evaluations=int(self._evaluations),
            loss=float(self._best_loss),
            terms=dict(zip(self._term_names, values, strict=True)),
            seconds=seconds,
            gradient_norm=search.gradient_norm(),
        )

    def _best_image(self) -> NDArray[Any]:
        image: NDArray[Any] = self._best_position.numpy().reshape(self._shape)
        return image


def _graph_function(method: Callable[..., Any], jit_compile: bool = False) -> Callable[..., Any]:
    # As a `partial` each minimizer's traces are counted on their own; else TensorFlow warns of
    # frequent retracing after five minimizers, each of which traces once.
    function: Callable[..., Any] = tf.function(
        functools.partial(method), autograph=False, jit_compile=jit_compile
    )
    return function
