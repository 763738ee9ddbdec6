"""Winograd convolutions against direct ones, in value, gradient and inside a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import rwgen
from rwgen.compute.winograd import (
    WinogradConv2D,
    interpolation_matrices,
    suits,
    transform_filters,
    winograd_convolution,
)
from rwgen.compute.winograd import with_winograd as faster


def correlation(images, kernel):
    """By loops over the kernel, with zeros outside."""
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = images.shape[1:3]
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def test_a_line_of_four_comes_from_six_products():
    a, g, b = interpolation_matrices()
    line, taps = np.random.default_rng(0).normal(size=(2, 6))
    expected = [line[i : i + 3] @ taps[:3] for i in range(4)]
    np.testing.assert_allclose(a.T @ ((g @ taps[:3]) * (b @ line)), expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 14), st.integers(1, 14), st.integers(1, 5), st.integers(1, 5)
)
def test_any_size_gives_the_correlation(batch, height, width, channels, filters):
    generator = np.random.default_rng(height * 100 + width)
    images = generator.normal(size=(batch, height, width, channels))
    kernel = generator.normal(size=(3, 3, channels, filters))
    result = winograd_convolution(tf.constant(images), tf.constant(transform_filters(kernel)))
    np.testing.assert_allclose(result, correlation(images, kernel), atol=1e-12)


def test_float32_is_as_exact_as_stated():
    generator = np.random.default_rng(1)
    images = np.maximum(generator.normal(size=(1, 24, 24, 256)), 0).astype(np.float32)
    kernel = generator.normal(size=(3, 3, 256, 8)).astype(np.float32)
    exact = correlation(images.astype(np.float64), kernel.astype(np.float64))
    result = winograd_convolution(tf.constant(images), tf.constant(transform_filters(kernel)))
    assert np.sqrt(np.mean((result.numpy() - exact) ** 2)) < 2e-6 * np.sqrt(np.mean(exact**2))


def traced(layer):
    """Calls a layer or a model in a graph, where the algorithm is used."""
    return tf.function(lambda images: layer(images), autograph=False)


def layer_and_images(dtype="float64", **options):
    images = np.random.default_rng(2).normal(size=(2, 9, 7, 64)).astype(dtype)
    layer = WinogradConv2D(128, 3, padding="same", activation="relu", dtype=dtype, **options)
    layer.build(images.shape)
    generator = np.random.default_rng(3)
    layer.set_weights([generator.normal(size=w.shape) for w in layer.get_weights()])
    plain = keras.layers.Conv2D.from_config(layer.get_config())
    plain.build(images.shape)
    plain.set_weights(layer.get_weights())
    return layer, plain, tf.constant(images)


@pytest.mark.parametrize("use_bias", [True, False])
def test_layer_and_input_gradient_are_those_of_conv2d(use_bias):
    layer, plain, images = layer_and_images(trainable=False, use_bias=use_bias)
    outputs, gradients = [], []
    for each in (layer, plain):
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = traced(each)(images)
            loss = tf.reduce_sum(output**2)
        outputs.append(output.numpy())
        gradients.append(tape.gradient(loss, images).numpy())
    np.testing.assert_allclose(*outputs, atol=1e-10)
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-7)
    assert hasattr(layer, "_filters")  # it was Winograd's algorithm that computed them


def test_new_weights_count_once_they_are_transformed():
    layer, plain, images = layer_and_images(trainable=False)
    traced(layer)(images)
    for each in (layer, plain):
        each.set_weights([-weight for weight in each.get_weights()])
    layer.transform()
    np.testing.assert_allclose(traced(layer)(images), plain(images), atol=1e-10)


def test_an_eager_call_is_a_conv2ds():
    layer, plain, images = layer_and_images(trainable=False)
    np.testing.assert_array_equal(layer(images), plain(images))
    assert not hasattr(layer, "_filters")


def test_the_direct_one_computes_large_images(monkeypatch):
    layer, plain, images = layer_and_images(trainable=False)
    monkeypatch.setattr("rwgen.compute.winograd.MAX_PIXELS", 9 * 7 - 1)
    np.testing.assert_array_equal(traced(layer)(images), traced(plain)(images))
    assert not hasattr(layer, "_filters")
    monkeypatch.setattr("rwgen.compute.winograd.MAX_PIXELS", 9 * 7)
    traced(layer)(images)
    assert hasattr(layer, "_filters")


def test_a_trainable_layer_is_a_conv2d_with_gradients_for_its_weights():
    layer, plain, images = layer_and_images()
    results = []
    for each in (layer, plain):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each(images) ** 2)
        results.append(tape.gradient(loss, each.kernel.value).numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5},
        {"strides": 2},
        {"padding": "valid"},
        {"dilation_rate": 2},
        {"groups": 2},
        {"filters": 63},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_other_convolutions_are_left_alone(options):
    config = {"filters": 128, "kernel_size": 3, "padding": "same"} | options
    layer = keras.layers.Conv2D(**config)
    assert not suits(layer)  # not built
    layer.build((None, None, None, 64))
    assert not suits(layer)
    assert not suits(keras.layers.AveragePooling2D(2))


def test_a_model_keeps_names_weights_and_values_and_can_be_saved(tmp_path):
    network = rwgen.build_network(rwgen.Recipe(), "conv3_1")
    fast = faster(network)
    kinds = {layer.name: type(layer).__name__ for layer in fast.layers[1:]}
    assert list(kinds) == [layer.name for layer in network.layers[1:]]
    winograd = {name for name, kind in kinds.items() if kind == "WinogradConv2D"}
    assert winograd == {"conv1_2", "conv2_1", "conv2_2", "conv3_1"}
    image = np.random.default_rng(0).normal(size=(1, 22, 18, 3)).astype(np.float32) / 4
    expected = network(image)
    computed = traced(fast)(image)
    np.testing.assert_allclose(computed, expected, atol=2e-6 * np.abs(expected).max())
    for one, other in zip(fast.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    fast.save(tmp_path / "fast.keras")
    again = keras.models.load_model(tmp_path / "fast.keras")
    np.testing.assert_array_equal(traced(again)(image), computed)


def test_where_nothing_is_replaced_the_model_is_the_same(monkeypatch):
    small = rwgen.build_network(rwgen.Recipe(), "conv1_1")
    assert faster(small) is small
    large = rwgen.build_network(rwgen.Recipe(), "conv2_1")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert faster(large) is large
