"""The optimizer in trouble: noise, failing searches, kinks, and losses that are not finite."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rwgen import Minimizer, OptimizationError, OptimizerConfig, minimize

BOTH = pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])


def config(**values):
    # Few pairs make small graphs, and tracing is what takes the time here.
    defaults = {"max_iterations": 100, "num_correction_pairs": 4, "jit_compile": False}
    return OptimizerConfig(**{**defaults, **values})


def rosenbrock(x):
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_with_random_noise_the_lowest_of_all_evaluations_is_returned(line_search, seed):
    """The same point has another loss each time: nothing may be evaluated again for the result."""
    generator = np.random.default_rng(seed)
    seen = []

    def noise(value, x):
        seen.append((value + 5 * generator.normal(), x.copy()))
        return seen[-1][0]

    def objective(x):
        value = tf.reduce_sum((x - 1.0) ** 2 * [1.0, 30.0, 900.0])
        noisy = tf.numpy_function(noise, [value, x], tf.float64)
        return {"a": value + tf.stop_gradient(tf.reshape(noisy, []) - value)}

    chosen = config(line_search=line_search, max_iterations=40, gradient_tolerance=0)
    solution = minimize(objective, np.array([5.0, -3.0, 2.0]), chosen)
    loss, point = min(seen, key=lambda item: item[0])
    assert seen[-1][0] > loss + 1  # so the last is not the best
    assert solution.loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_array_equal(solution.image, point)
    assert solution.evaluations == len(seen)
    losses = [step.loss for step in solution.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == solution.initial_loss == pytest.approx(seen[0][0], rel=1e-12)


@pytest.mark.usefixtures("eager")
@BOTH
def test_a_restart_goes_on_from_the_best_point_after_a_search_that_failed(line_search):
    """After some evaluations all is NaN, until the search comes back to the best point."""
    seen = []

    def hiccup(value, x):
        points = [point for _, point in seen]
        back = any(np.array_equal(x, point) for point in points)
        failing = len(seen) > 6 and not state["mended"]
        if failing and back:
            state["mended"] = True
            best = min(seen, key=lambda item: item[0])[1]
            state["from_best"] = np.array_equal(x, best)
        elif failing:
            return np.float64(np.nan)
        seen.append((float(value), x.copy()))
        return value

    def objective(x):
        value = rosenbrock(x)
        reported = tf.numpy_function(hiccup, [value, x], tf.float64)
        return {"r": value + tf.stop_gradient(tf.reshape(reported, []) - value)}

    state = {"mended": False}
    chosen = config(line_search=line_search, max_iterations=200)
    solution = minimize(objective, np.full(4, -1.2), chosen)
    assert state == {"mended": True, "from_best": True}
    assert solution.restarts == 1
    np.testing.assert_allclose(solution.image, np.ones(4), atol=1e-3)

    seen.clear()
    state = {"mended": False}
    with pytest.raises(OptimizationError, match="line search"):
        minimize(objective, np.full(4, -1.2), dataclasses.replace(chosen, max_restarts=0))


@BOTH
def test_a_loss_that_is_finite_everywhere_never_counts_as_not_finite(line_search):
    """At a kink the line search itself may divide by zero and ask for a point of NaN."""

    def objective(x):
        return {"a": tf.reduce_sum(tf.abs(x) * tf.constant([1.0, 10.0, 100.0], tf.float64))}

    chosen = config(line_search=line_search, max_restarts=0, max_iterations=300)
    minimizer = Minimizer(objective, (3,), np.float64, chosen)
    for start in ([1.0, 2.0, 3.0], [10.0, -3.0, 5.0], [1.0, 1.0, 1.0]):
        solution = minimizer.minimize(np.array(start))
        assert 0 <= solution.loss < 0.2 * solution.initial_loss


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_start_without_finite_loss_and_gradient_raises(where):
    def objective(x):
        root = tf.sqrt(x) if where == "gradient" else tf.math.log(x)
        return {"a": tf.reduce_sum(root)}

    with pytest.raises(OptimizationError, match="start"):
        minimize(objective, np.array([1.0, 0.0, 4.0]), config())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_start_that_is_not_finite_itself_raises(value):
    with pytest.raises(OptimizationError, match="start"):
        minimize(lambda x: {"a": tf.reduce_sum(x**2)}, np.array([1.0, value, 4.0]), config())


@pytest.mark.usefixtures("eager")
@BOTH
def test_a_gradient_that_is_finite_at_the_start_alone_raises(line_search):
    @tf.custom_gradient
    def trap(x):
        slope = tf.where(tf.reduce_all(x == 1.0), 2 * x, np.nan * x)
        return tf.reduce_sum(x**2), lambda upstream: upstream * slope

    with pytest.raises(OptimizationError, match=r"line search.* 3$"):
        minimize(lambda x: {"a": trap(x)}, np.ones(3), config(line_search=line_search))


@pytest.mark.usefixtures("eager")
def test_a_minimizer_can_be_used_again_after_it_raised():
    def objective(x):
        return {"a": tf.reduce_sum((x - 2.0) ** 2 + 0 * tf.math.log(x))}

    minimizer = Minimizer(objective, (3,), np.float64, config())
    with pytest.raises(OptimizationError):
        minimizer.minimize(np.array([1.0, -1.0, 1.0]))
    solution = minimizer.minimize(np.ones(3))
    np.testing.assert_allclose(solution.image, np.full(3, 2.0), atol=1e-6)
    assert solution.initial_loss == 3.0
