"""Metrics of textures against closed forms and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwgen import InvalidInputError
from rwgen.metrics import (
    copy_rate,
    patch_variance_distance,
    power_spectrum_distance,
    sliced_wasserstein,
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def test_equal_images_have_no_distance():
    image = noise(40, 48)
    assert sliced_wasserstein(image, image) == (0, 0, 0)
    assert patch_variance_distance(image, image) == (0, 0, 0)
    assert power_spectrum_distance(image, image) == 0
    assert copy_rate(image, image) == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(30, 50), st.integers(30, 50), st.floats(1, 40))
def test_brighter_by_a_constant_is_as_far_as_the_constant(height, width, shift):
    """Over random directions a constant patch has a projection of root mean square one."""
    image = noise(height, width) / 2
    distances = sliced_wasserstein(image, image + shift, num_projections=1000, num_scales=2)
    assert distances == pytest.approx((shift, shift), rel=0.1)


def test_a_distance_is_that_of_sorted_projections_one_by_one():
    from rwgen.seeds import standard_normal

    image, other = noise(9, 8), noise(9, 8, seed=1)
    directions = standard_normal(3, "sliced wasserstein", (4 * 3, 5)).astype(float)
    total = 0.0
    for direction in directions.T / np.linalg.norm(directions.T, axis=1, keepdims=True):
        # Channel by channel, then rows and columns of the patch.
        kernel = direction.reshape(3, 2, 2).transpose(1, 2, 0)
        sides = [
            sorted(
                float((x[i : i + 2, j : j + 2] * kernel).sum()) for i in range(8) for j in range(7)
            )
            for x in (image, other)
        ]
        total += sum((a - b) ** 2 for a, b in zip(*sides, strict=True)) / len(sides[0])
    (found,) = sliced_wasserstein(
        image, other, patch_size=2, num_scales=1, num_projections=5, seed=3
    )
    assert found == pytest.approx(np.sqrt(total / 5), rel=1e-9)


def test_patches_in_another_order_are_the_same_texture():
    image = noise(64, 64)
    moved = np.roll(image, (20, 10), axis=(0, 1))
    near, far = sliced_wasserstein(image, moved), sliced_wasserstein(image, image * 0.5)
    assert max(near) < 5
    assert min(far) > 10


def test_images_of_two_sizes_can_be_compared():
    image = noise(64, 60)
    assert max(sliced_wasserstein(image, noise(40, 50, seed=1))) < 9
    assert patch_variance_distance(image, noise(40, 50, seed=1), patch_size=2)[0] < 1
    assert power_spectrum_distance(image, noise(40, 50, seed=1)) < 1.5
    assert copy_rate(image[10:40, 5:45], image) == 1


def test_a_wave_is_told_from_a_wave_of_another_length():
    columns = np.arange(64)[np.newaxis, :, np.newaxis] + np.zeros((64, 1, 3))
    slow, fast = (128 + 100 * np.sin(2 * np.pi * columns * f) for f in (1 / 16, 1 / 4))
    shifted = 128 + 100 * np.sin(2 * np.pi * columns / 16 + 1)
    assert power_spectrum_distance(slow, shifted) < 3
    assert power_spectrum_distance(slow, fast) > 15


def test_white_noise_of_twice_the_contrast_is_six_decibels_away():
    image = noise(128, 128)
    assert power_spectrum_distance(image, image * 2) == pytest.approx(20 * np.log10(2), abs=0.01)
    assert patch_variance_distance(image, image / 2, num_scales=1) == (
        pytest.approx(20 * np.log10(2), abs=0.05),
    )


def test_variances_are_those_of_all_patches_along_components_one_by_one():
    image, other = noise(9, 8), noise(10, 7, seed=1) * [1, 0.3, 0.02]
    patches = [
        np.array(
            [x[i : i + 2, j : j + 2].ravel() for i in range(rows - 1) for j in range(columns - 1)]
        )
        for x, (rows, columns) in ((image, (9, 8)), (other, (10, 7)))
    ]
    centered = patches[1] - patches[1].mean(axis=0)
    _, _, components = np.linalg.svd(centered)
    floor = centered.var(axis=0).mean() / 100
    total = 0.0
    for component in components:
        found, wanted = ((values @ component).var() + floor for values in patches)
        total += (10 * np.log10(found / wanted)) ** 2
    (distance,) = patch_variance_distance(image, other, patch_size=2, num_scales=1)
    assert distance == pytest.approx(np.sqrt(total / 12), rel=1e-9)


def test_faint_grain_counts_in_variances_as_it_does_not_in_patches():
    rows = np.arange(64)[:, np.newaxis, np.newaxis] + np.zeros((64, 64, 3))
    scene = 128 + 80 * np.sin(rows / 20)
    grain, other_grain = (np.random.default_rng(n).normal(0, 6, scene.shape) for n in range(2))
    source = scene + grain
    paler = 128 + (scene - 128) * 0.9 + other_grain
    assert sliced_wasserstein(scene, source)[0] < sliced_wasserstein(paler, source)[0]
    assert patch_variance_distance(scene, source)[0] > 5
    assert patch_variance_distance(paler, source)[0] < 2


def test_a_uniform_image_has_no_components():
    with pytest.raises(InvalidInputError, match="uniform"):
        patch_variance_distance(noise(32, 32), np.full((32, 32, 3), 7.1, np.float32))


def test_the_copy_rate_tells_copies_from_noise():
    source = noise(48, 48)
    assert copy_rate(noise(48, 48, seed=1), source) < 0.02
    half = np.concatenate([source[:, :24], noise(48, 24, seed=1)], axis=1)
    assert 0.35 < copy_rate(half, source) < 0.6


def test_the_nearest_patches_are_those_of_a_search_one_by_one():
    from rwgen.metrics.texture import _nearest

    generator = np.random.default_rng(0)
    wanted, known = generator.normal(size=(7, 5)), generator.normal(size=(11, 5))
    expected = [int(np.argmin([np.sum((w - k) ** 2) for k in known])) for w in wanted]
    assert list(_nearest(wanted.astype("f"), known.astype("f"))) == expected


def test_the_nearest_patches_are_the_same_when_few_distances_are_held(monkeypatch):
    image, source = noise(24, 24), noise(32, 32, seed=1)
    source[:16, :16] = image[4:20, 4:20]
    expected = copy_rate(image, source)
    monkeypatch.setattr("rwgen.metrics.texture._DISTANCES", 1000)
    assert copy_rate(image, source) == expected > 0


@pytest.mark.parametrize(
    ("metric", "side"),
    [
        (sliced_wasserstein, 27),
        (patch_variance_distance, 27),
        (power_spectrum_distance, 7),
        (copy_rate, 15),
    ],
)
def test_images_that_are_too_small_are_refused(metric, side):
    with pytest.raises(InvalidInputError, match="at least"):
        metric(noise(side, 64), noise(64, 64))
    metric(noise(side + 1, 64), noise(64, 64))
