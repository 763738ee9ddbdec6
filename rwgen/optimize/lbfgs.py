"""L-BFGS on TensorFlow Probability's components that tries the full step first.

`tfp.optimizer.lbfgs_minimize` starts every line search by bracketing a minimum, which takes about
three evaluations an iteration even if a step of length one would do. Here that step is evaluated
first and accepted if it satisfies the Wolfe conditions, exactly or approximately in the sense of
Hager and Zhang; otherwise its evaluation is passed to TFP's Hager-Zhang search. State and stopping
rules are TFP's.

Full steps run in a graph. The Hager-Zhang search runs op by op around a function that is a graph
itself: its graph takes seconds to trace, and fewer than one step in ten needs it.

The direction is computed from inner products of the pairs of differences, which are updated: the
two loops over the pairs, each with a product and a sum of whole images, become two triangular
systems of the number of pairs and four matrix-vector products.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

ValueAndGradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Position [n] to value [] and gradient [n]."""

SUFFICIENT_DECREASE = 1e-4
"""c1 of the Wolfe conditions for the full step (Nocedal and Wright, section 3.1)."""

CURVATURE = 0.9
"""c2 of the Wolfe conditions for the full step."""

APPROXIMATE_THRESHOLD = 1e-6
"""Maximum relative increase that the approximate conditions accept (TFP's default)."""

FullSteps = Callable[..., tuple[Any, "PairProducts", "Trial"]]
"""`take_full_steps` of a given function."""


class _Point(NamedTuple):
    """A point along a step, as TFP's line search takes and returns it."""

    x: tf.Tensor
    f: tf.Tensor
    df: tf.Tensor
    full_gradient: tf.Tensor


class PairProducts(NamedTuple):
    """Inner products of a state's pairs of differences, oldest first.

    Attributes:
        position_gradient: position differences with gradient differences, [m, m].
        gradient_gradient: gradient differences with each other, [m, m].
    """

    position_gradient: tf.Tensor
    gradient_gradient: tf.Tensor


def lbfgs_start(
    position: tf.Tensor, value: tf.Tensor, gradient: tf.Tensor, num_correction_pairs: int
) -> Any:
    """TFP's state before the first iteration.

    Args:
        position: starting point, [n].
        value: the function there, [].
        gradient: its gradient there, [n].
        num_correction_pairs: number of pairs of differences to keep.

    Returns:
        TFP's `LBfgsOptimizerResults`.
    """
    return tfp.optimizer.lbfgs_minimize(
        lambda _: (value, gradient),
        initial_position=position,
        num_correction_pairs=num_correction_pairs,
        max_iterations=0,
    )


def pair_products(state: Any) -> PairProducts:
    """Inner products of the pairs in TFP's state, computed from scratch."""
    positions, gradients = state.position_deltas, state.gradient_deltas
    return PairProducts(
        tf.matmul(positions, gradients, transpose_b=True),
        tf.matmul(gradients, gradients, transpose_b=True),
    )


class Trial(NamedTuple):
    """A full step that has been evaluated.

    Attributes:
        refused: whether it violates the Wolfe conditions, so that a line search must follow, [].
        direction: the step, [n].
        slope: derivative of the function along it at its start, [].
        end: where it ends: step size 1, value [], derivative [] along it, gradient [n].
    """

    refused: tf.Tensor
    direction: tf.Tensor
    slope: tf.Tensor
    end: _Point


def lbfgs_chunk(
    function: ValueAndGradient,
    state: Any,
    products: PairProducts,
    *,
    tolerance: tf.Tensor,
    max_iterations: tf.Tensor,
    max_line_search_iterations: int,
    full_steps: FullSteps | None = None,
) -> tuple[Any, PairProducts]:
    """Continue a search until it stops or reaches `max_iterations`. Not for use in a graph.

    Args:
        function: the function to minimize.
        state: TFP's `LBfgsOptimizerResults` with one position of shape [n].
        products: see `pair_products`.
        tolerance: stop when no component of the gradient is larger.
        max_iterations: number of iterations to stop at, those before `state` included.
        max_line_search_iterations: maximum number of iterations of one Hager-Zhang search.
        full_steps: a graph of `take_full_steps` with the same function; None runs it op by op.

    Returns:
        The new state, of the same kind, and its products.
    """
    if full_steps is None:
        full_steps = functools.partial(take_full_steps, function)
    state, products, trial = full_steps(state, products, tolerance, max_iterations)
    while trial.refused:
        state, products = _searched(
            function, state, products, trial, tolerance, max_line_search_iterations
        )
        state, products, trial = full_steps(state, products, tolerance, max_iterations)
    return state, products


def take_full_steps(
    function: ValueAndGradient,
    state: Any,
    products: PairProducts,
    tolerance: tf.Tensor,
    max_iterations: tf.Tensor,
) -> tuple[Any, PairProducts, Trial]:
    """Take full steps while they satisfy the Wolfe conditions.

    Args:
        function: see `lbfgs_chunk`.
        state: see `lbfgs_chunk`.
        products: see `lbfgs_chunk`.
        tolerance: see `lbfgs_chunk`.
        max_iterations: see `lbfgs_chunk`.

    Returns:
        The new state, its products, and the last step, which is not part of the state if refused.
    """

    def unfinished(state: Any, _products: PairProducts, trial: Trial) -> tf.Tensor:
        running = (state.num_iterations < max_iterations) & ~(state.converged | state.failed)
        return running & ~trial.refused

    def iterate(state: Any, products: PairProducts, _trial: Trial) -> list[Any]:
        trial = _full_step(function, state, products)
        state, products = tf.cond(
            trial.refused,
            lambda: (state, products),
            lambda: _moved(
                state, products, trial.direction, trial.end, tf.constant(True), 1, tolerance
            ),
        )
        return [state, products, trial]

    nothing = tf.zeros_like(state.position)
    zero = tf.zeros([], state.position.dtype)
    none_yet = Trial(tf.constant(False), nothing, zero, _Point(zero, zero, zero, nothing))
    found = tf.while_loop(unfinished, iterate, [state, products, none_yet], parallel_iterations=1)
    return found[0], found[1], found[2]


def _full_step(function: ValueAndGradient, state: Any, products: PairProducts) -> Trial:
    direction = search_direction(state, products)
    slope = tf.tensordot(state.objective_gradient, direction, 1)
    # Rounding can turn the direction uphill; steepest descent never is.
    uphill = ~(slope < 0)
    direction = tf.where(uphill, -state.objective_gradient, direction)
    slope = tf.where(uphill, -tf.reduce_sum(state.objective_gradient**2), slope)
    start = _Point(tf.zeros_like(slope), state.objective_value, slope, state.objective_gradient)
    end = _point(function, state.position, direction, tf.ones_like(slope))
    return Trial(~_satisfies_wolfe(start, end), direction, slope, end)


def _point(
    function: ValueAndGradient, position: tf.Tensor, direction: tf.Tensor, step: tf.Tensor
) -> _Point:
    value, gradient = function(position + step * direction)
    return _Point(step, value, tf.tensordot(gradient, direction, 1), gradient)


def _satisfies_wolfe(start: _Point, end: _Point) -> tf.Tensor:
    flat = end.df >= CURVATURE * start.df
    lower = end.f <= start.f + SUFFICIENT_DECREASE * start.df
    near = end.f <= start.f + APPROXIMATE_THRESHOLD * tf.abs(start.f)
    bounded = (2 * SUFFICIENT_DECREASE - 1) * start.df >= end.df
    return tf.math.is_finite(end.f) & flat & (lower | (near & bounded))


def _searched(
    function: ValueAndGradient,
    state: Any,
    products: PairProducts,
    trial: Trial,
    tolerance: tf.Tensor,
    max_line_search_iterations: int,
) -> tuple[Any, PairProducts]:
    """Search along a refused step with Hager and Zhang's method, and move there."""
    one = tf.ones_like(trial.slope)
    result = tfp.optimizer.linesearch.hager_zhang(
        functools.partial(_point, function, state.position, trial.direction),
        initial_step_size=one,
        value_at_initial_step=trial.end,
        value_at_zero=_Point(0 * one, state.objective_value, trial.slope, state.objective_gradient),
        max_iterations=max_line_search_iterations,
    )
    evaluations = 1 + result.func_evals
    return _moved(
        state, products, trial.direction, result.left, result.converged, evaluations, tolerance
    )


def _moved(
    state: Any,
    products: PairProducts,
    direction: tf.Tensor,
    step: _Point,
    found: tf.Tensor,
    evaluations: tf.Tensor,
    tolerance: tf.Tensor,
) -> tuple[Any, PairProducts]:
    """The state after a step of known value and gradient along a direction."""
    value, gradient = step.f, step.full_gradient
    position = state.position + step.x * direction
    finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
    position_delta = position - state.position
    gradient_delta = gradient - state.objective_gradient
    stalled = (value == state.objective_value) | tf.reduce_all(position_delta == 0)
    curved = finite & (tf.tensordot(position_delta, gradient_delta, 1) > 0)
    new = state._replace(
        converged=finite & found & ((tf.reduce_max(tf.abs(gradient)) <= tolerance) | stalled),
        failed=~(finite & found),
        num_iterations=state.num_iterations + 1,
        num_objective_evaluations=state.num_objective_evaluations + evaluations,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
    )
    pairs = tf.cond(
        curved,
        lambda: _push(state, products, position_delta, gradient_delta),
        lambda: (state.position_deltas, state.gradient_deltas, products),
    )
    return new._replace(position_deltas=pairs[0], gradient_deltas=pairs[1]), pairs[2]


def search_direction(state: Any, products: PairProducts) -> tf.Tensor:
    """Minus the inverse Hessian times the gradient, equal to the result of the two-loop recursion.

    With S and Y the pairs, R the upper triangle of S Y^T with its diagonal D, and the two loops
    (Nocedal and Wright, algorithm 7.4) written as systems: R a = S g, then
    R^T u = D a - h (Y g - Y Y^T a), then the direction -(h (g - a Y) + u S), with h the scale of
    the first Hessian (Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices",
    1994).

    Args:
        state: TFP's `LBfgsOptimizerResults` with one position of shape [n]. Unused pairs are zero
            and have no effect.
        products: see `pair_products`.

    Returns:
        [n].
    """
    positions, gradients = state.position_deltas, state.gradient_deltas
    gradient = state.objective_gradient
    # The systems are small; float64 keeps cancellation in them from amplifying rounding.
    cross, squares, along_positions, along_gradients = (
        tf.cast(value, tf.float64)
        for value in (
            *products,
            tf.linalg.matvec(positions, gradient),
            tf.linalg.matvec(gradients, gradient),
        )
    )
    curvatures = tf.linalg.diag_part(cross)
    triangle = tf.linalg.band_part(cross, 0, -1)
    triangle += tf.linalg.diag(tf.cast(curvatures == 0, tf.float64))
    first = _solved(triangle, along_positions)
    newest = squares[-1, -1]
    scale = tf.where(newest > 0, tf.math.divide_no_nan(curvatures[-1], newest), 1)
    rest = scale * (along_gradients - tf.linalg.matvec(squares, first))
    second = _solved(triangle, curvatures * first - rest, adjoint=True)
    first, second, scale = (
        tf.cast(value, gradient.dtype) for value in (-scale * first, second, scale)
    )
    return -(
        scale * gradient
        + tf.linalg.matvec(gradients, first, transpose_a=True)
        + tf.linalg.matvec(positions, second, transpose_a=True)
    )


def _solved(triangle: tf.Tensor, vector: tf.Tensor, *, adjoint: bool = False) -> tf.Tensor:
    column = vector[:, tf.newaxis]
    return tf.linalg.triangular_solve(triangle, column, lower=False, adjoint=adjoint)[:, 0]


def _push(
    state: Any, products: PairProducts, position_delta: tf.Tensor, gradient_delta: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, PairProducts]:
    """Replace the oldest pair by a new one, in the pairs and in their products."""
    positions = tf.concat([state.position_deltas[1:], position_delta[tf.newaxis]], axis=0)
    gradients = tf.concat([state.gradient_deltas[1:], gradient_delta[tf.newaxis]], axis=0)
    row = tf.linalg.matvec(gradients, position_delta)
    column = tf.linalg.matvec(positions, gradient_delta)
    squares = tf.linalg.matvec(gradients, gradient_delta)
    return (
        positions,
        gradients,
        PairProducts(
            _shifted(products.position_gradient, row, column),
            _shifted(products.gradient_gradient, squares, squares),
        ),
    )


def _shifted(matrix: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """A matrix without its first row and column, and with new last ones."""
    upper = tf.concat([matrix[1:, 1:], column[:-1, tf.newaxis]], axis=1)
    return tf.concat([upper, row[tf.newaxis]], axis=0)
