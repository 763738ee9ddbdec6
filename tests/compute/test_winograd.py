"""Winograd convolutions against direct ones, in value, gradient and inside a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import rwgen
from rwgen.compute.winograd import (
    WinogradCircularConv2D,
    WinogradConv2D,
    WinogradSymmetricConv2D,
    interpolation_matrices,
    suits,
    transform_filters,
    winograd_convolution,
)
from rwgen.compute.winograd import with_winograd as faster
from rwgen.network.convolution import CircularConv2D, SymmetricConv2D

PLAIN = {
    WinogradConv2D: keras.layers.Conv2D,
    WinogradSymmetricConv2D: SymmetricConv2D,
    WinogradCircularConv2D: CircularConv2D,
}


def correlation(images, kernel, padding="same"):
    """By loops over the kernel, with zeros, the border, the other side or nothing outside."""
    modes = {"same": "constant", "symmetric": "symmetric", "wrap": "wrap"}
    padded = images
    if padding in modes:
        padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], mode=modes[padding])
    height, width = (side - 2 for side in padded.shape[1:3])
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
    if min(height, width) > 2:
        result = winograd_convolution(images, transform_filters(kernel), "valid")
        assert result.shape == (batch, height - 2, width - 2, filters)
        np.testing.assert_allclose(result, correlation(images, kernel, "valid"), atol=1e-12)


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


def layer_and_images(dtype="float64", kind=WinogradConv2D, **options):
    images = np.random.default_rng(2).normal(size=(2, 9, 7, 64)).astype(dtype)
    options = {"padding": "same", "activation": "relu", "dtype": dtype, **options}
    layer = kind(128, 3, **options)
    layer.build(images.shape)
    generator = np.random.default_rng(3)
    layer.set_weights([generator.normal(size=w.shape) for w in layer.get_weights()])
    plain = PLAIN[kind].from_config(layer.get_config())
    plain.build(images.shape)
    plain.set_weights(layer.get_weights())
    return layer, plain, tf.constant(images)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"padding": "valid"},
        {"kind": WinogradSymmetricConv2D, "padding": "valid"},
        {"kind": WinogradCircularConv2D, "padding": "valid"},
    ],
    ids=["same", "without bias", "valid", "symmetric", "circular"],
)
def test_layer_and_input_gradient_are_those_of_conv2d(options):
    layer, plain, images = layer_and_images(trainable=False, **options)
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


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        (WinogradConv2D, "valid"),
        (WinogradSymmetricConv2D, "symmetric"),
        (WinogradCircularConv2D, "wrap"),
    ],
)
def test_layers_without_zeros_outside_equal_loops(kind, padding):
    layer, _, images = layer_and_images(kind=kind, trainable=False, padding="valid")
    expected = correlation(images.numpy(), layer.get_weights()[0], padding) + layer.bias.numpy()
    np.testing.assert_allclose(traced(layer)(images), np.maximum(expected, 0), atol=1e-10)
    assert hasattr(layer, "_filters")


def test_an_image_of_one_pixel_is_padded_and_one_that_is_too_small_is_refused():
    layer, plain, images = layer_and_images(
        kind=WinogradSymmetricConv2D, trainable=False, padding="valid"
    )
    pixel = images[:, :1, :1]
    np.testing.assert_allclose(traced(layer)(pixel), plain(pixel), atol=1e-10)
    valid = keras.layers.Conv2D(64, 3, padding="valid")
    valid.build((None, None, None, 64))
    assert suits(valid, (1, 3, 3, 64))
    assert not suits(valid, (1, 2, 9, 64))
    assert not suits(valid, (1, 9, None, 64))


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


@pytest.mark.parametrize("kind", [WinogradConv2D, WinogradSymmetricConv2D])
def test_the_direct_one_computes_large_images(monkeypatch, kind):
    padding = "same" if kind is WinogradConv2D else "valid"
    layer, plain, images = layer_and_images(kind=kind, trainable=False, padding=padding)
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


@pytest.mark.parametrize(
    ("padding", "kind"),
    [("zeros", "WinogradConv2D"), ("symmetric", "WinogradSymmetricConv2D")],
)
def test_a_model_keeps_names_weights_and_values_and_can_be_saved(tmp_path, padding, kind):
    network = rwgen.build_network(rwgen.Recipe(padding=padding), "conv3_1")
    fast = faster(network)
    kinds = {each.name: type(each).__name__ for each in fast.layers[1:]}
    assert list(kinds) == [layer.name for layer in network.layers[1:]]
    winograd = {name for name, found in kinds.items() if found == kind}
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
