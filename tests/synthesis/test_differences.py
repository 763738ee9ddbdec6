"""Differences of features: equal to subtraction in float64, better than it in float32."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen.compute.plan import ComputePlan
from rwgen.network.preprocess import network_input
from rwgen.synthesis.differences import difference_extractor, relu_difference
from rwgen.synthesis.objectives import inversion_objective

EXAMPLES = Path(__file__).parents[2] / "examples"


def images(side=32, dtype="float64"):
    target, other = np.random.default_rng(0).normal(scale=0.2, size=(2, 1, side, side + 5, 3))
    return target.astype(dtype), other.astype(dtype)


def test_relu_of_every_sign():
    p, d = (grid.ravel() for grid in np.meshgrid([-2.0, -1, 0, 1, 2], [-3.0, -1.5, 0, 0.5, 3]))
    expected = np.maximum(p + d, 0) - np.maximum(p, 0)
    np.testing.assert_array_equal(relu_difference(tf.constant(p), tf.constant(d)), expected)


@pytest.mark.parametrize(
    ("pooling", "padding"), [("avg", "zeros"), ("max", "zeros"), ("avg", "symmetric")]
)
def test_in_float64_they_are_what_subtraction_gives(pooling, padding):
    recipe = rwgen.Recipe(pooling=pooling, padding=padding)
    network = rwgen.build_network(recipe, "conv3_1", dtype="float64")
    layers = ("conv1_1", "pool1", "block2_conv2", "pool2", "conv3_1")
    target, other = images()
    differences = difference_extractor(network, target, layers)(tf.constant(other))
    extractor = rwgen.feature_extractor(network, layers)
    assert list(differences) == ["conv1_1", "pool1", "conv2_2", "pool2", "conv3_1"]
    for name, difference in differences.items():
        expected = extractor(other)[name] - extractor(target)[name]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(difference, expected, atol=1e-12 * scale, err_msg=name)


def test_dense_layers_too():
    inputs = keras.Input((8, 8, 3), dtype="float64")
    options = {"dtype": "float64", "bias_initializer": "random_normal"}
    tensor = keras.layers.Conv2D(4, 3, activation="relu", **options)(inputs)
    tensor = keras.layers.Flatten(dtype="float64")(tensor)
    tensor = keras.layers.Dense(6, activation="relu", **options)(tensor)
    network = keras.Model(inputs, keras.layers.Dense(5, name="last", **options)(tensor))
    target, other = np.random.default_rng(1).normal(size=(2, 1, 8, 8, 3))
    difference = difference_extractor(network, target, ("last",))(tf.constant(other))["last"]
    np.testing.assert_allclose(difference, network(other) - network(target), atol=1e-13)


def test_in_float32_small_differences_survive_large_biases():
    recipe = rwgen.Recipe(bias_stddev=0.5)
    target, direction = images(dtype="float32")
    near = target + np.float32(1e-4) * direction
    network = rwgen.build_network(recipe, "conv3_1")
    exact = rwgen.build_network(recipe, "conv3_1", dtype="float64")
    expected = exact(near.astype("float64")) - exact(target.astype("float64"))
    propagated = difference_extractor(network, target, ("conv3_1",))(tf.constant(near))["conv3_1"]
    subtracted = network(near) - network(target)

    def error(values):
        return np.linalg.norm(values - expected) / np.linalg.norm(expected)

    assert error(propagated.numpy()) < 1e-3
    assert error(subtracted.numpy()) > 10 * error(propagated.numpy())


def residual():
    inputs = keras.Input((None, None, 3))
    tensor = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="one")(inputs)
    return keras.Model(inputs, keras.layers.Add(name="sum")([tensor, inputs]))


def branch():
    inputs = keras.Input((None, None, 3))
    one = keras.layers.Conv2D(3, 3, padding="same", name="one")(inputs)
    two = keras.layers.Conv2D(3, 3, padding="same", name="sum")(inputs)
    return keras.Model(inputs, [one, two])


def other_activation():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, activation="elu", name="sum")(inputs))


@pytest.mark.parametrize("build", [residual, branch, other_activation])
def test_a_network_that_is_no_chain_is_left_to_subtraction(build):
    network = build()
    target, other = images(8, "float32")
    layers = ("one", "sum") if "one" in [x.name for x in network.layers] else ("sum",)
    assert difference_extractor(network, target, layers) is None
    extractor = rwgen.feature_extractor(network, layers)
    objective = inversion_objective(network, target, layers)
    assert float(objective(tf.constant(target))["content"]) == 0
    assert float(objective(tf.constant(other))["content"]) > 0
    assert extractor(other)


def test_the_objective_is_the_same_function_either_way():
    network = rwgen.build_network(rwgen.Recipe(), "conv2_1", dtype="float64")
    target, other = images()
    worth = [
        float(
            inversion_objective(
                network, target, ("conv2_1",), plan=ComputePlan(propagate_differences=each)
            )(tf.constant(other))["content"]
        )
        for each in (True, False)
    ]
    assert worth[0] == pytest.approx(worth[1], rel=1e-12)


@pytest.mark.usefixtures("eager")
def test_inversion_goes_on_where_subtraction_ends():
    source = rwgen.resize_image(rwgen.read_image(EXAMPLES / "coffee.jpg"), 32, 32)
    near = source + np.random.default_rng(4).normal(scale=0.05, size=source.shape)
    recipe = rwgen.Recipe(bias_stddev=1.0)
    network = rwgen.build_network(recipe, "conv3_1")
    exact = rwgen.build_network(recipe, "conv3_1", dtype="float64")
    optimizer = rwgen.OptimizerConfig(max_iterations=20, max_restarts=1, first_step=1e-5)
    worth = inversion_objective(exact, network_input(source, "float64"), ("conv3_1",))
    losses = []
    for each in (True, False):
        config = rwgen.InversionConfig(propagate_differences=each, optimizer=optimizer)
        solution = rwgen.invert(source, "conv3_1", network=network, config=config, init=near)
        image = tf.constant(network_input(solution.image, "float64"))
        losses.append(float(worth(image)["content"]))
    assert losses[0] < 0.2 * losses[1]
