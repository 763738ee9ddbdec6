"""From one image to another through features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import InvalidInputError, InversionConfig, OptimizerConfig, feature_extractor
from rwgen.network.preprocess import network_input
from rwgen.synthesis.objectives import inversion_objective, morphing_objective

CONFIG = InversionConfig(
    parameterization="pixel", optimizer=OptimizerConfig(max_iterations=15, jit_compile=False)
)


def picture(seed, height=16, width=20):
    coarse = np.random.default_rng(seed).uniform(20, 235, (height // 4, width // 4, 3))
    return rwgen.resize_image(coarse, height, width)


def features(network, image, layer):
    values = network_input(image, "float64") if image.ndim == 3 else image
    return feature_extractor(network, [layer])(values)[layer].numpy()


def test_the_objective_is_equation_1_with_features_in_between(small_network, smooth_image):
    network = small_network()
    first, second, candidate = (smooth_image(8, 7, seed=seed) for seed in range(3))
    values = []
    for share in (0.0, 0.3, 1.0):
        objective = morphing_objective(network, [first, second], share, ["conv2_1"])
        (value,) = objective(tf.constant(candidate)).values()
        f, a, b = (features(network, image, "conv2_1") for image in (candidate, first, second))
        values.append(float(value) / np.mean((f - (1 - share) * a - share * b) ** 2))
    np.testing.assert_allclose(values, values[0], rtol=1e-9)  # one factor, at every share
    end = inversion_objective(network, first, ["conv2_1"])
    start = morphing_objective(network, [first, second], 0.0, ["conv2_1"])
    point = tf.constant(candidate)
    assert float(start(point)["content"]) == pytest.approx(float(end(point)["content"]), rel=1e-9)


def test_features_are_whitened_with_the_changes_of_both_images(small_network, smooth_image):
    network = small_network()
    first, second, candidate = (smooth_image(8, 8, seed=seed) for seed in range(3))

    def near(image):
        return lambda number: image + 0.05 * smooth_image(8, 8, seed=9 + number)

    def loss(images, share):
        perturbations = [near(image) for image in images]
        objective = morphing_objective(
            network, images, share, ["conv2_1"], perturbations=perturbations
        )
        return float(objective(tf.constant(candidate))["content"])

    def factor(image):
        objective = inversion_objective(network, image, ["conv2_1"])
        own, others = (features(network, each, "conv2_1") for each in (image, candidate))
        return float(objective(tf.constant(candidate))["content"]) / np.mean((others - own) ** 2)

    # The same metric from either side, up to the factor of the image that comes first.
    there, back = loss([first, second], 0.3), loss([second, first], 0.7)
    assert there / factor(first) == pytest.approx(back / factor(second), rel=1e-6)
    plain = morphing_objective(network, [first, second], 0.3, ["conv2_1"])
    assert there != pytest.approx(float(plain(tf.constant(candidate))["content"]), rel=0.01)


@pytest.mark.usefixtures("eager")
def test_a_linear_network_gives_the_blends_of_the_pixels():
    inputs = keras.Input((None, None, 3), dtype="float64")
    outputs = keras.layers.Conv2D(8, 3, padding="same", name="linear", dtype="float64")(inputs)
    first, second = picture(1), picture(2)
    frames = rwgen.morph(
        first, second, "linear", 5, network=keras.Model(inputs, outputs), config=CONFIG
    )
    for number, solution in enumerate(frames):
        share = number / 4
        np.testing.assert_allclose(solution.image, (1 - share) * first + share * second, atol=1e-3)
    assert number == 4


@pytest.mark.usefixtures("eager")
def test_frames_approach_the_features_in_between_and_the_ends_are_the_images(small_network):
    network = small_network()
    first, second = picture(1), picture(2)
    frames = list(rwgen.morph(first, second, "conv2_2", 3, network=network, config=CONFIG))
    np.testing.assert_allclose(frames[0].image, first, atol=1e-3)
    np.testing.assert_allclose(frames[2].image, second, atol=1e-3)
    middle = (features(network, first, "conv2_2") + features(network, second, "conv2_2")) / 2
    errors = [
        np.mean((features(network, image, "conv2_2") - middle) ** 2)
        for image in (frames[1].image, (first + second) / 2)
    ]
    assert errors[0] < errors[1] / 3
    again = list(rwgen.morph(first, second, "conv2_2", 3, network=network, config=CONFIG))
    np.testing.assert_array_equal(again[1].image, frames[1].image)


def test_frequencies_in_the_valid_range_are_moved_at_every_layer(small_network, monkeypatch):
    tasks = []
    monkeypatch.setattr(
        "rwgen.synthesis.morphing.run", lambda task, *rest, verbose: tasks.append(task)
    )
    for config in (None, CONFIG):
        list(
            rwgen.morph(
                picture(1), picture(2), "conv1_1", 2, network=small_network(), config=config
            )
        )
    assert [task.parameterization for task in tasks] == ["fourier-box"] * 2 + ["pixel"] * 2


def test_frames_are_computed_when_they_are_asked_for(small_network, monkeypatch):
    calls = []
    monkeypatch.setattr("rwgen.synthesis.morphing.run", lambda *rest, verbose: calls.append(rest))
    frames = rwgen.morph(picture(1), picture(2), "conv1_1", 3, network=small_network())
    assert calls == []
    next(frames)
    assert len(calls) == 1
    assert len(list(frames)) == 2


def test_unusable_input_is_refused_before_the_first_frame(small_network):
    network = small_network()
    with pytest.raises(InvalidInputError, match=r"same size. Received: 20x16 and 16x16 pixels"):
        rwgen.morph(picture(1), picture(2, 16, 16), "conv1_1", network=network)
    with pytest.raises(InvalidInputError, match=r"steps: expected an integer from 2"):
        rwgen.morph(picture(1), picture(2), "conv1_1", 1, network=network)
    with pytest.raises(rwgen.LayerError, match=r"conv9_9"):
        rwgen.morph(picture(1), picture(2), "conv9_9", network=network)
