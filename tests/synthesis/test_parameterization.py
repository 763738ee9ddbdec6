"""Parameterizations: there and back, smooth, inside the box, and conditioned as stated."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import rwgen
from rwgen.network.features import num_pools
from rwgen.network.preprocess import deprocess, network_input
from rwgen.noise import white_noise
from rwgen.synthesis.config import ParameterizationName
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.parameterization import FREQUENCY_POWER, make_parameterization
from rwgen.synthesis.tasks import DEEP_POOLS

NAMES = get_args(ParameterizationName)
EXAMPLES = Path(__file__).parents[2] / "examples"


def pixels(height, width, low=20, high=235):
    return np.random.default_rng(0).uniform(low, high, (height, width, 3))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 9), st.integers(1, 9))
def test_an_image_comes_back(name, height, width):
    image = network_input(pixels(height, width), "float64")
    space = make_parameterization(name, (height, width), np.float64)
    position = space.position(image)
    assert position.shape == image.shape
    np.testing.assert_allclose(space.image(tf.constant(position)), image, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    space = make_parameterization(name, (5, 6), np.float64)
    generator = np.random.default_rng(1)
    position, direction, weights = generator.normal(scale=0.3, size=(3, 1, 5, 6, 3))

    def value(step):
        return float(tf.reduce_sum(space.image(tf.constant(position + step * direction)) * weights))

    variable = tf.constant(position)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = tf.reduce_sum(space.image(variable) * weights)
    slope = float(tf.reduce_sum(tape.gradient(loss, variable) * direction))
    assert slope == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("name", ["box", "fourier-box"])
def test_a_box_is_never_left(name):
    space = make_parameterization(name, (4, 4), np.float64)
    far = np.random.default_rng(2).normal(scale=50, size=(1, 4, 4, 3))
    image = deprocess(space.image(tf.constant(far)).numpy())
    assert image.min() >= -1e-9
    assert image.max() <= 255 + 1e-9
    assert image.max() - image.min() > 250
    outside = network_input(np.full((4, 4, 3), 300.0), "float64")
    kept = deprocess(space.image(tf.constant(space.position(outside))).numpy())
    np.testing.assert_allclose(kept, 255, atol=1)


def test_near_mid_grey_a_box_is_the_identity():
    image = network_input(np.full((2, 2, 3), 127.5) + pixels(2, 2, -1, 1), "float64")
    moved = make_parameterization("box", (2, 2), np.float64).position(image)
    grey = network_input(np.full((2, 2, 3), 127.5), "float64")
    np.testing.assert_allclose(moved, image - grey, atol=1e-6)


def test_one_coefficient_is_one_cosine_of_its_frequency():
    height, width = 8, 12
    space = make_parameterization("fourier", (height, width), np.float64)
    norms = {}
    for row, column in ((0, 3), (4, 0), (7, 11)):
        position = np.zeros((1, height, width, 3))
        position[0, row, column, 0] = 1
        image = space.image(tf.constant(position)).numpy()[0]
        found = np.abs(scipy.fft.dctn(image[..., 0], norm="ortho"))
        assert found.argmax() == row * width + column
        assert np.delete(found.ravel(), found.argmax()).max() < 1e-12
        norms[np.hypot(row / height, column / width)] = np.linalg.norm(image)
    low, middle, high = sorted(norms)
    for near, far in ((low, high), (middle, high)):
        assert norms[near] / norms[far] == pytest.approx((far / near) ** FREQUENCY_POWER)


def test_a_random_step_is_as_long_as_in_pixels():
    space = make_parameterization("fourier", (64, 48), np.float64)
    steps = np.random.default_rng(3).normal(size=(1, 64, 48, 3))
    assert np.std(space.image(tf.constant(steps))) == pytest.approx(1, rel=0.1)


def test_pixels_start_from_the_white_noise_and_frequencies_from_smoother_noise():
    starts = {}

    def objective(image):
        return {"a": tf.reduce_sum(image**2)}

    for name in NAMES:
        images = ImageMinimizer((40, 32), np.float32, name, 5)
        search = images.search(objective, rwgen.OptimizerConfig(max_iterations=0))
        starts[name] = images.minimize(search, None).image
    np.testing.assert_allclose(starts["pixel"], white_noise(5, (40, 32, 3)), atol=1e-3)

    def roughness(image):
        return np.std(np.diff(image, axis=0)) / np.std(image)

    assert roughness(starts["fourier"]) < 0.9 * roughness(starts["pixel"])
    assert len({start.tobytes() for start in starts.values()}) == 4


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", NAMES)
def test_every_parameterisation_inverts(name):
    image = rwgen.resize_image(rwgen.read_image(EXAMPLES / "coffee.jpg"), 32, 32)
    optimizer = rwgen.OptimizerConfig(max_iterations=30)
    config = rwgen.InversionConfig(parameterization=name, optimizer=optimizer)
    solution = rwgen.invert(image, "conv1_1", config=config)
    assert solution.loss < 0.05 * solution.initial_loss
    if name.endswith("box"):
        assert solution.image.min() >= -0.01
        assert solution.image.max() <= 255.01


def test_an_unknown_name_is_refused():
    with pytest.raises(rwgen.InvalidInputError, match="parameterization: expected one of pixel"):
        rwgen.StyleConfig(parameterization="wavelet")


@pytest.mark.usefixtures("eager")
def test_an_inversion_chooses_by_the_layers_unless_told(monkeypatch):
    network = rwgen.build_network(rwgen.Recipe(), "pool5")
    for layer, expected in (
        ("conv1_1", 0),
        ("conv3_4", 2),
        ("pool3", 3),
        ("pool5", 5),
    ):
        assert num_pools(network, layer) == expected
    assert DEEP_POOLS == 3
    seen = []

    class Seen(ImageMinimizer):
        def __init__(self, size, dtype, parameterization, seed):
            seen.append(parameterization)
            super().__init__(size, dtype, parameterization, seed)

    monkeypatch.setattr("rwgen.synthesis.pipeline.ImageMinimizer", Seen)
    optimizer = rwgen.OptimizerConfig(max_iterations=0, jit_compile=False)
    image = np.full((16, 16, 3), 90.0)
    for layer, name in (("conv1_1", None), ("conv1_1", "box"), ("pool3", None), ("pool3", "pixel")):
        config = rwgen.InversionConfig(parameterization=name, optimizer=optimizer)
        rwgen.invert(image, layer, network=network, config=config)
    assert seen == ["pixel", "box", "fourier-box", "pixel"]
