"""Conversion between pixels and network input, compared with Keras, for all kinds of arrays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rwgen import InvalidInputError, deprocess, preprocess_input
from rwgen.network.preprocess import network_input


def pixels(*shape, dtype=np.float64):
    return np.random.default_rng(0).uniform(0, 255, shape).astype(dtype)


def test_the_mean_is_the_one_of_keras_vgg19():
    """Keras converts RGB to BGR and does not divide by 255."""
    images = pixels(2, 4, 5, 3)
    theirs = keras.applications.vgg19.preprocess_input(images.copy())
    np.testing.assert_allclose(preprocess_input(images) * 255, theirs[..., ::-1], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (4, 5, 3), (2, 4, 5, 3), (0, 4, 5, 3), (2, 1, 4, 5, 3)])
def test_floats_of_any_rank_keep_their_dtype_and_come_back(dtype, shape):
    images = pixels(*shape, dtype=dtype)
    kept = images.copy()
    inside = preprocess_input(images)
    back = deprocess(inside)
    assert inside.dtype == back.dtype == dtype
    assert inside.shape == back.shape == shape
    tolerance = 255 * 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(back, images, atol=tolerance)
    np.testing.assert_array_equal(images, kept)


def test_the_range_is_one_wide_and_mid_values_are_near_zero():
    black, white = preprocess_input(np.zeros((1, 1, 3))), preprocess_input(np.full((1, 1, 3), 255))
    np.testing.assert_allclose(white - black, np.ones((1, 1, 3)), atol=1e-6)
    assert np.abs(white + black).max() < 0.2


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_integers_become_float32(dtype):
    images = pixels(4, 5, 3).astype(dtype)
    inside = preprocess_input(images)
    assert inside.dtype == np.float32
    expected = (images.astype(np.float64) - [123.68, 116.779, 103.939]) / 255
    np.testing.assert_allclose(inside, expected, atol=1e-6)
    np.testing.assert_allclose(preprocess_input(images.tolist()), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bfloat16"])
def test_tensors_stay_tensors(dtype):
    images = pixels(4, 5, 3).astype(np.uint8)
    inside = preprocess_input(tf.cast(images, dtype))
    assert tf.is_tensor(inside)
    assert inside.dtype == ("float32" if dtype == "uint8" else dtype)
    atol = 0.01 if dtype == "bfloat16" else 1e-6
    found = tf.cast(inside, tf.float64).numpy()
    np.testing.assert_allclose(found, preprocess_input(images.astype(np.float64)), atol=atol)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_is_part_of_a_model_and_of_a_graph(dtype):
    inputs = keras.Input((4, 5, 3), dtype=dtype)
    model = keras.Model(inputs, deprocess(preprocess_input(inputs)))
    images = pixels(2, 4, 5, 3).astype(dtype)
    np.testing.assert_allclose(model.predict(images, verbose=0), images, atol=1e-3)
    graph = tf.function(preprocess_input, autograph=False)
    inside = preprocess_input(images)
    np.testing.assert_allclose(graph(tf.constant(images)), inside, atol=1e-6)


def test_its_derivative_is_one_over_255():
    images = tf.constant(pixels(4, 5, 3))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(preprocess_input(images))
    np.testing.assert_allclose(tape.gradient(total, images), np.full((4, 5, 3), 1 / 255))


@pytest.mark.parametrize("function", [preprocess_input, deprocess])
@pytest.mark.parametrize("shape", [(), (4,), (4, 5), (4, 5, 1), (4, 5, 4), (3, 4, 5)])
def test_another_number_of_channels_is_refused(function, shape):
    with pytest.raises(InvalidInputError, match="height, width, 3") as caught:
        function(np.zeros(shape))
    assert str(caught.value).endswith(f"Received: {shape}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_networks_input_is_a_batch_of_one(dtype):
    image = pixels(4, 5, 3).astype(np.uint8)
    batch = network_input(image, dtype)
    assert (batch.shape, batch.dtype) == ((1, 4, 5, 3), dtype)
    expected = (image.astype(np.float64) - [123.68, 116.779, 103.939]) / 255
    np.testing.assert_allclose(batch[0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (4, 4), (1, 4, 5, 3), (4, 5, 1), (0, 5, 3)])
def test_what_is_not_one_image_is_refused(shape):
    with pytest.raises(InvalidInputError, match="height, width, 3"):
        network_input(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(value):
    image = pixels(4, 5, 3)
    image[2, 3, 1] = value
    with pytest.raises(InvalidInputError, match="finite"):
        network_input(image)
