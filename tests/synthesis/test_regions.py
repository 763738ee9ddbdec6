"""Regions drawn as masks: their colors, soft borders, and which style goes where."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rwgen.compute.readers import Tile, every_position
from rwgen.errors import InvalidInputError
from rwgen.synthesis.guides import NO_GUIDE, Guide
from rwgen.synthesis.regions import (
    Region,
    Source,
    memberships,
    region_colors,
    regions_of,
    whole,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def bars(*colors, height=12, width=10):
    """Vertical bars of equal width."""
    return np.concatenate([np.full((height, width, 3), color) for color in colors], axis=1)


def soft(mask, pixels=4):
    """Borders as wide as some pixels, a mean of the two sides."""
    steps = np.linspace(-pixels // 2, pixels // 2, pixels + 1, dtype=int)
    return np.mean([np.roll(mask, step, axis=1) for step in steps], axis=0)[:, pixels:-pixels]


@given(
    colors=st.lists(st.sampled_from([(0, 0, 0), (255, 255, 255), (128, 128, 128), RED, GREEN]),
                    min_size=1, max_size=5, unique=True)
)  # fmt: skip
def test_hard_regions_are_a_partition(colors):
    mask = bars(*colors)
    found = region_colors(mask)
    assert {tuple(color) for color in found} == set(colors)
    assert (np.diff(found.sum(axis=1)) >= 0).all()
    for color, weights in zip(found, memberships(mask, found), strict=True):
        np.testing.assert_array_equal(weights, (mask == color).all(axis=2))


def test_levels_between_two_regions_are_shared_in_proportion():
    mask = bars((0, 0, 0), (255, 255, 255), height=3, width=40)
    mask[:, 36:44] = np.round(np.linspace(20, 230, 8))[:, np.newaxis]
    colors = region_colors(mask)
    np.testing.assert_array_equal(colors, [[0] * 3, [255] * 3])
    dark, light = memberships(mask, colors)
    np.testing.assert_allclose(light, mask[..., 0] / 255, atol=1e-6)
    np.testing.assert_allclose(dark, 1 - light, atol=1e-6)


def test_a_border_between_colors_never_passes_through_a_third():
    mask = soft(bars(RED, GREEN, BLUE))
    colors = region_colors(mask)
    blue, green, red = memberships(mask, colors)
    np.testing.assert_array_equal(colors, [BLUE, GREEN, RED])
    for weights, channel in ((red, 0), (green, 1), (blue, 2)):
        np.testing.assert_allclose(weights, mask[..., channel] / 255, atol=0.003)


def test_a_jpeg_has_the_regions_that_were_drawn():
    mask = bars(RED, (255, 255, 255), (0, 0, 0), height=32, width=32).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=75)
    found = np.asarray(Image.open(file))
    colors = region_colors(found)
    np.testing.assert_allclose(colors, [[0] * 3, RED, [255] * 3], atol=3)
    weights = memberships(found, colors)
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-6)
    inner = np.r_[4:28, 36:60, 68:92]
    expected = [(mask == np.round(color / 255) * 255).all(axis=2) for color in colors]
    np.testing.assert_allclose(weights[:, :, inner], np.array(expected)[:, :, inner], atol=0.05)


def test_the_first_style_fills_the_darkest_region():
    mask = bars((200, 200, 200), (10, 10, 10), (90, 90, 90))
    regions = regions_of(mask, (), (12, 30), [(8, 8)] * 3, (1 / 3,) * 3)
    assert [region.sources for region in regions] == [(Source(i, 1.0),) for i in range(3)]
    for region, level in zip(regions, (10, 90, 200), strict=True):
        np.testing.assert_array_equal(region.weights, mask[..., 0] == level)
        assert region.area == pytest.approx(1 / 3)


def test_one_style_fills_every_region_and_no_mask_is_one_region():
    regions = regions_of(bars((0, 0, 0), RED), (), (12, 20), [(8, 8)], (1.0,))
    assert [region.sources for region in regions] == [(Source(0, 1.0),)] * 2
    assert regions_of(None, (), (12, 20), [(8, 8)] * 2, (0.75, 0.25)) == whole((0.75, 0.25))
    assert whole((1.0, 0.0)) == (Region((Source(0, 1.0),)),)
    assert whole((1.0,))[0].area == 1


def test_a_region_takes_the_parts_of_its_color_from_all_styles():
    """Blue is in the first style alone, red in both; the green part of the second is not used."""
    masks = [bars(BLUE, RED), bars(GREEN, RED)]
    regions = regions_of(bars(RED, BLUE), masks, (12, 20), [(12, 20)] * 2, (0.25, 0.75))
    blue, red = regions
    assert [(s.style, s.share) for s in blue.sources] == [(0, 1.0)]
    assert [(s.style, s.share) for s in red.sources] == [(0, 0.25), (1, 0.75)]
    left, right = (np.zeros((12, 20)) for _ in range(2))
    left[:, :10], right[:, 10:] = 1, 1
    np.testing.assert_array_equal(blue.weights, right)
    np.testing.assert_array_equal(red.weights, left)
    np.testing.assert_array_equal(blue.sources[0].weights, left)
    for source in red.sources:
        np.testing.assert_array_equal(source.weights, right)


def test_weights_are_averaged_to_the_size_of_each_image():
    generator = np.random.default_rng(0)
    mask = generator.choice([0, 255], (24, 36)).repeat(3, axis=0).repeat(3, axis=1)
    dark, light = regions_of(mask, [mask], (36, 54), [(18, 27)], (1.0,))
    blocks = (mask == 255).reshape(36, 2, 54, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(light.weights, blocks, atol=1e-6)
    np.testing.assert_allclose(dark.weights + light.weights, 1, atol=1e-6)
    quarters = (mask == 255).reshape(18, 4, 27, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(light.sources[0].weights, quarters, atol=1e-6)


BLACK_WHITE = bars((0, 0, 0), (255, 255, 255))
REFUSED = {
    "a style mask alone": (None, [BLACK_WHITE], 1, False, "a content mask beside style masks"),
    "two styles for three": (bars(RED, GREEN, BLUE), (), 2, False, "has 3. Received: 2 style"),
    "a blend": (BLACK_WHITE, (), 2, True, "Received: 2 style images and style_blend"),
    "too few masks": (BLACK_WHITE, [BLACK_WHITE], 2, False, "for each of the 2 style images"),
    "a color that is nowhere": (BLACK_WHITE, [bars((0, 0, 0), RED)], 1, False, "255, 255, 255"),
    "noise": (np.random.default_rng(0).integers(0, 256, (12, 20, 3)), (), 1, False, "none"),
    "many": (bars(*[(i * 28, 255 - i * 28, 40 * (i % 3)) for i in range(9)]), (), 1, False, "9"),
    "zeros and ones": (bars((0, 0, 0), (1, 1, 1)), (), 1, False, "multiply them by 255"),
    "another shape": (np.zeros((30, 20)), (), 1, False, "20x12. Received: 20x30"),
    "no image": (np.zeros((12, 20, 2)), (), 1, False, "shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_that_fit_nothing_are_refused(name):
    mask, style_masks, count, are_blended, message = REFUSED[name]
    size = mask.shape[:2] if name in ("many", "two styles for three") else (12, 20)
    with pytest.raises(InvalidInputError, match=message) as caught:
        regions_of(
            mask, style_masks, size, [(12, 20)] * count, (1 / count,) * count,
            are_blended=are_blended,
        )  # fmt: skip
    assert "xpected " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_guided_statistics_are_weighted_sums_over_positions():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(1, 3, 4, 5))
    weights = generator.uniform(0, 1, (6, 8)).astype(np.float32)
    guide = Guide(weights)
    gram, mean, total, squares = np.zeros((5, 5)), np.zeros(5), 0.0, 0.0
    for row in range(3):
        for column in range(4):
            weight = weights[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(dtype=float)
            vector = features[0, row, column]
            gram += weight * np.outer(vector, vector)
            mean += weight * vector
            total += weight
            squares += weight**2
    found = tf.constant(features)
    whole = every_position(found)
    np.testing.assert_allclose(guide.gram(found, whole)[0], gram / total, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        guide.mean(found, whole)[0, 0, 0], mean / total, rtol=1e-6, atol=1e-9
    )
    assert guide.positions((3, 4)) == pytest.approx(total**2 / squares, rel=1e-6)
    assert NO_GUIDE.positions((3, 4)) == 12
    for statistic in ("gram", "mean"):
        of_parts = sum(
            getattr(guide, statistic)(found[:, :, a:b], Tile((0, a), (3, 4)))
            for a, b in ((0, 1), (1, 4))
        )
        np.testing.assert_allclose(of_parts, getattr(guide, statistic)(found, whole), rtol=1e-9)
        np.testing.assert_array_equal(
            getattr(Guide(np.ones((6, 8))), statistic)(found, whole),
            getattr(NO_GUIDE, statistic)(found, whole),
        )
