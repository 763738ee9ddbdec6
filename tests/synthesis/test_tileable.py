"""Textures that can be repeated, and textures of several sources."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import InvalidInputError, OptimizerConfig, TextureConfig
from rwgen.network.tiling import tiling_network
from rwgen.synthesis.objectives import texture_objective

CONFIG = TextureConfig(
    layers=("conv1_1", "conv2_1"),
    octaves=1,
    optimizer=OptimizerConfig(max_iterations=60, jit_compile=False),
)


def blobs(size, seed=0):
    """A source with smooth structure of some pixels, and other colors at opposite borders."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (size // 8, size // 8, 3))
    ramp = np.linspace(-40, 40, size)
    return (rwgen.resize_image(coarse, size, size) + ramp[:, None, None]).clip(0, 255)


def seams(image):
    """How much larger the mean difference across the border is than elsewhere, by axis.

    In standard deviations over the other rows or columns.
    """
    found = []
    for axis in (0, 1):
        change = np.abs(np.roll(image, -1, axis) - image).mean(axis=(1 - axis, 2))
        found.append((change[-1] - change[:-1].mean()) / change[:-1].std())
    return found


@pytest.mark.usefixtures("eager")
def test_the_seam_of_a_tileable_texture_is_like_the_rest(small_network):
    source, network = blobs(64), small_network()
    found = {}
    for tileable in (True, False):
        config = dataclasses.replace(CONFIG, tileable=tileable, margin=0)
        solution = rwgen.synthesize_texture(source, (64, 72), network=network, config=config)
        rolled = np.roll(solution.image, (32, 36), axis=(0, 1))  # the seam is now in the middle
        assert solution.image.shape == rolled.shape == (64, 72, 3)
        found[tileable] = seams(solution.image)
    assert max(found[True]) < 3
    assert min(found[False]) > 5


def test_the_objective_of_a_tile_does_not_know_where_its_border_is(small_network, smooth_image):
    network = small_network()
    source, image = smooth_image(20, 18, seed=1), smooth_image(16, 24)
    moved = np.roll(image, (8, 4), axis=(1, 2))
    tile = texture_objective(network, source, CONFIG, result_network=tiling_network(network))
    plain = texture_objective(network, source, CONFIG)
    values = [float(f(tf.constant(x))["style"]) for f in (tile, plain) for x in (image, moved)]
    assert values[1] == pytest.approx(values[0], rel=1e-9)
    assert values[3] != pytest.approx(values[2], rel=1e-3)


def test_the_source_is_not_seen_as_a_tile(small_network, smooth_image):
    """Its opposite borders do not belong together: the loss of its own features stays zero."""
    network, source = small_network(), smooth_image(20, 24)
    plain = texture_objective(network, source, CONFIG)
    same = texture_objective(network, source, CONFIG, result_network=network)
    tile = texture_objective(network, source, CONFIG, result_network=tiling_network(network))
    losses = [float(f(tf.constant(source))["style"]) for f in (plain, same, tile)]
    assert losses[:2] == pytest.approx([0, 0], abs=1e-20)
    assert losses[2] > 1e-6


def test_sides_must_be_multiples_of_the_stride_of_the_layers(small_network):
    config = dataclasses.replace(CONFIG, tileable=True)
    with pytest.raises(InvalidInputError, match=r"multiples of 2 pixels, such as 40x32. .* 41x32"):
        rwgen.synthesize_texture(blobs(64), (32, 41), network=small_network(), config=config)


def test_sources_are_mixed_by_their_shares(small_network, smooth_image):
    """A source named twice counts twice, and one without a share does not count."""
    network, image = small_network(), smooth_image(8, 10)
    first, second, third = (smooth_image(12, 12, seed=seed) for seed in (1, 2, 3))

    def loss(*sources, blend=()):
        config = dataclasses.replace(CONFIG, source_blend=blend)
        return float(texture_objective(network, sources, config)(tf.constant(image))["style"])

    assert loss(first, first, second) == pytest.approx(loss(first, second, blend=(2, 1)), rel=1e-9)
    assert loss(first, third, blend=(1, 0)) == pytest.approx(loss(first), rel=1e-9)
    assert loss(first, second) != pytest.approx(loss(first, second, blend=(2, 1)), rel=1e-3)
    with pytest.raises(InvalidInputError, match=r"source_blend .* each of the 1 sources.* 2"):
        loss(first, blend=(1, 2))


@pytest.mark.usefixtures("eager")
def test_several_sources_are_a_list_of_any_sizes_and_the_first_has_the_results(
    small_network, monkeypatch
):
    seen = []

    def objective(network, sources, config, *rest):
        seen.append(([source.shape for source in sources], config.source_blend))
        return texture_objective(network, sources, config, *rest)

    monkeypatch.setattr("rwgen.synthesis.tasks.texture_objective", objective)
    config = dataclasses.replace(
        CONFIG, octaves=0, source_blend=(1, 3), optimizer=OptimizerConfig(max_iterations=1)
    )
    dark, light = blobs(32), blobs(40, seed=1)
    solution = rwgen.synthesize_texture([dark, light], network=small_network(), config=config)
    assert solution.image.shape == (32, 32, 3)
    assert seen == [([(1, 32, 32, 3), (1, 40, 40, 3)], (1, 3))]
    with pytest.raises(InvalidInputError, match=r"at least one source"):
        rwgen.synthesize_texture([])
    with pytest.raises(InvalidInputError, match=r"one source_blend number for each of the 1"):
        rwgen.synthesize_texture(dark, config=config)
