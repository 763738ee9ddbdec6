"""Weighting factors beyond test_finite_differences.py: scales, shifts, layers, refusals."""

import numpy as np
import pytest
import tensorflow as tf

from rwgen import InvalidInputError, feature_extractor
from rwgen.compute.readers import plain_reader
from rwgen.network.features import gram_matrix
from rwgen.synthesis.losses import gram_loss
from rwgen.synthesis.weighting import content_factors, feature_scale, input_gradients, style_factors

STEP = 1e-5
LAYERS = ("conv1_1", "conv2_2")


@pytest.fixture(scope="module")
def extractor(small_network):
    return feature_extractor(small_network(), LAYERS)


def differences(function, point):
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        moved = point.copy()
        moved[index] += STEP
        above = function(moved)
        moved[index] -= 2 * STEP
        gradient[index] = (above - function(moved)) / (2 * STEP)
    return gradient


@pytest.mark.parametrize("layer", LAYERS)
def test_style_factors_of_scaled_and_shifted_features_are_those_of_differences(
    extractor, smooth_image, layer
):
    """Eq. 8 in NumPy, with features divided by 0.3 and a value subtracted from each channel."""
    image = smooth_image(8, 7)
    channels = extractor(tf.constant(image))[layer].shape[-1]
    shift = np.linspace(-0.5, 0.8, channels)

    def loss(candidate):
        features = extractor(tf.constant(candidate))[layer].numpy()[0].reshape(-1, channels).T
        matrix = features / 0.3 - shift[:, np.newaxis]
        gram = matrix @ matrix.T
        return np.sum(gram**2) / (4 * channels**2 * matrix.shape[1] ** 2)

    gradient = differences(loss, image)
    for weighting, mean in (
        ("magnitude", np.mean(np.abs(gradient))),
        ("signed", abs(np.mean(gradient))),
    ):
        found = style_factors(
            plain_reader(extractor),
            image,
            [layer],
            weighting,
            scales={layer: 0.3},
            shifts={layer: tf.constant(shift.reshape(1, 1, 1, -1))},
        )
        assert found == {layer: pytest.approx(1 / mean, rel=1e-5)}


@pytest.mark.parametrize("weighting", ["magnitude", "signed"])
@pytest.mark.parametrize("divisor", [1e-4, 1e4])
def test_dividing_features_leaves_the_product_of_mu_and_its_loss(
    extractor, smooth_image, weighting, divisor
):
    image, other = smooth_image(8, 7), smooth_image(9, 6, seed=1)
    features, target = (extractor(tf.constant(x))["conv2_2"] for x in (other, image))

    def product(scale):
        read = plain_reader(extractor)
        mu = style_factors(read, image, ["conv2_2"], weighting, {"conv2_2": scale})["conv2_2"]
        return mu * gram_loss(gram_matrix(features / scale), gram_matrix(target / scale))

    np.testing.assert_allclose(product(divisor), product(1.0), rtol=1e-9)
    assert float(product(1.0)[0]) > 0


def test_the_magnitude_is_at_least_the_signed_mean():
    """|mean| <= mean of magnitudes, hence the reciprocals the other way round, for any image."""
    for seed in range(5):
        gradient = np.random.default_rng(seed).normal(0.2, 1, (1, 6, 6, 3))

        class Linear:
            def __call__(self, image, gradient=gradient):
                # sum(g * x) is the loss below when x has features sqrt(2 * sum(g * x)).
                return {"a": tf.sqrt(2 * tf.reshape(tf.reduce_sum(gradient * image), [1, 1]))}

        image = np.sign(gradient)
        magnitude = content_factors(plain_reader(Linear()), image, ["a"], "magnitude")["a"]
        signed = content_factors(plain_reader(Linear()), image, ["a"], "signed")["a"]
        assert magnitude == pytest.approx(1 / np.mean(np.abs(gradient)), rel=1e-12)
        assert signed == pytest.approx(1 / abs(np.mean(gradient)), rel=1e-12)


@pytest.mark.parametrize("factors", [content_factors, style_factors])
def test_each_layer_has_the_factor_that_it_has_alone(extractor, smooth_image, factors):
    image = smooth_image(8, 7)
    together = factors(plain_reader(extractor), image, LAYERS)
    assert list(together) == list(LAYERS)
    for layer in LAYERS:
        assert factors(plain_reader(extractor), image, [layer]) == {layer: together[layer]}
    assert together["conv1_1"] != pytest.approx(together["conv2_2"], rel=0.01)


def test_input_gradients_have_the_images_shape_and_dtype(extractor, smooth_image):
    image = smooth_image(8, 7)
    read = plain_reader(extractor)
    sums = dict.fromkeys(LAYERS, lambda features: tf.reduce_sum(features, axis=[1, 2, 3]))
    found = input_gradients(read, image, sums)
    for name in LAYERS:
        assert (found[name].shape, found[name].dtype) == (image.shape, np.float64)
        assert np.any(found[name])
    assert not np.allclose(*found.values())


def test_feature_scales_are_root_mean_squares_and_one_where_there_is_nothing():
    values = np.random.default_rng(0).normal(size=(1, 4, 5, 3)) * 7
    features = {
        "plain": tf.constant(values),
        "tiny": tf.constant(values * 1e-30, tf.float32),  # whose squares float32 cannot hold
        "large": tf.constant(values * 1e30, tf.float32),
        "zero": tf.zeros([1, 4, 5, 3]),
        "infinite": tf.constant([[np.inf, 1.0]]),
        "undefined": tf.constant([[np.nan, 1.0]]),
    }
    rms = np.sqrt(np.mean(values**2))
    assert {name: float(feature_scale(value)) for name, value in features.items()} == {
        "plain": pytest.approx(rms),
        "tiny": pytest.approx(rms * 1e-30, rel=1e-6),
        "large": pytest.approx(rms * 1e30, rel=1e-6),
        "zero": 1.0,
        "infinite": 1.0,
        "undefined": 1.0,
    }


@pytest.mark.parametrize("weighting", ["magnitude", "signed"])
@pytest.mark.parametrize("factors", [content_factors, style_factors])
def test_an_image_without_features_has_no_factor_and_the_layer_is_named(
    small_network, smooth_image, factors, weighting
):
    for stddev, image, cause in (
        (0.4, np.zeros((1, 8, 8, 3)), "an image of a single color"),
        (0.0, smooth_image(8, 8), "an image that leaves them as is"),
    ):
        network = small_network(kernel_stddev=stddev, bias_stddev=0.0)
        read = plain_reader(feature_extractor(network, ["conv2_1"]))
        with pytest.raises(InvalidInputError, match=rf"conv2_1 .*{cause}") as caught:
            factors(read, image, ["conv2_1"], weighting)
        assert len(str(caught.value).splitlines()) == 1
