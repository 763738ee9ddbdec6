"""Networks that compute in bfloat16, and TF32 for the length of a task."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage import data

import rwgen
from rwgen import InvalidInputError, OptimizerConfig, StyleConfig, TextureConfig
from rwgen.compute.bfloat16 import in_bfloat16
from rwgen.compute.device import tensor_float_32
from rwgen.compute.plan import ComputePlan
from rwgen.network.features import feature_extractor, gram_matrix
from rwgen.network.preprocess import network_input

NAMES = ("conv1_1", "conv2_1")


@pytest.fixture(scope="module")
def network():
    recipe = rwgen.Recipe(
        blocks=((8, 1), (16, 1)), kernel_scaling="fan_in", kernel_stddev=1.0, padding="symmetric"
    )
    return rwgen.build_network(recipe, "conv2_1")


@pytest.fixture(scope="module")
def image():
    return network_input(rwgen.resize_image(data.coffee().astype(np.float32), 24, 32))


def test_the_copy_rounds_factors_to_eight_bits_and_sums_in_float32(network, image):
    """Against a float64 convolution of factors that are rounded to bfloat16."""
    copy = in_bfloat16(network)
    found = feature_extractor(copy, ["conv1_1"])(image)["conv1_1"]
    assert found.dtype == tf.bfloat16
    layer = network.get_layer("conv1_1")
    rounded = [
        tf.cast(tf.cast(value, tf.bfloat16), tf.float64).numpy()
        for value in (image, layer.kernel, layer.bias)
    ]
    padded = np.pad(rounded[0][0], ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.maximum(np.einsum("hwcij,ijco->hwo", windows, rounded[1]) + rounded[2], 0)
    error = np.abs(tf.cast(found[0], tf.float64).numpy() - expected).max()
    assert error < 2**-7 * np.abs(expected).max()
    for own, other in zip(network.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
        assert own.dtype == other.dtype == np.float32


@pytest.mark.parametrize("recompute", [False, True])
def test_readings_get_float32_and_gradients_point_the_same_way(network, image, recompute):
    def gradient(plan):
        read = plan.reader(feature_extractor(plan.network(network), NAMES))
        seen = []

        def reading(features):
            seen.append(features.dtype)
            return tf.reduce_sum(gram_matrix(features) ** 2)

        point = tf.constant(image)
        with tf.GradientTape() as tape:
            tape.watch(point)
            total = tf.add_n(list(read(point, dict.fromkeys(NAMES, reading)).values()))
        assert set(seen) == {tf.float32}
        return tape.gradient(total, point).numpy().ravel()

    plan = ComputePlan(recompute=recompute, jit_compile=False)
    exact = gradient(plan)
    rounded = gradient(dataclasses.replace(plan, precision="bfloat16"))
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    cosine = exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded)
    assert cosine > 0.999


def test_tf32_is_allowed_for_the_block_alone():
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    before = enabled()
    for allowed in (True, False):
        with tensor_float_32(allowed):
            assert enabled() is allowed
        assert enabled() is before
    with pytest.raises(ValueError, match="wrong"), tensor_float_32(not before):
        raise ValueError("wrong")
    assert enabled() is before


@pytest.mark.usefixtures("eager")
def test_a_task_computes_as_it_is_told(network, image, monkeypatch):
    pixels = rwgen.resize_image(data.coffee().astype(np.float32), 32, 32)
    optimizer = OptimizerConfig(max_iterations=4)
    found = {}
    for precision in ("float32", "tf32", "bfloat16"):
        seen = []

        def note(step, _, seen=seen):
            seen.append(tf.config.experimental.tensor_float_32_execution_enabled())

        config = TextureConfig(layers=NAMES, precision=precision, optimizer=optimizer)
        solution = rwgen.synthesize_texture(pixels, network=network, config=config, callback=note)
        found[precision] = solution
        assert set(seen) == {precision == "tf32"}
        assert solution.image.dtype == np.float32
    assert found["bfloat16"].loss == pytest.approx(found["float32"].loss, rel=0.05)
    assert found["bfloat16"].loss != found["float32"].loss
    if not tf.config.list_physical_devices("GPU"):
        np.testing.assert_array_equal(found["tf32"].image, found["float32"].image)


@pytest.mark.parametrize("config", [StyleConfig, TextureConfig])
def test_another_format_is_refused(config):
    with pytest.raises(InvalidInputError, match="one of float32, tf32, bfloat16"):
        config(precision="float16")


def test_layers_of_fixed_size_are_copied_too():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2D(4, 3, name="conv1_1")(inputs)
    outputs = keras.layers.Dense(2, name="fc")(keras.layers.Flatten()(outputs))
    copy = in_bfloat16(keras.Model(inputs, outputs))
    assert copy(np.ones((1, 8, 8, 3), np.float32)).dtype == tf.bfloat16
