"""Gradients of every loss and objective, and both weighting factors, against differences."""

import numpy as np
import pytest
import tensorflow as tf

from rwgen import Recipe, StyleConfig, TextureConfig, build_network, feature_extractor
from rwgen.compute.readers import plain_reader
from rwgen.errors import InvalidInputError
from rwgen.network.architecture import Architecture
from rwgen.network.features import gram_matrix
from rwgen.synthesis.losses import content_loss, gram_loss, total_variation
from rwgen.synthesis.objectives import inversion_objective, style_objective, texture_objective
from rwgen.synthesis.weighting import content_factors, style_factors

SMALL = Architecture("small", ((3, 1), (4, 2)))
STEP = 1e-5


def network(bias_stddev=0.3, seed=3):
    recipe = Recipe(name="small", kernel_stddev=0.4, bias_stddev=bias_stddev, seed=seed)
    return build_network(recipe, architecture=SMALL, dtype="float64")


def picture(height, width, seed):
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.5, 0.5, (1, height, width, 3))


def differences(function, point):
    """Central differences of a scalar function at every component of a point."""
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        moved = point.copy()
        moved[index] += STEP
        above = float(function(moved))
        moved[index] -= 2 * STEP
        gradient[index] = (above - float(function(moved))) / (2 * STEP)
    return gradient


def automatic(function, point):
    variable = tf.constant(point)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = function(variable)
    return tape.gradient(value, variable).numpy()


def check(function, point):
    expected = differences(lambda x: function(tf.constant(x)), point)
    found = automatic(function, point)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_gradient_of_the_content_loss():
    target = picture(4, 5, 0)
    check(lambda x: content_loss(x, target)[0], picture(4, 5, 1))


def test_gradient_of_the_gram_loss_with_a_target_of_another_size():
    target = gram_matrix(tf.constant(picture(6, 3, 0)))
    check(lambda x: gram_loss(gram_matrix(x), target)[0], picture(4, 5, 1))


def test_gradient_of_the_total_variation():
    check(lambda x: total_variation(x)[0], picture(4, 5, 1))


def sum_of(objective):
    return lambda x: tf.add_n(list(objective(x).values()))


def test_gradient_of_the_inversion_objective():
    objective = inversion_objective(network(), picture(8, 7, 0), ["conv2_2", "pool1"])
    check(sum_of(objective), picture(8, 7, 1))


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("weighting", ["magnitude", "signed"])
def test_gradient_of_the_texture_objective(shifted, weighting):
    config = TextureConfig(
        layers=("conv1_1", "conv2_1"), shift_features=shifted, weighting=weighting
    )
    objective = texture_objective(network(), picture(10, 8, 0), config)
    check(sum_of(objective), picture(8, 7, 1))


def test_gradient_of_the_style_objective_with_two_styles_of_other_sizes():
    config = StyleConfig(
        content_layers=("conv2_1",),
        style_layers=("conv1_1", "conv2_2"),
        style_blend=(3, 1),
        content_weight=3000,
        tv_weight=20_000,
    )
    styles = [picture(6, 9, 2), picture(10, 8, 3)]
    objective = style_objective(network(), picture(8, 7, 0), styles, config)
    terms = objective(tf.constant(picture(8, 7, 1)))
    assert set(terms) == {"content", "style", "tv"}
    assert all(float(value) > 0 for value in terms.values())
    check(sum_of(objective), picture(8, 7, 1))


def loss_at_zero(extractor, layer, kind):
    """Eq. 4 and 8 written out in NumPy: the loss of features (Gram matrices) against zero."""

    def loss(image):
        features = extractor(tf.constant(image))[layer].numpy()[0]
        matrix = features.reshape(-1, features.shape[-1]).T
        channels, positions = matrix.shape
        if kind == "content":
            return np.sum(matrix**2) / (2 * channels * positions)
        gram = matrix @ matrix.T
        return np.sum(gram**2) / (4 * channels**2 * positions**2)

    return loss


@pytest.mark.parametrize(
    ("kind", "factors"), [("content", content_factors), ("style", style_factors)]
)
@pytest.mark.parametrize("layer", ["conv1_1", "conv2_2"])
def test_weighting_factors_are_the_reciprocal_mean_of_differences(kind, factors, layer):
    extractor = feature_extractor(network(), [layer])
    image = picture(8, 7, 0)
    gradient = differences(loss_at_zero(extractor, layer, kind), image)
    magnitude = factors(plain_reader(extractor), image, [layer], "magnitude")[layer]
    signed = factors(plain_reader(extractor), image, [layer], "signed")[layer]
    assert magnitude == pytest.approx(1 / np.mean(np.abs(gradient)), rel=1e-5)
    assert signed == pytest.approx(1 / abs(np.mean(gradient)), rel=1e-4)


def test_the_signed_factor_is_a_directional_derivative_along_all_ones():
    extractor = feature_extractor(network(), ["conv2_1"])
    image = picture(8, 7, 0)
    loss = loss_at_zero(extractor, "conv2_1", "content")
    slope = (loss(image + STEP) - loss(image - STEP)) / (2 * STEP)
    signed = content_factors(plain_reader(extractor), image, ["conv2_1"], "signed")["conv2_1"]
    assert signed == pytest.approx(image.size / abs(slope), rel=1e-5)


@pytest.mark.parametrize("weighting", ["magnitude", "signed"])
def test_weighted_losses_do_not_depend_on_the_scale_of_features(weighting):
    """A bias-free network is homogeneous: larger kernels change features and nothing else."""
    values = []
    for stddev in (2.0**-6, 2.0**-1):  # powers of two scale float32 exactly
        recipe = Recipe(kernel_stddev=stddev, bias_stddev=0)
        model = build_network(recipe, architecture=SMALL, dtype="float64")
        config = StyleConfig(
            content_layers=("conv2_1",),
            style_layers=("conv1_1", "conv2_2"),
            weighting=weighting,
        )
        objective = style_objective(model, picture(8, 7, 0), [picture(6, 9, 2)], config)
        terms = objective(tf.constant(picture(8, 7, 1)))
        values.append([float(terms[name]) for name in ("content", "style")])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


def test_dividing_features_and_correcting_the_factor_leaves_the_product():
    extractor = feature_extractor(network(), ["conv2_1"])
    image, other = picture(8, 7, 0), picture(8, 7, 1)
    target, features = (extractor(tf.constant(x))["conv2_1"] for x in (image, other))
    plain = content_factors(plain_reader(extractor), image, ["conv2_1"])["conv2_1"]
    scaled = content_factors(plain_reader(extractor), image, ["conv2_1"], scales={"conv2_1": 1e-3})[
        "conv2_1"
    ]
    expected = plain * content_loss(features, target)[0]
    found = scaled * content_loss(features / 1e-3, target / 1e-3)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_image_without_signal_is_refused():
    with pytest.raises(InvalidInputError, match="single color"):
        inversion_objective(network(bias_stddev=0), np.zeros((1, 8, 8, 3)), ["conv2_1"])
