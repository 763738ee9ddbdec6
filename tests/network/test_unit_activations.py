"""Rescaling of filters to a mean activation of one."""

import keras
import numpy as np
import pytest

import rwgen
from rwgen import InvalidInputError, unit_activations


@pytest.fixture
def images():
    generator = np.random.default_rng(2)
    return [generator.uniform(0, 255, (*size, 3)).astype(np.float32) for size in [(17, 20), (9, 8)]]


@pytest.mark.parametrize("changes", [{}, {"pooling": "max"}, {"padding": "symmetric"}], ids=str)
def test_every_filter_has_a_mean_of_one(small_network, images, changes):
    network = small_network(**changes)
    names = ["conv1_1", "conv2_1", "conv2_2"]
    rescaled = unit_activations(network, images)
    inputs = [rwgen.preprocess_input(image.astype(np.float64)[np.newaxis]) for image in images]
    for name in names:
        before, after = (
            [np.asarray(rwgen.feature_extractor(model, [name])(x)[name]) for x in inputs]
            for model in (network, rescaled)
        )
        means = np.mean([values.mean(axis=(0, 1, 2)) for values in before], axis=0)
        alive = means > 0
        assert alive.any()
        for old, new in zip(before, after, strict=True):
            np.testing.assert_allclose(new, old / np.where(alive, means, 1), rtol=1e-9, atol=1e-12)


def test_a_silent_filter_stays(small_network, images):
    network = small_network()
    layer = network.get_layer("conv1_1")
    kernel, bias = layer.get_weights()
    kernel[..., 0], bias[0] = 0, -1
    layer.set_weights([kernel, bias])
    rescaled = unit_activations(network, images).get_layer("conv1_1").get_weights()
    np.testing.assert_array_equal(rescaled[0][..., 0], 0)
    assert rescaled[1][0] == -1


def test_other_networks_are_refused(small_network, images):
    with pytest.raises(InvalidInputError, match="at least one image"):
        unit_activations(small_network(), [])
    inputs = keras.Input((8, 8, 3))
    dense = keras.Model(inputs, keras.layers.Dense(2, name="mixed")(inputs))
    with pytest.raises(InvalidInputError, match="mixed"):
        unit_activations(dense, images)
