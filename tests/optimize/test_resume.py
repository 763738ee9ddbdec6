"""Runs that end at any point and go on from a checkpoint are the runs that never ended."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import (
    Checkpoint,
    CheckpointError,
    Minimizer,
    OptimizerConfig,
    StopReason,
    TextureConfig,
)
from rwgen.optimize.solution import Solution, Step
from rwgen.synthesis.pyramid import solve_coarse_to_fine


class KilledError(Exception):
    """Stands for SIGKILL: nothing is saved any more."""


def killing(iteration):
    def callback(step, _best):
        if step.iteration >= iteration:
            raise KilledError

    return callback


def timeless(solution):
    """Everything of a solution that must be the same, with the bytes of its image."""
    steps = [dataclasses.replace(step, seconds=0.0) for step in solution.history]
    image = (solution.image.dtype, solution.image.shape, solution.image.tobytes())
    return dataclasses.replace(solution, image=image, history=tuple(steps), seconds=0.0)


def noting(steps):
    def callback(step, _best):
        steps.append(step)

    return callback


def terms(x):
    valley = tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    return {"valley": valley, "size": 0.01 * tf.reduce_sum(x**2)}


# One iteration of the Hager-Zhang search is too few in this valley, so that searches restart.
CONFIG = OptimizerConfig(
    max_iterations=40,
    num_correction_pairs=4,
    max_line_search_iterations=1,
    max_restarts=20,
    gradient_tolerance=0,
    jit_compile=False,
)


def start(dtype="float64"):
    return np.full(4, -1.2, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("line_search", ["wolfe_first", "hager_zhang"])
def test_a_search_goes_on_exactly_from_wherever_it_was_killed(line_search, dtype, tmp_path):
    config = dataclasses.replace(CONFIG, line_search=line_search)
    # One for all runs: whatever is not restored is left from another run, and would be seen.
    minimizer = Minimizer(terms, (4,), dtype, config)
    expected = minimizer.minimize(start(dtype))
    restarts = set()
    for number, at in enumerate(range(1, expected.iterations + 1, 8)):
        folder = tmp_path / str(number)
        with pytest.raises(KilledError):
            minimizer.minimize(start(dtype), killing(at), Checkpoint(folder, every=1))
        minimizer.minimize(start(dtype) * 2)  # leaves other values behind
        found = Checkpoint(folder)
        assert found.is_saved == (at > 1)
        if found.is_saved:
            restarts.add(found.get("search")["restarts"])
        seen = []
        solution = minimizer.minimize(start(dtype), noting(seen), found)
        assert timeless(solution) == timeless(expected)
        # An iteration is saved after its callback, which ended the run before that.
        assert seen[0].iteration == at - 1
    graph = minimizer._full_steps if line_search == "wolfe_first" else minimizer._tfp_chunk
    assert graph.experimental_get_tracing_count() == 1
    if line_search == "hager_zhang":
        assert expected.restarts > 1
        assert len(restarts) > 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("chunk", [1, 4])
def test_it_is_saved_whenever_a_chunk_passes_a_multiple_and_at_the_end(
    chunk, tmp_path, monkeypatch
):
    written = []
    save = Checkpoint.save

    def note(self, **parts):
        written.append(parts["search"]["history"][-1]["iteration"])
        save(self, **parts)

    monkeypatch.setattr(Checkpoint, "save", note)
    config = dataclasses.replace(
        CONFIG, max_iterations=20, iterations_per_chunk=chunk, max_line_search_iterations=20
    )
    rwgen.minimize(terms, start(), config, None, Checkpoint(tmp_path, every=6))
    assert written == ([6, 12, 18, 20] if chunk == 1 else [8, 12, 20])


def test_a_callback_that_ends_a_run_has_it_saved_and_a_finished_run_is_not_run_again(tmp_path):
    evaluated = []

    def noted(x):
        note = tf.numpy_function(lambda v: evaluated.append(v), [x], [])
        with tf.control_dependencies([note]):
            return {name: tf.identity(value) for name, value in terms(x).items()}

    minimizer = Minimizer(noted, (4,), np.float64, CONFIG)
    expected = minimizer.minimize(start())
    whole = len(evaluated)
    evaluated.clear()

    def ending(step, _best):
        return step.iteration == 7

    ended = minimizer.minimize(start(), ending, Checkpoint(tmp_path, every=1000))
    assert (ended.stop_reason, ended.iterations) == (StopReason.CALLBACK, 7)
    for _ in range(2):
        again = minimizer.minimize(start(), None, Checkpoint(tmp_path, every=1000))
        assert timeless(again) == timeless(expected)
        assert len(evaluated) == whole  # none was lost, none was made twice


def test_seconds_go_on_from_what_was_saved(tmp_path):
    minimizer = Minimizer(terms, (4,), np.float64, CONFIG)
    minimizer.minimize(start(), lambda step, _: step.iteration == 3, Checkpoint(tmp_path))
    checkpoint = Checkpoint(tmp_path)
    values = dict(checkpoint.get("search"))
    values["history"] = [{**step, "seconds": 1000.0} for step in values["history"]]
    checkpoint.save(search=values)
    solution = minimizer.minimize(start(), None, Checkpoint(tmp_path))
    assert 1000 < solution.history[4].seconds < solution.seconds < 1100


def test_a_count_of_values_that_were_not_finite_is_restored(tmp_path):
    """Whether a search that gets nowhere is at its end or in trouble depends on it."""

    def walled(x):
        away = tf.reduce_any(tf.abs(x - 1.0) > 0)
        return {"a": tf.reduce_sum(x) + tf.where(away, tf.constant(np.nan, x.dtype), 0.0)}

    config = dataclasses.replace(CONFIG, max_restarts=3)
    minimizer = Minimizer(walled, (3,), np.float64, config)
    minimizer.minimize(np.ones(3), lambda step, _: step.iteration == 1, Checkpoint(tmp_path))
    assert Checkpoint(tmp_path).get("search")["variable.non_finite"] > 0
    fresh = Minimizer(walled, (3,), np.float64, config)
    with pytest.raises(rwgen.OptimizationError, match="line search"):
        fresh.minimize(np.ones(3), None, Checkpoint(tmp_path))


@pytest.mark.usefixtures("eager")
def test_the_terms_of_the_best_point_are_restored(tmp_path):
    """Seen only where the next iteration finds nothing better."""

    def flat(x):
        return {"a": tf.reduce_sum((x - 1.0) ** 4), "b": 1.0 + 0 * tf.reduce_sum(x)}

    config = dataclasses.replace(CONFIG, max_iterations=1000, max_line_search_iterations=20)
    minimizer = Minimizer(flat, (6,), np.float32, config)
    expected = minimizer.minimize(np.zeros(6, np.float32))
    losses = [step.loss for step in expected.history]
    at = next(i for i in range(1, len(losses)) if losses[i] == losses[i - 1])
    with pytest.raises(KilledError):
        minimizer.minimize(np.zeros(6, np.float32), killing(at), Checkpoint(tmp_path, every=1))
    minimizer.minimize(np.full(6, 9.0, np.float32), lambda step, _: True)
    solution = minimizer.minimize(np.zeros(6, np.float32), None, Checkpoint(tmp_path, every=1))
    assert timeless(solution) == timeless(expected)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("change", ["start", "config", "tolerance", "dtype"])
def test_the_search_of_another_start_or_configuration_is_refused(change, tmp_path):
    rwgen.minimize(terms, start(), dataclasses.replace(CONFIG, max_iterations=1), None,
                   Checkpoint(tmp_path))  # fmt: skip
    changed = {"config": {"max_iterations": 0}, "tolerance": {"gradient_tolerance": 0.5}}
    config = dataclasses.replace(CONFIG, **{"max_iterations": 1, **changed.get(change, {})})
    point = start("float32" if change == "dtype" else "float64") + (change == "start")
    with pytest.raises(CheckpointError, match="another start or configuration"):
        rwgen.minimize(terms, point, config, None, Checkpoint(tmp_path))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("change", [{"state.position": np.zeros(5)}, {"tolerance": None}, {}])
def test_a_search_that_is_not_one_is_refused(change, tmp_path):
    config = dataclasses.replace(CONFIG, max_iterations=1)
    rwgen.minimize(terms, start(), config, None, Checkpoint(tmp_path))
    checkpoint = Checkpoint(tmp_path)
    values = {**checkpoint.get("search"), **change}
    if not change or change.get("tolerance", 0) is None:
        del values["tolerance" if change else "scale"]
    checkpoint.save(search=values)
    with pytest.raises(CheckpointError, match="damaged"):
        rwgen.minimize(terms, start(), config, None, Checkpoint(tmp_path))


# Coarse to fine


def solver(solved, fail_at=None):
    def solve(size, begin, config, report):
        if size == fail_at:
            raise KilledError
        solved.append(size)
        base = 0.0 if begin is None else float(begin.mean())
        image = np.full((*size, 3), base + 10 * len(str(size)), np.float32)
        history = [
            Step(i, 2 * i, 1 / (1 + i), {"a": 1 / (1 + i)}, 1.0, 1.0)
            for i in (0, config.max_iterations)
        ]
        for step in history:
            report(step, lambda: image)
        last = history[-1]
        return Solution(image, 1.0, last.loss, last.terms, tuple(history), last.iteration,
                        last.evaluations, 1, 1.0, StopReason.MAX_ITERATIONS)  # fmt: skip

    return solve


def test_sizes_that_were_finished_are_not_solved_again(tmp_path):
    sizes, config = ((8, 16), (16, 32), (32, 64)), OptimizerConfig(max_iterations=10)
    expected = solve_coarse_to_fine(solver([]), sizes, None, config, None)
    for failing, left in ((sizes[1], sizes[1:]), (sizes[2], sizes[2:])):
        folder = tmp_path / str(failing)
        with pytest.raises(KilledError):
            solve_coarse_to_fine(solver([], failing), sizes, None, config, None, Checkpoint(folder))
        solved, seen = [], []
        solution = solve_coarse_to_fine(
            solver(solved), sizes, None, config, noting(seen), Checkpoint(folder)
        )
        assert tuple(solved) == left
        assert timeless(solution) == timeless(expected)
        assert solution.seconds == expected.seconds == 3
        assert seen[0].iteration == 3 * sizes.index(failing)


def picture(height, width, seed):
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 8, width // 8, 3))
    return rwgen.resize_image(noise, height, width)


OPTIMIZER = OptimizerConfig(max_iterations=10, num_correction_pairs=4, jit_compile=False)
TEXTURE = TextureConfig(layers=("conv1_1", "conv2_1"), octaves=1, optimizer=OPTIMIZER)


@pytest.mark.usefixtures("eager")
@pytest.mark.slow
def test_a_texture_goes_on_exactly_within_and_between_its_sizes(small_network, tmp_path):
    network, source = small_network(), picture(64, 64, 1)

    def run(callback=None, **rest):
        return rwgen.synthesize_texture(
            source, network=network, config=TEXTURE, callback=callback, **rest
        )

    expected = run()
    assert [step.iteration for step in expected.history].count(5) == 2  # the border
    for at, every, resumed in ((4, 2, 2), (6, 100, 5), (9, 1, 8)):
        folder = tmp_path / f"{at}-{every}"
        with pytest.raises(KilledError):
            run(killing(at), checkpoint=Checkpoint(folder, every))
        seen = []
        checkpoint = Checkpoint(folder, every)
        assert (checkpoint.get("sizes") is not None) == (at > 5)
        solution = run(noting(seen), checkpoint=checkpoint)
        assert seen[0].iteration == resumed
        assert timeless(solution) == timeless(expected)


@pytest.mark.usefixtures("eager")
@pytest.mark.slow
def test_an_interruption_in_a_coarse_size_is_gone_on_from(small_network, tmp_path):
    network, source = small_network(), picture(64, 64, 1)
    common = {"network": network, "config": TEXTURE}
    ended = rwgen.synthesize_texture(
        source, callback=lambda step, _: step.iteration == 2, checkpoint=Checkpoint(tmp_path),
        **common,
    )  # fmt: skip
    assert (ended.iterations, ended.image.shape) == (2, (64, 64, 3))
    solution = rwgen.synthesize_texture(source, checkpoint=Checkpoint(tmp_path), **common)
    assert timeless(solution) == timeless(rwgen.synthesize_texture(source, **common))


@pytest.mark.usefixtures("eager")
def test_a_finished_search_continues_to_more_iterations(tmp_path):
    for iterations in (3, 5):
        config = dataclasses.replace(CONFIG, max_iterations=iterations)
        found = rwgen.minimize(terms, start(), config, None, Checkpoint(tmp_path, every=1))
        assert found.iterations == iterations
    whole = rwgen.minimize(terms, start(), dataclasses.replace(CONFIG, max_iterations=5))
    np.testing.assert_array_equal(found.image, whole.image)
    assert (found.loss, found.evaluations) == (whole.loss, whole.evaluations)
