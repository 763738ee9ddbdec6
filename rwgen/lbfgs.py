"""L-BFGS on TensorFlow Probability's parts that tries the full step first.

`tfp.optimizer.lbfgs_minimize` begins every line search by bracketing a minimum, which costs about
three evaluations an iteration even where the step of length one would have done. Here that step
is evaluated first and taken if it satisfies the Wolfe conditions, exactly or approximately in the
sense of Hager and Zhang; otherwise its evaluation is handed on to TFP's search of that name. State
and stopping rules are TFP's, so a search can be resumed with either.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

ValueAndGradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Position [n] to value [] and gradient [n]."""

SUFFICIENT_DECREASE = 1e-4
"""c1 of the Wolfe conditions for the full step (Nocedal and Wright, section 3.1)."""

CURVATURE = 0.9
"""c2 of the Wolfe conditions for the full step."""

APPROXIMATE_THRESHOLD = 1e-6
"""Relative rise of the value up to which the approximate conditions may accept (TFP's default)."""

_Point = collections.namedtuple("_Point", ["x", "f", "df", "full_gradient"])


def lbfgs_start(
    position: tf.Tensor, value: tf.Tensor, gradient: tf.Tensor, num_correction_pairs: int
) -> Any:
    """A state of TFP before the first iteration.

    Args:
        position: where the search begins, [n].
        value: the function there, [].
        gradient: its gradient there, [n].
        num_correction_pairs: pairs of differences to keep.

    Returns:
        A `LBfgsOptimizerResults` of TFP.
    """
    return tfp.optimizer.lbfgs_minimize(
        lambda _: (value, gradient),
        initial_position=position,
        num_correction_pairs=num_correction_pairs,
        max_iterations=0,
    )


def lbfgs_chunk(
    function: ValueAndGradient,
    state: Any,
    *,
    tolerance: tf.Tensor,
    max_iterations: tf.Tensor,
    max_line_search_iterations: int,
) -> Any:
    """Go on with a search until it stops or has made `max_iterations`.

    Args:
        function: what is minimised.
        state: a `LBfgsOptimizerResults` of TFP with one position of shape [n].
        tolerance: stop when no component of the gradient is larger.
        max_iterations: iterations counted from the state's beginning.
        max_line_search_iterations: of one Hager-Zhang search.

    Returns:
        The state after it, of the same kind.
    """

    def unfinished(state: Any) -> tf.Tensor:
        return (state.num_iterations < max_iterations) & ~(state.converged | state.failed)

    def iterate(state: Any) -> list[Any]:
        return [_iterate(function, state, tolerance, max_line_search_iterations)]

    return tf.while_loop(unfinished, iterate, [state], parallel_iterations=1)[0]


def _iterate(
    function: ValueAndGradient, state: Any, tolerance: tf.Tensor, max_line_search_iterations: int
) -> Any:
    direction = _search_direction(state)
    slope = tf.tensordot(state.objective_gradient, direction, 1)
    # Rounding can turn the direction uphill; the steepest descent never is.
    uphill = ~(slope < 0)
    direction = tf.where(uphill, -state.objective_gradient, direction)
    slope = tf.where(uphill, -tf.reduce_sum(state.objective_gradient**2), slope)

    def along(step: tf.Tensor) -> _Point:
        value, gradient = function(state.position + step * direction)
        return _Point(step, value, tf.tensordot(gradient, direction, 1), gradient)

    one = tf.ones([], state.position.dtype)
    start = _Point(one * 0, state.objective_value, slope, state.objective_gradient)
    trial = along(one)

    def search() -> tuple[tf.Tensor, ...]:
        result = tfp.optimizer.linesearch.hager_zhang(
            along,
            initial_step_size=one,
            value_at_initial_step=trial,
            value_at_zero=start,
            max_iterations=max_line_search_iterations,
        )
        found = result.left
        return found.x, found.f, found.full_gradient, result.converged, result.func_evals

    step, value, gradient, found, evaluations = tf.cond(
        _satisfies_wolfe(start, trial),
        lambda: (trial.x, trial.f, trial.full_gradient, tf.constant(True), tf.constant(0)),
        search,
    )
    position = state.position + step * direction
    finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
    position_delta = position - state.position
    gradient_delta = gradient - state.objective_gradient
    stalled = (value == state.objective_value) | tf.reduce_all(position_delta == 0)
    curved = finite & (tf.tensordot(position_delta, gradient_delta, 1) > 0)
    return state._replace(
        converged=finite & found & ((tf.reduce_max(tf.abs(gradient)) <= tolerance) | stalled),
        failed=~(finite & found),
        num_iterations=state.num_iterations + 1,
        num_objective_evaluations=state.num_objective_evaluations + 1 + evaluations,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        position_deltas=_push(state.position_deltas, curved, position_delta),
        gradient_deltas=_push(state.gradient_deltas, curved, gradient_delta),
    )


def _satisfies_wolfe(start: _Point, trial: _Point) -> tf.Tensor:
    flat = trial.df >= CURVATURE * start.df
    lower = trial.f <= start.f + SUFFICIENT_DECREASE * start.df
    near = trial.f <= start.f + APPROXIMATE_THRESHOLD * tf.abs(start.f)
    bounded = (2 * SUFFICIENT_DECREASE - 1) * start.df >= trial.df
    return tf.math.is_finite(trial.f) & flat & (lower | (near & bounded))


def _search_direction(state: Any) -> tf.Tensor:
    """Minus the inverse Hessian times the gradient: Nocedal and Wright, algorithm 7.4.

    Pairs that were never filled are zero and take no part.
    """
    # Slices of the first axis share memory with the queues, which `tf.unstack` would copy.
    count = state.position_deltas.shape[0]
    positions = [state.position_deltas[index] for index in range(count)]
    gradients = [state.gradient_deltas[index] for index in range(count)]
    curvatures = [tf.tensordot(*pair, 1) for pair in zip(positions, gradients, strict=True)]
    direction = state.objective_gradient
    alphas: list[tf.Tensor] = []
    pairs = list(zip(positions, gradients, curvatures, strict=True))
    for position, gradient, curvature in reversed(pairs):
        alpha = tf.math.divide_no_nan(tf.tensordot(position, direction, 1), curvature)
        direction -= alpha * gradient
        alphas.insert(0, alpha)
    newest = tf.tensordot(gradients[-1], gradients[-1], 1)
    direction *= tf.where(newest > 0, tf.math.divide_no_nan(curvatures[-1], newest), 1)
    for (position, gradient, curvature), alpha in zip(pairs, alphas, strict=True):
        beta = tf.math.divide_no_nan(tf.tensordot(gradient, direction, 1), curvature)
        direction += (alpha - beta) * position
    return -direction


def _push(queue: tf.Tensor, wanted: tf.Tensor, newest: tf.Tensor) -> tf.Tensor:
    # Not `tf.where`, which would need memory for a third queue beside the old and the new one.
    return tf.cond(
        wanted, lambda: tf.concat([queue[1:], newest[tf.newaxis]], axis=0), lambda: queue
    )
