"""Draws: values, independence, and reproducibility."""

import hashlib
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwgen import InvalidInputError
from rwgen.seeds import MAX_SEED, QUANTILE_GRID, check_seed, standard_normal

# SHA-256 of the little-endian float32 bytes of 1000 draws, computed by `reference_draws` below. It
# must never change: all networks would.
PINNED = "1ab59449308511a64c09a8eb9276e39ead3554c17e34de72b5732fd9329068f6"


def reference_draws(seed, stream, begin, end):
    """Draws at positions from `begin` to `end`, from the normal distribution of Python."""
    digest = hashlib.sha256(f"rwgen/{seed}/{stream}".encode()).digest()
    philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    words = np.random.Generator(philox).integers(0, 2**64, size=end // 2 + 1, dtype=np.uint64)
    quantile = statistics.NormalDist().inv_cdf
    draws = []
    for position in range(begin, end):
        word = int(words[position // 2])
        half = word // 2**32 if position % 2 else word % 2**32
        draws.append(round(quantile((half // 256 + 0.5) / 2**24) * 2**16) / 2**16)
    return np.array(draws, "<f4")


def test_draws_never_change():
    draws = standard_normal(2016, "pinned", (10, 100))
    assert hashlib.sha256(draws.astype("<f4").tobytes()).hexdigest() == PINNED
    expected = reference_draws(2016, "pinned", 0, 1000)
    assert hashlib.sha256(expected.tobytes()).hexdigest() == PINNED


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_draws_are_as_described_for_any_seed_and_name(seed):
    expected = reference_draws(seed, "weights/ünï/0", 0, 501)
    np.testing.assert_array_equal(standard_normal(seed, "weights/ünï/0", (501,)), expected)


def test_moments_and_tails_are_those_of_the_normal_distribution():
    draws = standard_normal(0, "moments", (1_000_000,)).astype(np.float64)
    # Five standard errors of each estimate.
    assert abs(draws.mean()) < 5e-3
    assert abs(draws.var() - 1) < 5 * np.sqrt(2) * 1e-3
    assert abs(np.mean(draws**3)) < 5 * np.sqrt(15) * 1e-3
    assert abs(np.mean(draws**4) - 3) < 5 * np.sqrt(96) * 1e-3
    for bound in (1.0, 2.0, 3.0):
        share = 2 * statistics.NormalDist().cdf(-bound)
        found = np.mean(np.abs(draws) > bound)
        assert abs(found - share) < 5 * np.sqrt(share / 1_000_000)
    assert np.abs(draws).max() < 5.5


def test_draws_are_exact_multiples_of_the_grid_in_float32():
    draws = standard_normal(3, "grid", (100_000,))
    assert draws.dtype == np.float32
    steps = draws.astype(np.float64) / QUANTILE_GRID
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_the_two_halves_of_a_word_are_independent():
    draws = standard_normal(0, "halves", (400_000,)).astype(np.float64)
    assert abs(np.corrcoef(draws[::2], draws[1::2])[0, 1]) < 5 / np.sqrt(200_000)
    assert abs(np.corrcoef(draws[::2] ** 2, draws[1::2] ** 2)[0, 1]) < 5 / np.sqrt(200_000)


def test_neighbouring_seeds_and_names_are_uncorrelated():
    keys = [(seed, name) for seed in range(6) for name in ("conv1_1", "conv1_2", "conv11", "")]
    draws = np.array([standard_normal(seed, name, (40_000,)) for seed, name in keys])
    correlations = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlations).max() < 5.5 / np.sqrt(40_000)


BORDER = 2**20  # draws that are made at a time


@pytest.fixture(scope="module")
def longest():
    return standard_normal(5, "prefix", (2 * BORDER + 10,))


@pytest.mark.parametrize("size", [BORDER - 1, BORDER, BORDER + 1, BORDER + 2, 2 * BORDER + 3])
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(size, longest):
    np.testing.assert_array_equal(standard_normal(5, "prefix", (size,)), longest[:size])


@pytest.mark.parametrize("position", [BORDER, 2 * BORDER])
def test_the_stream_goes_on_across_the_border(position, longest):
    around = slice(position - 9, position + 9)
    expected = reference_draws(5, "prefix", around.start, around.stop)
    np.testing.assert_array_equal(longest[around], expected)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 7), max_size=4))
def test_any_shape_is_filled_in_c_order(shape):
    draws = standard_normal(1, "shape", shape)
    assert draws.shape == tuple(shape)
    np.testing.assert_array_equal(draws.ravel(), standard_normal(1, "shape", (7**4,))[: draws.size])


def test_draws_do_not_depend_on_what_was_drawn_or_seeded_before():
    expected = standard_normal(1, "a", (50,))
    np.random.seed(3)
    standard_normal(1, "b", (7,))
    np.testing.assert_array_equal(standard_normal(1, "a", (50,)), expected)


def test_draws_are_the_callers_to_change():
    first = standard_normal(1, "a", (5,))
    kept = first.copy()
    first *= 2
    np.testing.assert_array_equal(standard_normal(1, "a", (5,)), kept)


def test_draws_are_equal_in_fresh_processes_with_other_threads_and_hash_seeds(fresh_process):
    code = (
        "import hashlib, rwgen.seeds as s;"
        "print(hashlib.sha256(s.standard_normal(2016, 'pinned', (1000,))"
        ".astype('<f4').tobytes()).hexdigest())"
    )
    for number in ("1", "2"):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), number)
        assert fresh_process(code, PYTHONHASHSEED=number, **threads) == PINNED


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_seeds_at_the_bounds_are_accepted(seed):
    check_seed(seed)
    assert standard_normal(seed, "x", ()).shape == ()


@pytest.mark.parametrize("seed", [-1, 2**63, None, False, 0.0, "0", float("nan")])
def test_other_seeds_are_refused_with_what_was_received(seed):
    with pytest.raises(InvalidInputError) as caught:
        check_seed(seed)
    assert str(caught.value).endswith(f"from 0 to 9223372036854775807. Received: {seed!r}")
