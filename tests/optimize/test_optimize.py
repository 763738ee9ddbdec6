"""The optimizer beyond test_minimizer.py: exact sameness, SciPy, bookkeeping, extremes."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp

from rwgen import OptimizerConfig, StopReason, minimize

BOTH = pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])


def config(**values):
    # Few pairs make small graphs, and tracing is what takes the time here.
    defaults = {"max_iterations": 100, "num_correction_pairs": 4, "jit_compile": False}
    return OptimizerConfig(**{**defaults, **values})


def rosenbrock(x):
    return {"r": tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)}


def value_and_gradient(objective, point):
    point = tf.constant(point)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = tf.add_n(list(objective(point).values()))
    return value, tape.gradient(value, point)


def without_times(steps):
    return [dataclasses.replace(step, seconds=0.0) for step in steps]


# Sameness


def test_chunks_of_any_length_give_bit_identical_results():
    found = {}
    for chunk in (1, 7, 25):
        chosen = config(max_iterations=25, iterations_per_chunk=chunk, gradient_tolerance=0)
        found[chunk] = minimize(rosenbrock, np.full(6, -1.2, np.float32), chosen)
    for solution in found.values():
        np.testing.assert_array_equal(solution.image, found[25].image)
        assert solution.image.dtype == np.float32
        assert (solution.loss, solution.iterations) == (found[25].loss, 25)
        assert solution.evaluations == found[25].evaluations
    assert [step.iteration for step in found[7].history] == [0, 7, 14, 21, 25]
    coarse = [step for step in found[1].history if step.iteration in (0, 7, 14, 21, 25)]
    assert without_times(coarse) == without_times(found[7].history)


@pytest.mark.parametrize("chunk", [1, 7])
def test_with_tfps_line_search_it_is_bit_identical_to_one_call_of_tfp(chunk):
    chosen = config(
        line_search="hager_zhang",
        max_iterations=25,
        iterations_per_chunk=chunk,
        gradient_tolerance=0,
    )
    start = np.full(6, -1.2)
    gradient = value_and_gradient(rosenbrock, start)[1].numpy()
    scale = tf.constant(chosen.first_step / np.sqrt(np.mean(np.square(gradient))))

    def scaled(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = rosenbrock(x)["r"]
        return value * scale, tape.gradient(value, x) * scale

    @tf.function(autograph=False)
    def uninterrupted(position):
        return tfp.optimizer.lbfgs_minimize(
            scaled,
            initial_position=position,
            num_correction_pairs=chosen.num_correction_pairs,
            max_iterations=25,
            max_line_search_iterations=chosen.max_line_search_iterations,
            tolerance=0.0,
        )

    reference = uninterrupted(tf.constant(start))
    solution = minimize(rosenbrock, start, chosen)
    np.testing.assert_array_equal(solution.image, reference.position)
    assert solution.evaluations == int(reference.num_objective_evaluations)


@pytest.mark.usefixtures("eager")
def test_a_factor_on_the_loss_changes_nothing_else():
    """The loss is scaled to a first step; powers of two are scaled without rounding."""
    plain, small = (
        minimize(
            lambda x, factor=factor: {"r": factor * rosenbrock(x)["r"]},
            np.full(6, -1.2),
            config(max_iterations=20),
        )
        for factor in (1.0, 2.0**-60)
    )
    np.testing.assert_array_equal(plain.image, small.image)
    assert small.loss == plain.loss * 2.0**-60
    assert small.evaluations == plain.evaluations


def test_runs_of_fresh_minimizers_under_xla_are_bit_identical():
    def objective(x):
        return {"a": tf.reduce_sum(tf.sin(3 * x) + x**2), "b": tf.reduce_sum(tf.abs(x) ** 3)}

    start = np.linspace(-2, 2, 50, dtype=np.float32)
    chosen = config(max_iterations=15, jit_compile=True)
    first, second = (minimize(objective, start, chosen) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    assert without_times(first.history) == without_times(second.history)


# Known answers


@pytest.mark.parametrize(("condition", "size"), [(1e4, 60), (1e6, 20)])
def test_ill_conditioned_quadratics_end_near_scipys_loss_at_equal_iterations(condition, size):
    scales = np.geomspace(1, condition, size)
    options = {"maxcor": 10, "maxiter": 100, "maxfun": 10_000, "ftol": 0, "gtol": 0}
    peer = scipy.optimize.minimize(
        lambda x: (np.sum(scales * (x - 1) ** 2), 2 * scales * (x - 1)),
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    solution = minimize(
        lambda x: {"a": tf.reduce_sum(scales * (x - 1) ** 2)},
        np.zeros(size),
        config(gradient_tolerance=0, iterations_per_chunk=100, num_correction_pairs=10),
    )
    assert solution.iterations == peer.nit == 100
    assert solution.loss < 2 * peer.fun
    assert solution.evaluations <= 1.15 * peer.nfev
    assert solution.loss == pytest.approx(np.sum(scales * (solution.image - 1) ** 2))


@pytest.mark.usefixtures("eager")
@BOTH
def test_the_first_trial_step_has_the_configured_length_downhill(line_search):
    points = []

    def objective(x):
        value = tf.reduce_sum(tf.constant([1.0, 50.0, 1e4], tf.float64) * (x - 3.0) ** 2)
        keep = tf.numpy_function(lambda v: points.append(v.copy()), [x], [])
        with tf.control_dependencies([keep]):
            return {"a": tf.identity(value)}

    start = np.array([1.0, -2.0, 0.5])
    minimize(objective, start, config(line_search=line_search, max_iterations=1, first_step=0.25))
    np.testing.assert_array_equal(points[0], start)
    step = points[1] - points[0]
    assert np.sqrt(np.mean(step**2)) == pytest.approx(0.25, rel=1e-12)
    downhill = -2 * np.array([1.0, 50.0, 1e4]) * (start - 3.0)
    assert step @ downhill == pytest.approx(
        np.linalg.norm(step) * np.linalg.norm(downhill), rel=1e-12
    )


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("share", [1e-1, 1e-5])
def test_the_gradient_tolerance_is_a_share_of_the_largest_component_at_the_start(share):
    seen = []
    solution = minimize(
        rosenbrock,
        np.full(6, -1.2),
        config(gradient_tolerance=share, max_iterations=500),
        lambda step, best: seen.append(np.abs(value_and_gradient(rosenbrock, best())[1]).max()),
    )
    assert solution.stop_reason is StopReason.GRADIENT_TOLERANCE
    assert seen[-1] <= share * seen[0]
    assert seen[-2] > share * seen[0]


# Bookkeeping


def two_terms(x):
    return {"far": tf.reduce_sum((x - 4.0) ** 2), "waves": 1 + tf.reduce_mean(tf.sin(9 * x))}


@pytest.mark.usefixtures("eager")
def test_terms_belong_to_the_best_point_and_sum_to_its_loss():
    seen = []
    solution = minimize(
        two_terms,
        np.linspace(-1, 1, 5),
        config(max_iterations=30),
        lambda step, best: seen.append((step, best())),
    )
    assert seen[-1][0].terms == solution.terms
    for step, point in seen:
        assert step.terms == {
            "far": pytest.approx(np.sum((point - 4) ** 2), rel=1e-9),
            "waves": pytest.approx(1 + np.mean(np.sin(9 * point)), rel=1e-9),
        }
        assert step.loss == pytest.approx(sum(step.terms.values()), rel=1e-12)


@pytest.mark.usefixtures("eager")
def test_images_given_to_the_callback_stay_as_they_were():
    snapshots = []
    minimize(
        two_terms,
        np.linspace(-1, 1, 5),
        config(max_iterations=10),
        lambda step, best: snapshots.append((best(), best().copy())),
    )
    assert not np.array_equal(snapshots[0][0], snapshots[-1][0])
    for kept, copy in snapshots:
        np.testing.assert_array_equal(kept, copy)


@pytest.mark.usefixtures("eager")
def test_the_start_is_neither_changed_nor_returned():
    start = np.full(4, -1.2)
    kept = start.copy()
    solution = minimize(rosenbrock, start, config(max_iterations=0))
    solution.image[:] = 7
    minimize(rosenbrock, start, config(max_iterations=5))
    np.testing.assert_array_equal(start, kept)


@pytest.mark.usefixtures("eager")
def test_iterations_are_bounded_over_restarts_too():
    chosen = config(
        line_search="hager_zhang",
        max_iterations=37,
        iterations_per_chunk=10,
        max_line_search_iterations=1,
        max_restarts=50,
    )
    solution = minimize(rosenbrock, np.full(9, -1.2, np.float32), chosen)
    assert solution.iterations <= 37
    iterations = [step.iteration for step in solution.history]
    assert 0 <= np.diff(iterations).min() <= np.diff(iterations).max() <= 10


@pytest.mark.usefixtures("eager")
def test_seconds_and_evaluations_grow_along_the_history():
    solution = minimize(rosenbrock, np.full(4, -1.2), config(max_iterations=12))
    for name in ("seconds", "evaluations", "iteration"):
        values = [getattr(step, name) for step in solution.history]
        assert values == sorted(values)
        assert values[-1] > values[0]
    assert solution.seconds == solution.history[-1].seconds
    assert solution.evaluations == solution.history[-1].evaluations


# Extremes


@pytest.mark.usefixtures("eager")
def test_a_constant_loss_needs_no_iteration():
    solution = minimize(lambda x: {"a": tf.constant(3.0, tf.float64)}, np.ones(3), config())
    assert (solution.iterations, solution.loss) == (0, 3.0)
    assert solution.stop_reason is StopReason.GRADIENT_TOLERANCE


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_losses_at_either_end_of_float32_are_minimised(factor):
    solution = minimize(
        lambda x: {"a": factor * tf.reduce_sum((x - 2.0) ** 2)},
        np.linspace(0, 1, 7, dtype=np.float32),
        config(),
    )
    np.testing.assert_allclose(solution.image, np.full(7, 2.0), atol=1e-4)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("shape", [(1,), (2, 3), (1, 4, 5, 3)])
def test_points_of_any_shape_are_given_to_the_objective_as_they_are(shape):
    shapes = set()

    def objective(x):
        shapes.add(tuple(x.shape))
        return {"a": tf.reduce_sum((x - 1.0) ** 2)}

    solution = minimize(objective, np.zeros(shape), config())
    assert shapes == {shape}
    np.testing.assert_allclose(solution.image, np.ones(shape), atol=1e-6)
