import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import Solution, Step, StopReason
from rwgen.synthesis.pyramid import (
    AUTOMATIC_SIDE,
    AUTOMATIC_SIDE_OF_IMAGE,
    SMALLEST_SIDE,
    image_sizes,
    solve_coarse_to_fine,
)


@pytest.mark.parametrize(
    ("size", "octaves", "shortest", "expected"),
    [
        ((256, 256), 0, 256, [(256, 256)]),
        ((256, 256), 1, 256, [(128, 128), (256, 256)]),
        ((256, 256), None, 256, [(128, 128), (256, 256)]),
        ((640, 320), None, 320, [(160, 80), (320, 160), (640, 320)]),
        ((256, 256), 9, 256, [(32, 32), (64, 64), (128, 128), (256, 256)]),
        ((256, 256), None, 100, [(256, 256)]),
        ((20, 20), 3, 20, [(20, 20)]),
    ],
)
def test_sizes_are_halved_as_far_as_the_shortest_side_allows(size, octaves, shortest, expected):
    assert list(image_sizes(size, octaves, shortest)) == expected


@pytest.mark.parametrize(
    ("size", "octaves", "expected"),
    [
        ((384, 512), None, [(192, 256), (384, 512)]),
        ((256, 256), None, [(256, 256)]),
        ((256, 256), 1, [(128, 128), (256, 256)]),
        ((1024, 1024), None, [(256, 256), (512, 512), (1024, 1024)]),
    ],
)
def test_a_search_from_an_image_begins_on_a_larger_one(size, octaves, expected):
    assert list(image_sizes(size, octaves, min(size), AUTOMATIC_SIDE_OF_IMAGE)) == expected


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.none() | st.integers(0, 12), st.integers(1, 2000)
)
def test_sizes_grow_to_the_result_and_keep_the_smallest_side(height, width, octaves, other):
    shortest = min(height, width, other)
    sizes = image_sizes((height, width), octaves, shortest)
    assert sizes[-1] == (height, width)
    assert sorted(sizes) == list(sizes)
    if octaves is not None:
        assert len(sizes) <= octaves + 1
    halved = shortest / 2 ** (len(sizes) - 1)
    assert len(sizes) == 1 or halved >= (AUTOMATIC_SIDE if octaves is None else SMALLEST_SIDE)


@given(st.integers(1, 200), st.integers(1, 200), st.none() | st.integers(0, 5))
def test_sides_are_multiples_at_every_size(height, width, octaves):
    finest = (8 * height, 8 * width)
    sizes = image_sizes(finest, octaves, min(finest), multiple=8)
    assert len(sizes) == len(image_sizes(finest, octaves, min(finest)))
    assert sizes[-1] == finest
    for number, size in enumerate(reversed(sizes)):
        for side, full in zip(size, finest, strict=True):
            assert side % 8 == 0
            assert side >= 8
            assert abs(side - full / 2**number) <= 4


def _solver(calls, stop_early=False):
    """A stand-in that paints its call's number and uses all iterations, or half of them."""

    def solve(size, start, config, callback):
        number = len(calls) + 1
        calls.append((size, start, config.max_iterations))
        image = np.full((*size, 3), 10.0 * number, np.float32)
        iterations = config.max_iterations // 2 if stop_early else config.max_iterations
        history = []
        for iteration in (0, iterations):
            history.append(
                Step(iteration, 3 * iteration, 1 / number, {"style": 1 / number}, 2.0, 1.0)
            )
            if callback(history[-1], lambda: image):
                reason = StopReason.CALLBACK
                break
        else:
            reason = StopReason.MAX_ITERATIONS
        last = history[-1]
        return Solution(
            image=image,
            initial_loss=history[0].loss,
            loss=last.loss,
            terms=last.terms,
            history=tuple(history),
            iterations=last.iteration,
            evaluations=last.evaluations,
            restarts=1,
            seconds=last.seconds,
            stop_reason=reason,
        )

    return solve


SIZES = ((8, 16), (16, 32), (32, 64))


def test_each_size_starts_from_the_last_result_and_totals_add_up():
    calls = []
    solution = solve_coarse_to_fine(
        _solver(calls), SIZES, None, OptimizerConfig(max_iterations=10), None
    )
    assert [size for size, _, _ in calls] == list(SIZES)
    assert [iterations for _, _, iterations in calls] == [3, 3, 4]
    assert calls[0][1] is None
    np.testing.assert_allclose(calls[1][1], np.full((16, 32, 3), 10.0), atol=1e-4)
    np.testing.assert_allclose(calls[2][1], np.full((32, 64, 3), 20.0), atol=1e-4)
    assert solution.image.shape == (32, 64, 3)
    assert (solution.iterations, solution.evaluations, solution.restarts) == (10, 30, 3)
    assert solution.seconds == 6.0
    assert [step.iteration for step in solution.history] == [0, 3, 3, 6, 6, 10]
    assert [step.evaluations for step in solution.history] == [0, 9, 9, 18, 18, 30]
    assert (solution.initial_loss, solution.loss) == (1, pytest.approx(1 / 3))


def test_iterations_left_over_by_a_coarse_size_go_to_the_finer_ones():
    calls = []
    config = OptimizerConfig(max_iterations=12)
    solve_coarse_to_fine(_solver(calls, stop_early=True), SIZES, None, config, None)
    assert [iterations for _, _, iterations in calls] == [4, 5, 8]


def test_large_sizes_have_fewer_iterations_the_longer_their_sides_are():
    calls = []
    config = OptimizerConfig(max_iterations=60)
    sizes = ((250, 160), (500, 320), (1000, 640), (2000, 1280))
    solve_coarse_to_fine(_solver(calls), sizes, None, config, None, full_share_side=400)
    # Sides of squares as large: 200, 400, 800 and 1600; relative shares 1, 1, 1/2 and 1/4.
    assert [iterations for _, _, iterations in calls] == [21, 22, 11, 6]


def test_the_given_start_is_resized_to_the_coarsest_image():
    calls = []
    init = np.full((32, 64, 3), 77.0, np.float32)
    solve_coarse_to_fine(_solver(calls), SIZES, init, OptimizerConfig(max_iterations=3), None)
    np.testing.assert_allclose(calls[0][1], np.full((8, 16, 3), 77.0), atol=1e-4)


def test_a_tile_is_resized_as_one():
    """A start with its border rolled into the middle gives the same, rolled, at every size."""
    starts = []
    init = np.random.default_rng(0).uniform(50, 200, (32, 64, 3)).astype(np.float32)
    for image in (init, np.roll(init, (16, 32), axis=(0, 1))):
        calls = []
        config = OptimizerConfig(max_iterations=3)
        solve_coarse_to_fine(_solver(calls), SIZES, image, config, None, tileable=True)
        starts.append(calls[0][1])
    np.testing.assert_allclose(starts[1], np.roll(starts[0], (4, 8), axis=(0, 1)), atol=1e-3)


def test_a_callback_that_ends_a_coarse_size_ends_all_with_an_image_of_the_final_size():
    calls, seen = [], []

    def callback(step, best):
        seen.append(best().shape)
        return len(seen) == 3

    config = OptimizerConfig(max_iterations=9)
    solution = solve_coarse_to_fine(_solver(calls), SIZES, None, config, callback)
    assert len(calls) == 2
    assert solution.stop_reason is StopReason.CALLBACK
    assert solution.image.shape == (32, 64, 3)
    assert set(seen) == {(32, 64, 3)}
