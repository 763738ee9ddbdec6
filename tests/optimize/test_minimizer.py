"""The optimizer on problems with known answers, against SciPy, and in trouble."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from rwgen import (
    InvalidInputError,
    Minimizer,
    OptimizationError,
    OptimizerConfig,
    Recipe,
    StopReason,
    TextureConfig,
    build_network,
    minimize,
)
from rwgen.network.architecture import Architecture
from rwgen.optimize.best_so_far import graph_function
from rwgen.synthesis.objectives import inversion_objective, texture_objective

SMALL = Architecture("small", ((4, 1), (6, 2)))


def config(**values):
    return OptimizerConfig(**{"max_iterations": 100, "jit_compile": False, **values})


def quadratic(x):
    scales = tf.constant(np.geomspace(1, 100, 12).reshape(3, 4))
    return {"bowl": tf.reduce_sum(scales * (x - 2.0) ** 2)}


def rosenbrock(x):
    return {"r": tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)}


@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_a_quadratic_reaches_its_minimum_and_says_why_it_stopped(line_search):
    chosen = config(line_search=line_search, max_iterations=300, gradient_tolerance=1e-9)
    solution = minimize(quadratic, np.zeros((3, 4)), chosen)
    np.testing.assert_allclose(solution.image, np.full((3, 4), 2.0), atol=1e-7)
    assert solution.stop_reason is StopReason.GRADIENT_TOLERANCE
    assert solution.initial_loss == pytest.approx(4 * np.geomspace(1, 100, 12).sum())
    assert solution.terms == {"bowl": solution.loss}
    assert solution.iterations < 300


@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_rosenbrock_reaches_its_minimum(line_search):
    chosen = config(line_search=line_search, max_iterations=500, gradient_tolerance=1e-12)
    solution = minimize(rosenbrock, np.full(8, -1.2), chosen)
    assert solution.loss < 1e-15
    np.testing.assert_allclose(solution.image, np.ones(8), atol=1e-6)


def scipy_loss(objective, start, iterations):
    def value_and_gradient(flat):
        point = tf.constant(flat.reshape(start.shape))
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = tf.add_n(list(objective(point).values()))
        return float(value), tape.gradient(value, point).numpy().ravel()

    options = {"maxiter": iterations, "maxcor": 20, "ftol": 0, "gtol": 0, "maxfun": 10_000}
    return scipy.optimize.minimize(
        value_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", options=options
    ).fun


@pytest.mark.parametrize("task", ["inversion", "texture"])
def test_small_problems_end_near_scipys_loss_at_equal_iterations(task):
    generator = np.random.default_rng(1)
    # Large biases make inversion nearly linear: one minimum, so that losses compare.
    recipe = Recipe(kernel_stddev=0.3, bias_stddev=1.0 if task == "inversion" else 0.1)
    network = build_network(recipe, architecture=SMALL, dtype="float64")
    image = generator.uniform(-0.5, 0.5, (1, 12, 12, 3))
    start = generator.normal(0, 0.1, (1, 12, 12, 3))
    if task == "inversion":
        objective = inversion_objective(network, image, ["conv1_1"])
    else:
        objective = texture_objective(network, image, TextureConfig(layers=("conv1_1", "conv2_1")))
    iterations = 40
    expected = scipy_loss(objective, start, iterations)
    solution = minimize(objective, start, config(max_iterations=iterations, gradient_tolerance=0))
    assert solution.iterations == iterations
    assert solution.loss < solution.initial_loss / 100
    assert solution.loss < 3 * expected
    assert solution.evaluations <= 1.15 * iterations + 2


def recorded(function):
    """An objective that also keeps the loss of every evaluation."""
    losses = []

    def objective(x):
        value = function(x)
        keep = tf.numpy_function(lambda v: losses.append(float(v)), [value], [])
        with tf.control_dependencies([keep] if tf.inside_function() else []):
            return {"loss": tf.identity(value)}

    return objective, losses


@pytest.mark.usefixtures("eager")
def test_the_best_of_all_evaluated_points_is_returned_and_every_evaluation_counted():
    def noisy(x):
        ripple = tf.reduce_sum(tf.sin(40 * x)) * 0.5
        return tf.reduce_sum(x**2) + ripple

    objective, losses = recorded(noisy)
    solution = minimize(objective, np.full(5, 3.0), config(max_iterations=40))
    assert solution.loss == min(losses)
    assert solution.evaluations == len(losses)
    expected = np.sum(solution.image**2) + 0.5 * np.sum(np.sin(40 * solution.image))
    assert solution.loss == pytest.approx(expected)


@pytest.mark.usefixtures("eager")
def test_history_never_rises_and_its_last_entry_is_the_solution():
    seen = []
    solution = minimize(
        rosenbrock,
        np.full(4, -1.2),
        config(max_iterations=30),
        lambda step, best: seen.append((step, best())),
    )
    losses = [step.loss for step in solution.history]
    assert losses == sorted(losses, reverse=True)
    assert [step for step, _ in seen] == list(solution.history)
    assert solution.history[0].iteration == 0
    assert solution.history[-1].loss == solution.loss
    np.testing.assert_array_equal(seen[-1][1], solution.image)
    for step, best in seen:
        assert float(rosenbrock(tf.constant(best))["r"]) == pytest.approx(step.loss, rel=1e-9)


def test_float32_ends_with_no_progress_after_restarts():
    def flat(x):
        return {"a": tf.reduce_sum((x - 1.0) ** 4) + 1.0}

    chosen = config(max_iterations=1000, gradient_tolerance=0)
    solution = minimize(flat, np.zeros(6, np.float32), chosen)
    assert solution.stop_reason is StopReason.NO_PROGRESS
    assert solution.restarts >= 1
    assert solution.loss == pytest.approx(1.0, abs=1e-5)


def test_restarts_go_on_where_a_line_search_runs_out():
    """One iteration of the line search is too few on the way through Rosenbrock's valley."""
    found = {}
    for restarts in (0, 20):
        chosen = config(
            line_search="hager_zhang",
            max_line_search_iterations=1,
            max_restarts=restarts,
            max_iterations=200,
        )
        found[restarts] = minimize(rosenbrock, np.full(4, -1.2), chosen)
    assert found[0].restarts == 0
    assert found[0].stop_reason is StopReason.NO_PROGRESS
    assert found[20].restarts > 0
    assert found[20].loss < 0.1 * found[0].loss


@pytest.mark.usefixtures("eager")
def test_a_callback_ends_the_search():
    solution = minimize(
        rosenbrock, np.full(4, -1.2), config(), lambda step, best: step.iteration == 3
    )
    assert solution.stop_reason is StopReason.CALLBACK
    assert solution.iterations == 3


@pytest.mark.usefixtures("eager")
def test_no_iterations_return_the_start():
    start = np.full(4, -1.2)
    solution = minimize(rosenbrock, start, config(max_iterations=0))
    np.testing.assert_array_equal(solution.image, start)
    assert (solution.iterations, solution.evaluations) == (0, 1)
    assert solution.stop_reason is StopReason.MAX_ITERATIONS


@pytest.mark.usefixtures("eager")
def test_a_start_at_the_minimum_needs_no_iteration():
    solution = minimize(quadratic, np.full((3, 4), 2.0), config())
    assert solution.iterations == 0
    assert solution.stop_reason is StopReason.GRADIENT_TOLERANCE


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_at_the_start_raises(value):
    with pytest.raises(OptimizationError, match="finite"):
        minimize(lambda x: {"a": tf.reduce_sum(x) * value}, np.ones(3), config())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_nan_beyond_a_wall_is_survived(line_search):
    def walled(x):
        return {"a": tf.reduce_sum((x - 1) ** 4 - tf.math.log(1.5 - x))}

    found = minimize(walled, np.array([-3.0, 0.2]), config(line_search=line_search))
    assert np.isfinite(found.loss)
    assert found.loss < 2 * 0.6  # near the minimum, where each component's share is below 0.6


@pytest.mark.usefixtures("eager")
def test_nan_wherever_the_search_goes_raises():
    def trap(x):
        away = tf.reduce_any(tf.abs(x - 1.0) > 0)
        return {"a": tf.reduce_sum(x) + tf.where(away, tf.constant(np.nan, x.dtype), 0.0)}

    with pytest.raises(OptimizationError, match="line search"):
        minimize(trap, np.ones(3), config())


@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_graphs_are_traced_once_for_all_runs_and_chunks(line_search):
    chosen = config(line_search=line_search, max_iterations=11, iterations_per_chunk=4)
    minimizer = Minimizer(rosenbrock, (4,), np.float64, chosen)
    first = minimizer.minimize(np.full(4, -1.2))
    second = minimizer.minimize(np.full(4, -1.2))
    third = minimizer.minimize(np.full(4, 0.3))
    assert [step.iteration for step in first.history] == [0, 4, 8, 11]
    np.testing.assert_array_equal(first.image, second.image)
    assert first.evaluations == second.evaluations
    assert not np.array_equal(first.image, third.image)
    graph = minimizer._full_steps if line_search == "wolfe_first" else minimizer._tfp_chunk
    assert graph.experimental_get_tracing_count() == 1
    assert minimizer._objective.evaluate.experimental_get_tracing_count() == 1


def test_xla_and_the_plain_graph_agree():
    found = [
        minimize(rosenbrock, np.full(4, -1.2), config(max_iterations=10, jit_compile=jit)).image
        for jit in (False, True)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(InvalidInputError, match="shape"):
        Minimizer(quadratic, (3, 4), np.float64, config()).minimize(np.zeros((4, 3)))


def test_many_minimizers_in_a_row_raise_no_warning(caplog):
    """TensorFlow's advice on retracing would not help, since each of them traces once."""
    with caplog.at_level("WARNING", logger="tensorflow"):
        for _ in range(7):
            minimize(rosenbrock, np.full(4, -1.2), config(max_iterations=0))
        for function in (graph_function(Doubler().double) for _ in range(7)):
            assert float(function(tf.constant(2.0))) == 4.0
    assert not caplog.records
    with caplog.at_level("WARNING", logger="tensorflow"):  # as it would be without
        for function in (tf.function(Doubler().double) for _ in range(7)):
            function(tf.constant(2.0))
    assert "retracing" in caplog.text


class Doubler:
    def double(self, value):
        return 2 * value


@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_runs_with_other_inputs_share_a_graph(line_search):
    traced = []

    def objective(x, inputs):
        traced.append(1)
        return {"a": tf.reduce_sum((x - inputs["center"]) ** 4) * inputs["factor"]}

    minimizer = Minimizer(objective, (3,), np.float64, config(line_search=line_search))
    for center in ([1.0, 2.0, 3.0], [-2.0, 0.0, 5.0]):
        inputs = {"center": tf.constant(center, tf.float64), "factor": tf.constant(2.0, tf.float64)}
        solution = minimizer.minimize(np.zeros(3), inputs=[inputs])
        np.testing.assert_allclose(solution.image, center, atol=0.05)
        assert len(traced) == 1


def test_a_run_can_have_another_number_of_iterations():
    minimizer = Minimizer(rosenbrock, (4,), np.float64, config(max_iterations=3))
    start = np.full(4, -1.2)
    assert minimizer.minimize(start, max_iterations=5).iterations == 5
    assert minimizer.minimize(start).iterations == 3
    with pytest.raises(InvalidInputError, match="max_iterations: expected"):
        minimizer.minimize(start, max_iterations=-1)
