"""Networks whose blocks read the image at one size each."""

import dataclasses

import keras
import numpy as np
import pytest
from scipy.ndimage import correlate

import rwgen
from rwgen import InversionConfig, Recipe, RecipeError, build_network, weight_fingerprints
from rwgen.compute.memory import architecture_workload
from rwgen.compute.plan import ComputePlan, network_workload
from rwgen.network.pooling import BinomialPooling2D
from rwgen.network.unit_activations import unit_activations
from rwgen.optimize.config import OptimizerConfig

SMALL = Recipe(
    blocks=((4, 1), (5, 2), (6, 1)),
    kernel_size=5,
    pyramid=True,
    pooling="binomial",
    padding="symmetric",
    bias_stddev=0.1,
    kernel_scaling="fan_in",
    kernel_stddev=1.0,
)
IMAGE = np.random.default_rng(0).normal(size=(1, 21, 24, 3)).astype(np.float32)


def halved(image):
    """[height, width, channels] at half the size, one pixel at a time."""
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)], mode="edge")
    weights = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    result = np.zeros((rows, columns, image.shape[2]))
    for row in range(rows):
        for column in range(columns):
            window = padded[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            result[row, column] = np.tensordot(weights, window, 2)
    return result


def convolved(image, layer):
    kernel, bias = layer.get_weights()
    channels = [
        sum(
            correlate(image[..., k], kernel[..., k, n], mode="reflect")
            for k in range(image.shape[-1])
        )
        for n in range(kernel.shape[-1])
    ]
    return np.maximum(np.stack(channels, axis=-1) + bias, 0)


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (2, 3)])
def test_binomial_pooling_is_that_of_a_loop(size):
    image = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    pool = BinomialPooling2D()
    expected = [halved(item) for item in image]
    np.testing.assert_allclose(pool(image), expected, atol=1e-6)
    assert pool.compute_output_shape(image.shape) == np.shape(expected)
    assert pool.compute_output_shape((None, None, size[1], 3)) == (None, None, size[1] // 2, 3)


def test_binomial_pooling_keeps_a_ramp_and_removes_the_highest_frequency():
    rows = np.arange(16.0)
    ramp = np.broadcast_to(rows[None, :, None, None], (1, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(
        BinomialPooling2D()(ramp)[0, 1:-1, 0, 0], 2 * np.arange(1, 7) + 0.5, atol=1e-5
    )
    stripes = np.broadcast_to((-1.0) ** rows[None, :, None, None], (1, 16, 16, 1))
    inside = BinomialPooling2D()(stripes.astype(np.float32))[:, 1:-1]
    np.testing.assert_allclose(inside, 0, atol=1e-6)


def test_every_block_convolves_the_image_at_its_own_size():
    network = build_network(SMALL, "conv3_1")
    names = ["conv1_1", "conv2_1", "conv2_2", "conv3_1"]
    found = rwgen.feature_extractor(network, [*names, "pool1"])(IMAGE)
    level = [IMAGE[0]]
    level += [halved(level[0])]
    level += [halved(level[1])]
    first = convolved(level[1], network.get_layer("conv2_1"))
    expected = {
        "conv1_1": convolved(level[0], network.get_layer("conv1_1")),
        "conv2_1": first,
        "conv2_2": convolved(first, network.get_layer("conv2_2")),
        "conv3_1": convolved(level[2], network.get_layer("conv3_1")),
        "pool1": level[1],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][0], values, rtol=1e-4, atol=1e-5)
    topology = SMALL.topology
    for name, values in expected.items():
        assert topology.output_shape(name, *IMAGE.shape[1:3]) == values.shape
    for name in names:
        assert topology.kernel_shape(name) == network.get_layer(name).kernel.shape


def test_weights_do_not_depend_on_the_other_blocks():
    whole, part = build_network(SMALL), build_network(SMALL, "conv2_1")
    assert whole.output_names == ["conv1_1", "conv2_2", "conv3_1", "pool3"]
    assert part.output_names == ["conv1_1", "conv2_1"]
    prints = weight_fingerprints(whole)
    assert len(prints) == 4
    assert weight_fingerprints(part).items() <= prints.items()


def test_the_shipped_pyramid_has_its_fingerprints():
    recipe = rwgen.load_recipe("ranpyramid")
    network = rwgen.RanVGG19(recipe="ranpyramid")  # verifies the fingerprints
    assert weight_fingerprints(network) == recipe.weights_sha256
    assert len(recipe.weights_sha256) == 5
    assert {network.get_layer(name).kernel.shape for name in recipe.weights_sha256} == {
        (7, 7, 3, 128)
    }


def test_a_pyramid_survives_a_keras_file(tmp_path):
    network = build_network(SMALL, "conv3_1")
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    for name, values in network(IMAGE).items():
        np.testing.assert_array_equal(again(IMAGE)[name], values)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["conv1_1"], ["conv1_1"]),
        (["conv2_1"], ["pool1", "conv2_1"]),
        (["conv2_2"], ["pool1", "conv2_1", "conv2_2"]),
        (["conv3_1", "conv1_1"], ["conv1_1", "pool1", "pool2", "conv3_1"]),
        (["pool2"], ["pool1", "pool2"]),
    ],
)
def test_only_the_blocks_that_are_read_are_needed(names, expected):
    assert [spec.name for spec in SMALL.topology.needed(names)] == expected
    extractor = rwgen.feature_extractor(build_network(SMALL), names)
    assert {layer.name for layer in extractor.layers[1:]} == set(expected)


@pytest.mark.parametrize("layers", [("conv1_1", "conv3_1"), ("conv2_2",)])
def test_the_command_line_and_the_library_count_the_same_memory(layers):
    task = {
        "size": (33, 40),
        "targets": [(33, 40), (20, 64)],
        "content_layers": layers[:1],
        "optimizer": OptimizerConfig(),
    }
    counted = network_workload(build_network(SMALL), layers, **task)
    expected = architecture_workload(SMALL.topology, layers, **task)
    for recompute in (False, True):
        assert counted.peak_bytes(recompute) == expected.peak_bytes(recompute)


def test_unit_activations_of_every_block():
    image = np.random.default_rng(2).uniform(0, 255, (24, 24, 3))
    network = build_network(SMALL, "conv3_1")
    scaled = unit_activations(network, [image])
    names = ["conv1_1", "conv2_1", "conv2_2", "conv3_1"]
    inputs = rwgen.preprocess_input(image[None].astype(np.float32))
    before = rwgen.feature_extractor(network, names)(inputs)
    after = rwgen.feature_extractor(scaled, names)(inputs)
    for name in names:
        means = np.mean(before[name], axis=(0, 1, 2))
        active = means > 0
        found = np.mean(after[name].numpy(), axis=(0, 1, 2))
        np.testing.assert_allclose(found[active], 1, rtol=1e-4)
        np.testing.assert_allclose(
            after[name].numpy()[..., active],
            before[name].numpy()[..., active] / means[active],
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.usefixtures("eager")
def test_features_of_a_pyramid_are_inverted_by_subtraction_and_with_recomputation():
    image = np.random.default_rng(3).uniform(60, 200, (16, 16, 3))
    config = InversionConfig(octaves=0, optimizer=OptimizerConfig(max_iterations=30))
    network = build_network(SMALL, "conv2_1")
    found = rwgen.invert(image, ["conv1_1", "conv2_1"], network=network, config=config)
    assert found.loss < found.initial_loss / 100
    read = ComputePlan(recompute=True).reader(rwgen.feature_extractor(network, ["conv2_1"]))
    values = read(IMAGE, {"conv2_1": lambda features: features})
    np.testing.assert_allclose(values["conv2_1"], network(IMAGE)["conv2_1"], atol=1e-6)


@pytest.mark.parametrize(
    "values", [{"kernel_size": 4}, {"kernel_size": 17}, {"kernel_size": 0}, {"pyramid": 1}]
)
def test_invalid_shapes_are_refused(values):
    (key,) = values
    with pytest.raises(RecipeError, match=f"{key}: expected"):
        Recipe(**values)


@pytest.mark.parametrize("values", [{"kernel_size": 5}, {"pyramid": True}])
def test_trained_weights_have_their_own_shape(values):
    with pytest.raises(RecipeError, match="with trained weights"):
        Recipe(weights="imagenet", **values)


def test_a_pyramid_has_no_dense_layers():
    with pytest.raises(rwgen.LayerError, match="of a pyramid of 3 blocks with 5x5 kernels"):
        build_network(dataclasses.replace(SMALL, name="small"), "fc4")
