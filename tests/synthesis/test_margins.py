"""Margins: what a search sees beyond a result, and what is left of it."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rwgen
from rwgen import InvalidInputError, OptimizerConfig, StyleConfig, TextureConfig
from rwgen.synthesis.margins import add_margin, cut_margin, margin_within, with_margin

pytestmark = pytest.mark.usefixtures("eager")

STYLE = StyleConfig(
    content_layers=("conv1_1",),
    style_layers=("conv1_1", "conv2_1"),
    octaves=1,
    optimizer=OptimizerConfig(max_iterations=4),
)
TEXTURE = TextureConfig(
    layers=("conv1_1", "conv2_1"), octaves=1, optimizer=OptimizerConfig(max_iterations=4)
)


def picture(seed, height, width):
    return rwgen.resize_image(
        np.random.default_rng(seed).uniform(0, 255, (height // 8, width // 8, 3)), height, width
    )


def mirrored(image, margin):
    return np.pad(image, [(margin, margin)] * 2 + [(0, 0)], mode="symmetric")


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 30))
def test_what_is_added_is_a_mirror_image_and_is_cut_off_again(height, width, margin):
    image = np.random.default_rng(height).normal(size=(height, width, 3))
    wide = add_margin(image, margin)
    assert wide.shape == (*with_margin((height, width), margin), 3)
    np.testing.assert_array_equal(cut_margin(wide, margin), image)
    for row in range(min(margin, height)):
        np.testing.assert_array_equal(wide[margin - 1 - row, margin : margin + width], image[row])
    np.testing.assert_array_equal(add_margin(image[..., 0], margin), wide[..., 0])


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [((384, 512), 16, 16), ((128, 64), 16, 8), ((7, 300), 16, 0), ((512, 512), 40, 40)],
)
def test_a_margin_is_at_most_an_eighth_of_the_shorter_side(size, asked, expected):
    assert margin_within(size, asked) == expected


def test_a_style_is_that_of_the_widened_images_without_the_margin(small_network):
    """By hand: content, start and callback's images widened and cut outside the library."""
    content, style, start = picture(0, 64, 72), picture(1, 64, 64), picture(2, 64, 72)
    config = dataclasses.replace(STYLE, margin=5, colors="mixed")
    seen, seen_wide = [], []
    found = rwgen.transfer_style(
        content,
        style,
        network=small_network(),
        config=config,
        init=start,
        callback=lambda snapshot: seen.append(snapshot.image),
    )
    wide = [mirrored(image, 5) for image in (content, start)]
    expected = rwgen.transfer_style(
        wide[0],
        style,
        network=small_network(),
        config=dataclasses.replace(config, margin=0),
        init=wide[1],
        callback=lambda snapshot: seen_wide.append(snapshot.image),
    )
    assert found.image.shape == content.shape
    np.testing.assert_array_equal(found.image, expected.image[5:-5, 5:-5])
    assert found.loss == expected.loss
    assert len(seen) == len(seen_wide) > 3
    for one, other in zip(seen, seen_wide, strict=True):
        np.testing.assert_array_equal(one, other[5:-5, 5:-5])


def test_regions_reach_into_the_margin(small_network):
    """A mask with a margin of its own gives the same as one that the library widens."""
    content, styles = picture(0, 64, 64), [picture(1, 64, 64), picture(2, 64, 64)]
    mask = np.zeros((64, 64, 3))
    mask[:, 20:] = 255
    config = dataclasses.replace(STYLE, margin=8, colors="mixed", octaves=0)
    found = rwgen.transfer_style(
        content, styles, network=small_network(), config=config, content_mask=mask
    )
    wide = [mirrored(image, 8) for image in (content, mask)]
    expected = rwgen.transfer_style(
        wide[0],
        styles,
        network=small_network(),
        config=dataclasses.replace(config, margin=0),
        content_mask=wide[1],
    )
    np.testing.assert_allclose(found.image, expected.image[8:-8, 8:-8], atol=1e-6)


def test_a_texture_is_cut_out_of_a_larger_one(small_network):
    source = picture(3, 64, 64)
    config = dataclasses.replace(TEXTURE, margin=6)
    found = rwgen.synthesize_texture(source, (56, 64), network=small_network(), config=config)
    larger = rwgen.synthesize_texture(
        source,
        (68, 76),
        network=small_network(),
        config=dataclasses.replace(config, margin=0),
    )
    np.testing.assert_array_equal(found.image, larger.image[6:-6, 6:-6])


def test_tiles_and_networks_of_one_size_have_none(small_network):
    source = picture(4, 64, 64)
    whole = dataclasses.replace(TEXTURE, margin=0, octaves=0)
    wide = dataclasses.replace(whole, margin=8)
    open_network = small_network()
    inputs = keras.Input((64, 64, 3), dtype=open_network.inputs[0].dtype)
    fixed = keras.models.clone_model(open_network, input_tensors=inputs)
    fixed.set_weights(open_network.get_weights())
    images = [
        rwgen.synthesize_texture(source, network=fixed, config=config).image
        for config in (whole, wide)
    ]
    np.testing.assert_array_equal(*images)
    images = [
        rwgen.synthesize_texture(
            source, network=open_network, config=dataclasses.replace(config, tileable=True)
        ).image
        for config in (whole, wide)
    ]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("kind", [StyleConfig, TextureConfig])
@pytest.mark.parametrize("margin", [-1, 1.5, "", None, True])
def test_a_margin_is_a_number_of_pixels(kind, margin):
    with pytest.raises(InvalidInputError, match="margin: expected an integer from 0"):
        kind(margin=margin)
