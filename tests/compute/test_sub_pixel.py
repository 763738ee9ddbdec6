"""Convolutions with sub-pixel gradients against loops, and against Keras' layers in a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import rwgen
from rwgen.compute.bfloat16 import in_bfloat16
from rwgen.compute.plan import ComputePlan
from rwgen.compute.sub_pixel import (
    SubPixelCircularConv2D,
    SubPixelConv2D,
    SubPixelSymmetricConv2D,
    _correlation,
    block_kernel,
    input_gradient,
    sub_pixel_convolution,
    with_sub_pixel_gradients,
)
from rwgen.network.convolution import CircularConv2D, SymmetricConv2D
from rwgen.network.tiling import tiling_network


def spread(cotangent, kernel):
    """Each output's gradient, added to the pixels that it came from, by loops over the kernel."""
    (batch, height, width, _), (rows, columns, channels, _) = cotangent.shape, kernel.shape
    found = np.zeros((batch, height + rows - 1, width + columns - 1, channels))
    for i in range(rows):
        for j in range(columns):
            found[:, i : i + height, j : j + width] += cotangent @ kernel[i, j].T
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 2), *[st.integers(1, 9)] * 2, *[st.integers(1, 7)] * 2, st.integers(1, 4))
def test_gradients_are_sums_over_the_kernel(batch, height, width, rows, columns, channels):
    generator = np.random.default_rng(height * 100 + width)
    kernel = generator.normal(size=(rows, columns, 3, channels))
    cotangent = generator.normal(size=(batch, height, width, channels))
    found = input_gradient(tf.constant(cotangent), tf.constant(kernel))
    np.testing.assert_allclose(found, spread(cotangent, kernel), atol=1e-12)


def test_the_kernel_of_a_block_has_the_reversed_one_at_each_pixel():
    kernel = np.arange(2 * 3 * 1 * 1.0).reshape(2, 3, 1, 1)
    found = block_kernel(tf.constant(kernel))[:, :, 0, :].numpy()
    assert found.shape == (3, 4, 4)
    for number in range(4):
        row, column = divmod(number, 2)
        np.testing.assert_array_equal(
            found[row : row + 2, column : column + 3, number], kernel[::-1, ::-1, 0, 0]
        )
        assert np.count_nonzero(found[:, :, number]) == 5


@pytest.mark.parametrize("in_graph", [True, False])
def test_values_and_gradients_are_those_of_a_convolution(in_graph):
    generator = np.random.default_rng(0)
    images = tf.constant(generator.normal(size=(1, 12, 11, 3)))
    kernel = tf.constant(generator.normal(size=(7, 5, 3, 4)))

    def cubes(convolve):
        def call(images):
            with tf.GradientTape() as tape:
                tape.watch(images)
                found = convolve(images)
                loss = tf.reduce_sum(found**3)
            return found, tape.gradient(loss, images)

        return (tf.function(call) if in_graph else call)(images)

    found = cubes(lambda images: sub_pixel_convolution(images, kernel))
    expected = cubes(lambda images: tf.nn.conv2d(images, kernel, 1, "VALID"))
    assert found[0].shape == (1, 6, 7, 4)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_images_of_all_sizes_share_one_graph():
    kernel = tf.zeros([5, 5, 3, 2])
    for side in (6, 9, 20):
        found = tf.function(lambda images: sub_pixel_convolution(images, kernel))
        assert found(tf.zeros([1, side, side + 1, 3])).shape == (1, side - 4, side - 3, 2)
    assert _correlation((5, 5, 3, 2), tf.float32).experimental_get_tracing_count() == 1


def gradient(model, image):
    @tf.function
    def call(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            outputs = model(image)
            loss = tf.add_n([tf.reduce_sum(value**2) for value in outputs.values()])
        return outputs, tape.gradient(loss, image)

    outputs, found = call(image)
    return {**outputs, "gradient": found}


@pytest.mark.parametrize(("tileable", "kind"), [
    (False, SubPixelSymmetricConv2D), (True, SubPixelCircularConv2D),
])  # fmt: skip
def test_a_pyramid_computes_the_same(tileable, kind):
    network = rwgen.build_network("ranpyramid", "conv2_1")
    if tileable:
        network = tiling_network(network)
    network = rwgen.feature_extractor(network, ["conv1_1", "conv2_1"])
    copy = ComputePlan(jit_compile=False).network(network)
    assert [type(copy.get_layer(name)) for name in ("conv1_1", "conv2_1")] == [kind, kind]
    image = tf.constant(np.random.default_rng(1).normal(size=(1, 26, 24, 3)), tf.float32)
    expected = gradient(network, image)
    for name, value in gradient(copy, image).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(value, expected[name], atol=2e-6 * scale, err_msg=name)
    half = in_bfloat16(copy)
    assert type(half.get_layer("conv1_1")) is kind
    np.testing.assert_allclose(
        tf.cast(half(image)["conv1_1"], tf.float32),
        expected["conv1_1"],
        atol=0.02 * np.abs(expected["conv1_1"]).max(),
    )


def test_a_compiled_plan_keeps_the_layers():
    network = rwgen.build_network("ranpyramid", "conv1_1")
    assert ComputePlan(jit_compile=True).network(network) is network


def test_only_large_kernels_on_images_are_replaced(monkeypatch):
    def model(kind, size, channels=3, **options):
        inputs = keras.Input((None, None, channels))
        return keras.Model(inputs, kind(4, size, padding="valid", **options)(inputs))

    for other in (
        model(SymmetricConv2D, 3),
        model(SymmetricConv2D, (3, 5)),
        model(SymmetricConv2D, 5, channels=6, groups=2),
        model(CircularConv2D, 5, channels=4),
        model(keras.layers.Conv2D, 5),
    ):
        assert with_sub_pixel_gradients(other) is other
    suited = model(SymmetricConv2D, 5)
    copy = with_sub_pixel_gradients(suited)
    assert isinstance(copy.layers[1], SubPixelConv2D)
    for one, expected in zip(copy.get_weights(), suited.get_weights(), strict=True):
        np.testing.assert_array_equal(one, expected)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: ["a card"])
    assert with_sub_pixel_gradients(suited) is suited
