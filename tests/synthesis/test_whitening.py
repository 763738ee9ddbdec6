"""Whitened features: the matrices against SciPy and NumPy, and what they are worth."""

import functools
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

import rwgen
from rwgen import metrics
from rwgen.compute.plan import ComputePlan
from rwgen.compute.readers import plain_reader, recomputing_reader
from rwgen.network.preprocess import network_input
from rwgen.synthesis.differences import difference_extractor
from rwgen.synthesis.image_minimizer import PERTURBATION, ImageMinimizer
from rwgen.synthesis.layer_terms import target_features
from rwgen.synthesis.objectives import inversion_objective
from rwgen.synthesis.weighting import content_factors
from rwgen.synthesis.whitening import MAX_DRAWS, SAMPLES_PER_CHANNEL, SHRINKAGE, inverse_root
from rwgen.synthesis.whitening import whitening_matrices as matrices

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def changed(image, number, size=0.05):
    return image + size * np.random.default_rng(number).standard_normal(image.shape)


def changes(extractor, image, name, draws):
    """NumPy: [positions of all draws, channels]."""
    target = extractor(image)[name].numpy()
    found = [extractor(changed(image, draw))[name].numpy() - target for draw in range(draws)]
    return np.concatenate([change.reshape(-1, change.shape[-1]) for change in found])


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_the_root_is_that_of_scipy(scale):
    vectors = np.random.default_rng(0).standard_normal((40, 6)) * [100, 10, 1, 1, 0.1, 0]
    moments = vectors.T @ vectors * scale
    shrunk = moments / (np.trace(moments) / 6) + SHRINKAGE * np.eye(6)
    expected = scipy.linalg.fractional_matrix_power(shrunk, -0.5)
    np.testing.assert_allclose(inverse_root(moments, SHRINKAGE), expected, rtol=1e-9, atol=1e-12)


def test_without_any_change_nothing_is_mixed():
    np.testing.assert_array_equal(inverse_root(np.zeros((3, 3)), SHRINKAGE), np.eye(3))


@pytest.mark.parametrize("way", ["kept", "computed again", "differences"])
def test_matrices_are_those_of_the_changes_of_features(small_network, smooth_image, way):
    network, image = small_network(), smooth_image(8, 6)
    layers = ("conv2_1", "pool1")
    extractor = rwgen.feature_extractor(network, layers)
    targets = extractor(image)
    read = {
        "kept": lambda: plain_reader(extractor),
        "computed again": lambda: recomputing_reader(extractor, jit_compile=False),
        "differences": lambda: plain_reader(difference_extractor(network, image, layers)),
    }[way]()
    subtract = way != "differences"
    found = matrices(read, targets, functools.partial(changed, image), subtract=subtract)
    fewest = min(np.prod(targets[name].shape[1:3]) / targets[name].shape[3] for name in layers)
    draws = int(np.ceil(SAMPLES_PER_CHANNEL / fewest))
    assert list(found) == list(layers)
    for name, matrix in found.items():
        moved = changes(extractor, image, name, draws)
        moments = moved.T @ moved
        np.testing.assert_allclose(matrix, inverse_root(moments, SHRINKAGE), rtol=1e-6, atol=1e-7)
        spectrum = np.linalg.eigvalsh(matrix.numpy() @ moments @ matrix.numpy())
        before = np.linalg.eigvalsh(moments)
        share = before / before.mean()
        np.testing.assert_allclose(
            spectrum / before.mean(), share / (share + SHRINKAGE), rtol=1e-5, atol=1e-9
        )


def test_small_maps_get_so_many_draws_and_dense_layers_no_matrix():
    seen = []

    def read(image, readings):
        seen.append(image)
        return {name: reading(tf.ones([1, 1, 1, 900])) for name, reading in readings.items()}

    targets = {"pool5": tf.zeros([1, 1, 1, 900]), "fc6": tf.zeros([1, 12])}
    found = matrices(read, targets, lambda number: np.zeros((1, 4, 4, 3)), subtract=False)
    assert list(found) == ["pool5"]
    assert len(seen) == MAX_DRAWS
    assert matrices(read, {"fc6": tf.zeros([1, 12])}, np.zeros, subtract=False) == {}


@pytest.mark.parametrize("propagate", [True, False])
def test_the_objective_is_equation_1_of_the_mixtures(small_network, smooth_image, propagate):
    network, image, other = small_network(), smooth_image(8, 6), smooth_image(8, 6, seed=1)
    layers = ("conv2_1", "pool1")
    near = functools.partial(changed, image)
    plan = ComputePlan(propagate_differences=propagate)
    objective = inversion_objective(network, image, layers, plan=plan, perturbation=near)
    extractor = rwgen.feature_extractor(network, layers)
    read = plain_reader(extractor)
    targets, scales = target_features(read, image, layers)
    factors = content_factors(read, image, layers, "magnitude", scales)
    mixing = matrices(read, targets, near, subtract=True)
    expected = 0.0
    for name in layers:
        difference = (extractor(other)[name] - extractor(image)[name]).numpy() / scales[name]
        mixed = difference.reshape(-1, difference.shape[-1]) @ mixing[name].numpy()
        expected += factors[name] * np.mean(mixed**2) / 2
    np.testing.assert_allclose(objective(tf.constant(other))["content"], expected, rtol=1e-6)
    assert float(objective(tf.constant(image))["content"]) == 0


@pytest.mark.parametrize("parameterization", ["pixel", "fourier-box"])
def test_changes_are_small_random_and_the_seeds(parameterization):
    image = network_input(rwgen.read_image(PHOTO)[:24, :30], "float64")
    search = ImageMinimizer((24, 30), "float64", parameterization, seed=3)
    draws = [search.perturbed(image, number) - image for number in (0, 1)]
    for draw in draws:
        np.testing.assert_allclose(np.sqrt(np.mean(draw**2)), PERTURBATION, rtol=1e-6)
    assert abs(np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1]) < 0.5
    again = ImageMinimizer((24, 30), "float64", parameterization, seed=3)
    np.testing.assert_array_equal(again.perturbed(image, 1) - image, draws[1])
    other = ImageMinimizer((24, 30), "float64", parameterization, seed=4)
    assert np.abs(other.perturbed(image, 1) - image - draws[1]).max() > PERTURBATION


@pytest.mark.usefixtures("eager")
def test_deep_layers_are_whitened_unless_pixels_are_moved(monkeypatch):
    seen = []

    def objective(*arguments):
        seen.append(arguments[-1] is not None)
        return inversion_objective(*arguments)

    monkeypatch.setattr("rwgen.synthesis.tasks.inversion_objective", objective)
    optimizer = rwgen.OptimizerConfig(max_iterations=0, jit_compile=False)
    image = rwgen.read_image(PHOTO)[:16, :16]
    network = rwgen.build_network(rwgen.load_recipe("ranvgg19-half-normal"), "pool3")
    for layer, settings in (
        ("conv2_2", {}),
        ("pool3", {}),
        ("pool3", {"parameterization": "pixel"}),
        ("pool3", {"whiten_features": False}),
        ("conv2_2", {"whiten_features": True}),
    ):
        config = rwgen.InversionConfig(optimizer=optimizer, **settings)
        rwgen.invert(image, layer, network=network, config=config)
    assert seen == [False, True, False, False, True]


@pytest.mark.usefixtures("eager")
def test_more_of_a_photo_is_found_in_as_many_iterations():
    photo = rwgen.resize_image(rwgen.read_image(PHOTO), 32, 32)
    network = rwgen.build_network(rwgen.load_recipe("ranvgg19-half-normal"), "conv4_1")
    found = {}
    for whiten in (False, True):
        config = rwgen.InversionConfig(
            whiten_features=whiten, optimizer=rwgen.OptimizerConfig(max_iterations=40)
        )
        solution = rwgen.invert(photo, "conv4_1", network=network, config=config)
        found[whiten] = metrics.psnr(photo, solution.image.clip(0, 255))
    assert found[True] > found[False] + 0.5
