"""The full-step-first search against closed forms, SciPy and TFP's own search."""

import functools

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp

from rwgen.optimize.lbfgs import (
    CURVATURE,
    SUFFICIENT_DECREASE,
    lbfgs_chunk,
    pair_products,
    search_direction,
    take_full_steps,
)

PAIRS = 6


def begin(function, start):
    return tfp.optimizer.lbfgs_minimize(
        function, initial_position=tf.constant(start), num_correction_pairs=PAIRS, max_iterations=0
    )


def advance(function, state, iterations, tolerance=0.0):
    return advance_both(function, state, pair_products(state), iterations, tolerance)[0]


def advance_both(function, state, products, iterations, tolerance=0.0):
    return lbfgs_chunk(
        function,
        state,
        products,
        tolerance=tf.constant(tolerance, state.position.dtype),
        max_iterations=state.num_iterations + iterations,
        max_line_search_iterations=30,
        full_steps=tf.function(functools.partial(take_full_steps, function)),
    )


def solve(function, start, iterations, tolerance=0.0):
    return advance(function, begin(function, start), iterations, tolerance)


def with_gradient(value):
    return lambda position: tfp.math.value_and_gradient(value, position)


def rosenbrock(x):
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(condition, size=30):
    scales = np.geomspace(1, condition, size)
    minimum = np.sin(np.arange(size) + 1.0)
    return minimum, with_gradient(lambda x: tf.reduce_sum(scales * (x - minimum) ** 2) / 2)


@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
def test_quadratics_reach_their_minimum(condition):
    minimum, function = quadratic(condition)
    state = solve(function, np.zeros(30), 2000, tolerance=1e-9)
    assert bool(state.converged)
    assert not bool(state.failed)
    np.testing.assert_allclose(state.position, minimum, atol=1e-8)


def test_rosenbrock_reaches_its_minimum_with_few_evaluations():
    state = solve(with_gradient(rosenbrock), np.full(10, -1.2), 300, tolerance=1e-8)
    np.testing.assert_allclose(state.position, np.ones(10), atol=1e-7)
    assert int(state.num_objective_evaluations) < 1.6 * int(state.num_iterations)


def test_the_direction_is_that_of_the_bfgs_matrix():
    """Against the inverse Hessian written out: H <- (I - r s y') H (I - r y s') + r s s'."""
    generator = np.random.default_rng(0)
    size, filled = 9, 4
    hessian = np.diag(generator.uniform(0.5, 5, size))
    steps = generator.normal(size=(filled, size))
    changes = steps @ hessian
    gradient = generator.normal(size=size)
    inverse = np.eye(size) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for step, change in zip(steps, changes, strict=True):
        rho = 1 / (step @ change)
        left = np.eye(size) - rho * np.outer(step, change)
        inverse = left @ inverse @ left.T + rho * np.outer(step, step)
    seen = []

    def function(position):
        seen.append(position.numpy())
        return tf.reduce_sum(position) * 0 - 1.0, tf.zeros_like(position)

    state = begin(lambda x: (tf.reduce_sum(x) * 0, tf.constant(gradient)), np.zeros(size))
    empty = np.zeros((PAIRS - filled, size))
    state = state._replace(
        position_deltas=tf.constant(np.vstack([empty, steps])),
        gradient_deltas=tf.constant(np.vstack([empty, changes])),
    )
    lbfgs_chunk(
        function,
        state,
        pair_products(state),
        tolerance=tf.constant(0.0, tf.float64),
        max_iterations=tf.constant(1),
        max_line_search_iterations=5,
    )
    np.testing.assert_allclose(seen[0], -inverse @ gradient, rtol=1e-10)


def test_at_equal_evaluations_it_is_far_below_plain_tfp_and_near_scipy():
    _, function = quadratic(1e3, size=60)
    start = np.zeros(60)
    ours = solve(function, start, 80)
    evaluations = int(ours.num_objective_evaluations)
    assert evaluations <= 1.15 * 80
    plain = begin(function, start)
    while int(plain.num_objective_evaluations) < evaluations:
        plain = tfp.optimizer.lbfgs_minimize(
            function,
            initial_position=None,
            previous_optimizer_results=plain,
            num_correction_pairs=PAIRS,
            max_iterations=plain.num_iterations + 1,
        )
    assert float(ours.objective_value) < 0.1 * float(plain.objective_value)
    peer = scipy.optimize.minimize(
        lambda x: tuple(value.numpy() for value in function(tf.constant(x))),
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": PAIRS, "maxfun": evaluations, "ftol": 0, "gtol": 0},
    )
    assert np.log10(float(ours.objective_value)) < np.log10(peer.fun) + 2


@pytest.mark.usefixtures("eager")
def test_resumed_in_chunks_it_is_the_uninterrupted_search():
    function = with_gradient(rosenbrock)
    whole = solve(function, np.full(6, -1.2), 24)
    parts = begin(function, np.full(6, -1.2))
    products = pair_products(parts)
    for iterations in (1, 7, 1, 15):
        parts, products = advance_both(function, parts, products, iterations)
    assert int(parts.num_objective_evaluations) == int(whole.num_objective_evaluations)
    for name in ("position", "objective_value", "objective_gradient", "position_deltas"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.usefixtures("eager")
def test_the_products_that_are_kept_are_those_of_the_pairs():
    function = with_gradient(rosenbrock)
    state = begin(function, np.full(6, -1.2))
    products = pair_products(state)
    for iterations in (1, 2, PAIRS, 9):
        state, products = advance_both(function, state, products, iterations)
        for kept, anew in zip(products, pair_products(state), strict=True):
            np.testing.assert_allclose(kept, anew, rtol=1e-9, atol=1e-12)
    assert np.all(np.diag(products.position_gradient) > 0)


def test_in_float32_the_direction_is_that_of_the_two_loops():
    """Pairs of a badly scaled quadratic, with empty ones before them."""
    generator = np.random.default_rng(0)
    size, filled = 5000, PAIRS - 2
    scales = np.geomspace(1, 1e4, size)
    steps = np.vstack([np.zeros((2, size)), generator.normal(size=(filled, size))])
    gradient = generator.normal(size=size)
    expected = gradient.copy()
    alphas = []
    for step in steps[:1:-1]:
        alphas.append(step @ expected / (step @ (scales * step)))
        expected -= alphas[-1] * scales * step
    newest = scales * steps[-1]
    expected *= steps[-1] @ newest / (newest @ newest)
    for step in steps[2:]:
        beta = (scales * step) @ expected / (step @ (scales * step))
        expected += (alphas.pop() - beta) * step
    state = begin(lambda x: (tf.reduce_sum(x) * 0, x), gradient.astype(np.float32))._replace(
        position_deltas=tf.constant(steps, tf.float32),
        gradient_deltas=tf.constant(scales * steps, tf.float32),
    )
    found = search_direction(state, pair_products(state))
    np.testing.assert_allclose(found, -expected, atol=1e-4 * np.abs(expected).max())


def test_accepted_steps_satisfy_the_wolfe_conditions_and_are_counted():
    trail = []

    def function(position):
        value, gradient = tfp.math.value_and_gradient(rosenbrock, position)
        trail.append((position.numpy(), float(value), gradient.numpy()))
        return value, gradient

    state = begin(function, np.full(4, -1.2))
    for _ in range(12):
        before = state
        evaluations = len(trail)
        state, _ = lbfgs_chunk(
            function,
            before,
            pair_products(before),
            tolerance=tf.constant(0.0, tf.float64),
            max_iterations=before.num_iterations + 1,
            max_line_search_iterations=30,
        )
        counted = int(state.num_objective_evaluations - before.num_objective_evaluations)
        assert counted == len(trail) - evaluations
        step = (state.position - before.position).numpy()
        old, new = float(before.objective_value), float(state.objective_value)
        slope = before.objective_gradient.numpy() @ step
        assert slope < 0
        assert new <= old + SUFFICIENT_DECREASE * slope + 1e-6 * abs(old)
        assert state.objective_gradient.numpy() @ step >= CURVATURE * slope - 1e-9
        position, value, gradient = min(trail, key=lambda item: abs(item[1] - new))
        np.testing.assert_array_equal(state.position, position)
        np.testing.assert_array_equal(state.objective_gradient, gradient)
        assert value == new


def test_an_infinite_wall_behind_the_minimum_is_survived():
    def function(position):
        value, gradient = tfp.math.value_and_gradient(
            lambda x: tf.reduce_sum((x - 1.0) ** 4), position
        )
        return tf.where(tf.reduce_any(position > 1.5), np.float64(np.inf), value), gradient

    state = solve(function, np.array([-3.0, 0.2]), 60, tolerance=1e-8)
    assert not bool(state.failed)
    np.testing.assert_allclose(state.position, [1.0, 1.0], atol=5e-3)


def test_a_value_that_no_longer_changes_is_reported_as_converged_and_not_as_failed():
    state = solve(with_gradient(lambda x: tf.reduce_sum(x**2) + 1.0), np.ones(3, np.float32), 50)
    assert bool(state.converged)
    np.testing.assert_allclose(state.position, np.zeros(3), atol=1e-3)
