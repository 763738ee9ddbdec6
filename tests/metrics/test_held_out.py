"""Distances under held-out networks against closed forms and plain loops."""

import numpy as np
import pytest

from rwgen import InvalidInputError, LayerError, Recipe, build_network, preprocess_input
from rwgen.metrics import gram_distance
from rwgen.metrics.held_out import HeldOutNetworks
from rwgen.network.preprocess import MEAN_RGB


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def rows_of(image, seed):
    """Features of conv1_1, a row a position."""
    network = build_network(Recipe(seed=seed, bias_stddev=0), "conv1_1")
    features = np.asarray(network(preprocess_input(image.astype(np.float32)[np.newaxis])))[0]
    return features.reshape(-1, 64).astype(float)


@pytest.fixture(scope="module")
def shallow():
    return HeldOutNetworks(["conv1_1"], [5])


@pytest.fixture(scope="module")
def two_layers():
    return HeldOutNetworks(["conv1_2", "pool2"], [5, 6, 7])


@pytest.mark.parametrize("shift_features", [True, False])
def test_a_gram_distance_is_that_of_sums_over_positions(shallow, shift_features):
    image, source = noise(12, 16), noise(20, 9, seed=1)
    grams = []
    for x in (image, source):
        rows = rows_of(x, seed=5)
        rows -= rows.mean(axis=0) * shift_features
        grams.append(sum(np.outer(row, row) for row in rows) / len(rows))
    expected = ((grams[0] - grams[1]) ** 2).sum() / (grams[1] ** 2).sum()
    found = shallow.gram_distance(image, source, shift_features=shift_features)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_content_distance_is_that_of_positions_one_by_one(shallow):
    image, content = noise(9, 11), noise(9, 11, seed=1)
    first, second = rows_of(image, seed=5), rows_of(content, seed=5)
    wrong = sum(
        ((a - first.mean(axis=0)) - (b - second.mean(axis=0))) @ (a - first.mean(axis=0) - b
        + second.mean(axis=0)) for a, b in zip(first, second, strict=True)
    )  # fmt: skip
    scale = sum(np.sum((b - second.mean(axis=0)) ** 2) for b in second)
    assert shallow.content_distance(image, content) == pytest.approx(wrong / scale, rel=1e-4)


def test_the_metric_is_the_distance_of_networks_made_for_it(two_layers):
    image, source = noise(12, 16), noise(20, 9, seed=1)
    found = gram_distance(image, source, layers=["conv1_2", "pool2"], seeds=[5, 6, 7])
    assert found == two_layers.gram_distance(image, source) > 0
    assert gram_distance(image, source, networks=two_layers) == found


def test_distances_from_a_reference_computed_once_are_the_same(two_layers):
    source = noise(16, 20)
    from_source = [
        two_layers.gram_distance_from(source),
        two_layers.gram_distance_from(source, shift_features=False),
        two_layers.content_distance_from(source),
    ]
    for seed in (1, 2):
        image = noise(16, 20, seed=seed)
        assert [distance(image) for distance in from_source] == [
            two_layers.gram_distance(image, source),
            two_layers.gram_distance(image, source, shift_features=False),
            two_layers.content_distance(image, source),
        ]


@pytest.mark.parametrize("contrast", [0.5, 0.25])
def test_less_contrast_makes_all_features_of_all_layers_smaller(two_layers, contrast):
    """Without biases F(c x) = c F(x), so Gram matrices shrink by c^2."""
    image = noise(16, 20)
    pale = MEAN_RGB + contrast * (image - MEAN_RGB)
    for shift_features in (True, False):
        found = two_layers.gram_distance(pale, image, shift_features=shift_features)
        assert found == pytest.approx((1 - contrast**2) ** 2, rel=1e-4)
    assert two_layers.content_distance(pale, image) == pytest.approx((1 - contrast) ** 2, rel=1e-4)


def test_an_image_of_the_mean_colour_keeps_nothing(two_layers):
    image = noise(16, 20)
    grey = np.broadcast_to(MEAN_RGB, image.shape)
    assert two_layers.content_distance(grey, image) == pytest.approx(1, rel=1e-4)
    assert two_layers.gram_distance(grey, image) == pytest.approx(1, rel=1e-4)
    assert two_layers.content_distance(image, image) == 0
    assert two_layers.gram_distance(image, image) == 0


def test_the_median_is_taken_over_networks_and_the_mean_over_layers():
    image, source = noise(16, 16), noise(16, 16, seed=1)
    layers, seeds = ("conv1_1", "conv1_2"), (5, 6, 7)
    for distance in (HeldOutNetworks.gram_distance, HeldOutNetworks.content_distance):
        single = [
            [distance(HeldOutNetworks([layer], [seed]), image, source) for layer in layers]
            for seed in seeds
        ]
        expected = np.median(np.mean(single, axis=1))
        assert distance(HeldOutNetworks(layers, seeds), image, source) == pytest.approx(expected)


def test_another_part_of_a_texture_is_nearer_than_noise():
    rows, columns = np.mgrid[0:96, 0:96] / 3
    texture = np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], axis=-1) * 90 + 128
    networks = HeldOutNetworks(["conv1_1", "conv2_1", "conv3_1"], [5])
    near, far = (
        networks.gram_distance(x, texture[:64, :64]) for x in (texture[24:88, 30:94], noise(64, 64))
    )
    assert near < 0.2 * far


def test_what_no_features_exist_for_is_refused(two_layers):
    with pytest.raises(LayerError, match="conv9_1"):
        HeldOutNetworks(["conv9_1"])
    for distance in (two_layers.gram_distance, two_layers.content_distance):
        with pytest.raises(InvalidInputError, match="4 pixels"):
            distance(noise(3, 64), noise(3, 64))
    with pytest.raises(InvalidInputError, match="same shape"):
        two_layers.content_distance(noise(16, 16), noise(16, 17))


def test_an_image_that_is_the_same_everywhere_measures_nothing(two_layers):
    grey = np.broadcast_to(MEAN_RGB, (16, 16, 3))
    for distance in (two_layers.gram_distance, two_layers.content_distance):
        with pytest.raises(InvalidInputError, match=r"conv1_2.*16x16"):
            distance(noise(16, 16), grey)
