"""ranVGG: topology, weights, serialization, and use within other models."""

import dataclasses
import hashlib
import json
import math

import keras
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

import rwgen
from rwgen import InvalidInputError, LayerError, RanVGG19, Recipe, RecipeError, SeededNormal
from rwgen.network.architecture import VGG19, Architecture
from rwgen.network.vgg import build_network, weight_fingerprints
from rwgen.seeds import MAX_SEED, QUANTILE_GRID, UNIFORM_BITS, standard_normal

SMALL = Architecture("small", ((4, 1), (6, 2)))
PLAIN = Recipe(name="plain", kernel_stddev=0.4, bias_stddev=0.2)


# Draws


def test_no_possible_draw_lies_near_a_rounding_boundary():
    """Differences between mathematical libraries, about 1e-15, therefore change no weight."""
    uniform = (np.arange(2**UNIFORM_BITS) + 0.5) * 2.0**-UNIFORM_BITS
    scaled = ndtri(uniform) / QUANTILE_GRID
    distance = np.abs(scaled - np.floor(scaled) - 0.5)
    assert distance.min() > 1e-8


def test_draws_are_standard_normal_and_independent_between_streams():
    first, second = (standard_normal(1, name, (200_000,)) for name in "ab")
    assert stats.kstest(first, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.01


def test_draws_depend_on_position_alone_across_chunks():
    long = standard_normal(5, "x", (2**20 + 77,))
    np.testing.assert_array_equal(standard_normal(5, "x", (333,)), long[:333])
    np.testing.assert_array_equal(standard_normal(5, "x", (2**20 + 1,)), long[: 2**20 + 1])


def philox_normals(stream, count):
    """Independent implementation of docs/architecture.md, with another method of the generator."""
    key = hashlib.sha256(f"rwgen/{stream}".encode()).digest()[:16]
    bits = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    words = bits.integers(0, 2**64, size=-(-count // 2), dtype=np.uint64)
    halves = np.stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)], axis=1).ravel()
    normals = stats.norm.ppf(((halves[:count] >> np.uint64(8)) + 0.5) / 2**24)
    return np.round(normals * 2**16) / 2**16


def test_draws_are_those_of_philox_keyed_by_the_hash():
    expected = philox_normals("7/weights/conv1_1/kernel/0", 6)
    np.testing.assert_array_equal(standard_normal(7, "weights/conv1_1/kernel/0", (6,)), expected)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.5, True, "1"])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(InvalidInputError, match="seed"):
        standard_normal(seed, "x", (1,))


# Weights


def test_the_initializer_survives_serialisation_and_differs_in_every_key():
    keys = {"stddev": 0.5, "seed": 3, "layer": "conv1_1", "variable": "kernel", "candidate": 2}
    original = SeededNormal(**keys)
    config = keras.initializers.serialize(original)
    again = keras.initializers.deserialize(json.loads(json.dumps(config)))
    np.testing.assert_array_equal(again.draw((3, 4)), original.draw((3, 4)))
    for key, value in (("seed", 4), ("layer", "conv1_2"), ("variable", "bias"), ("candidate", 1)):
        other = SeededNormal(**{**keys, key: value})
        assert not np.array_equal(other.draw((3, 4)), original.draw((3, 4)))


def test_stddevs_are_those_of_the_recipe():
    model = build_network(Recipe(kernel_stddev=0.02, bias_stddev=0.3), "conv3_2")
    kernel, bias = model.get_layer("conv3_2").get_weights()
    assert kernel.std() == pytest.approx(0.02, rel=0.01)
    assert bias.std() == pytest.approx(0.3, rel=0.15)
    zero = build_network(Recipe(bias_stddev=0), "conv1_1").get_layer("conv1_1").get_weights()[1]
    np.testing.assert_array_equal(zero, np.zeros(64))


def test_weights_do_not_depend_on_what_else_is_built_and_same_shapes_differ():
    whole = RanVGG19(seed=9)
    RanVGG19(seed=10)  # draws in between change nothing
    part = build_network(dataclasses.replace(Recipe(), seed=9), "conv3_2")
    for layer in ("conv1_1", "conv3_2"):
        for first, second in zip(
            whole.get_layer(layer).get_weights(), part.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(first, second)
    same_shape = [whole.get_layer(f"conv5_{index}").get_weights()[0] for index in range(1, 5)]
    assert len({array.tobytes() for array in same_shape}) == 4


def test_weights_that_do_not_match_their_fingerprint_are_refused():
    model = build_network(PLAIN, architecture=SMALL)
    right = weight_fingerprints(model)
    build_network(dataclasses.replace(PLAIN, weights_sha256=right), architecture=SMALL)
    wrong = dataclasses.replace(PLAIN, seed=1, weights_sha256=right)
    with pytest.raises(RecipeError, match="SHA-256"):
        build_network(wrong, architecture=SMALL)


SHAPES = {
    "width": {"conv1_1": (3, 3, 3, 6), "conv1_2": (3, 3, 6, 6), "conv2_1": (3, 3, 6, 13)},
    "blocks": {"conv1_1": (3, 3, 3, 5), "conv2_1": (3, 3, 5, 7), "conv2_2": (3, 3, 7, 7)},
}


@pytest.mark.parametrize("change", [{"width": 0.1}, {"blocks": ((5, 1), (7, 2))}], ids=list)
def test_weights_of_any_width_are_normal_draws_in_row_major_order(change):
    recipe = Recipe(
        kernel_stddev=0.25, bias_stddev=0.5, seed=3, candidates={"conv1_1": 2}, **change
    )
    shapes = SHAPES[next(iter(change))]
    model = build_network(recipe, list(shapes)[-1])
    assert [layer.name for layer in model.layers if layer.weights] == list(shapes)
    for name, shape in shapes.items():
        candidate = recipe.candidates.get(name, 0)
        draws = philox_normals(f"3/weights/{name}/kernel/{candidate}", math.prod(shape))
        kernel, bias = model.get_layer(name).get_weights()
        np.testing.assert_array_equal(kernel, 0.25 * draws.reshape(shape))
        draws = philox_normals(f"3/weights/{name}/bias/{candidate}", shape[-1])
        np.testing.assert_array_equal(bias, 0.5 * draws)


def test_kernels_scaled_by_fan_in_are_the_same_draws_with_other_deviations():
    recipe = Recipe(width=0.1, kernel_stddev=1.0, kernel_scaling="fan_in", bias_stddev=0.5, seed=3)
    model = build_network(recipe, "conv2_1")
    for name, shape in SHAPES["width"].items():
        draws = philox_normals(f"3/weights/{name}/kernel/0", math.prod(shape)).reshape(shape)
        stddev = np.float32(math.sqrt(2 / math.prod(shape[:3])))
        kernel, bias = model.get_layer(name).get_weights()
        np.testing.assert_array_equal(kernel, draws.astype(np.float32) * stddev)
        draws = philox_normals(f"3/weights/{name}/bias/0", shape[-1])
        np.testing.assert_array_equal(bias, 0.5 * draws)


# Topology


def test_layers_shapes_and_parameters_are_those_of_keras_vgg19():
    reference = keras.applications.VGG19(weights=None, include_top=False, input_shape=(64, 96, 3))
    ours = RanVGG19(input_shape=(64, 96, 3))
    for spec in VGG19.layers():
        if spec.kind == "dense":
            continue
        theirs, own = reference.get_layer(spec.keras_name), ours.get_layer(spec.name)
        assert own.output.shape == theirs.output.shape
        assert tuple(own.output.shape[1:]) == VGG19.output_shape(spec.name, 64, 96)
        assert own.count_params() == theirs.count_params() == VGG19.num_parameters(spec.name)


def test_features_equal_those_of_keras_vgg19_with_the_same_weights_and_max_pooling():
    reference = keras.applications.VGG19(weights=None, include_top=False, input_shape=(40, 33, 3))
    ours = RanVGG19(pooling="max", input_shape=(40, 33, 3))
    for spec in VGG19.layers():
        if spec.kind == "conv":
            weights = ours.get_layer(spec.name).get_weights()
            reference.get_layer(spec.keras_name).set_weights(weights)
    image = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 40, 33, 3)).astype(np.float32)
    expected = reference.predict(image, verbose=0)
    np.testing.assert_allclose(ours.predict(image, verbose=0), expected, rtol=1e-4, atol=1e-9)


def numpy_forward(model, image):
    """Convolution, ReLU and average pooling as loops over positions in NumPy."""
    outputs = {}
    for spec in SMALL.layers():
        if spec.kind == "pool":
            height, width = image.shape[0] // 2, image.shape[1] // 2
            cut = image[: 2 * height, : 2 * width]
            image = cut.reshape(height, 2, width, 2, -1).mean(axis=(1, 3))
        else:
            kernel, bias = model.get_layer(spec.name).get_weights()
            padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
            result = np.zeros((*image.shape[:2], spec.units))
            for row, column in np.ndindex(image.shape[:2]):
                window = padded[row : row + 3, column : column + 3]
                result[row, column] = np.tensordot(window, kernel, 3) + bias
            image = np.maximum(result, 0)
        outputs[spec.name] = image
    return outputs


def test_every_layer_equals_loops_over_positions_on_odd_sizes():
    model = build_network(PLAIN, architecture=SMALL, dtype="float64")
    image = np.random.default_rng(1).uniform(-1, 1, (9, 7, 3))
    names = [spec.name for spec in SMALL.layers()]
    outputs = rwgen.feature_extractor(model, names)(image[np.newaxis])
    assert list(outputs) == names
    for name, expected in numpy_forward(model, image).items():
        np.testing.assert_allclose(outputs[name][0], expected, rtol=1e-10, atol=1e-12)


def test_features_do_not_depend_on_the_batch():
    model = build_network(PLAIN, architecture=SMALL)
    images = np.random.default_rng(1).uniform(-1, 1, (3, 12, 12, 3)).astype(np.float32)
    together = model.predict(images, verbose=0)
    alone = np.concatenate([model.predict(images[i : i + 1], verbose=0) for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_layers_answer_to_the_papers_names_and_to_keras():
    model = build_network(Recipe(), "pool3")
    extractor = rwgen.feature_extractor(model, ["conv2_2", "block1_pool", "block2_conv2"])
    assert list(extractor.output) == ["conv2_2", "pool1"]
    assert VGG19.layer("predictions").name == "fc8"
    with pytest.raises(LayerError, match="conv1_1"):
        rwgen.feature_extractor(model, ["conv9_9"])
    with pytest.raises(LayerError, match="none"):
        rwgen.feature_extractor(model, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (31, 64, 3)}, "at least 32"),
        ({"input_shape": (64, 64, 1)}, "input_shape"),
        ({"input_shape": (64, 64, 3), "include_top": True}, "256x256"),
        ({"pooling": "median"}, "avg"),
        ({"recipe": "no-such-network"}, "ranvgg19"),
        ({"seed": -1}, "seed"),
        ({"width": 0}, "width: expected a finite number above 0 and at most 4. Received: 0"),
        ({"width": 4.5}, "width"),
        ({"width": "wide"}, "width"),
        ({"width": 0.5, "recipe": "imagenet"}, "width: expected no value with trained weights"),
        ({"width": 1, "recipe": Recipe(blocks=((4, 1),))}, "width: expected no value with blocks"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        RanVGG19(**arguments)


@pytest.mark.slow
def test_the_dense_layers_work_at_256_and_match_their_fingerprints():
    model = RanVGG19(include_top=True)
    assert model.count_params() == 175_124_520
    assert sum(VGG19.num_parameters(spec.name) for spec in VGG19.layers()) == 175_124_520
    extractor = rwgen.feature_extractor(model, ["fc6", "fc7", "predictions"])
    outputs = extractor(np.zeros((1, 256, 256, 3), np.float32))
    assert [outputs[name].shape[1] for name in ("fc6", "fc7", "fc8")] == [4096, 4096, 1000]
    assert float(np.min(outputs["fc6"])) >= 0
    assert float(np.min(outputs["fc8"])) < 0  # fc8 has no ReLU
    kernel, bias = model.get_layer("fc8").get_weights()
    expected = np.asarray(outputs["fc7"]) @ kernel + bias
    np.testing.assert_allclose(outputs["fc8"], expected, rtol=1e-3, atol=1e-5)


# In other projects


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imports", "threads"), [("import rwgen, keras", "1"), ("import keras, rwgen", "2")]
)
def test_a_fresh_process_loads_a_saved_model_and_draws_the_same_weights(
    tmp_path, fresh_process, imports, threads
):
    recipe = Recipe(seed=4, padding="symmetric", kernel_scaling="fan_in")
    model = build_network(recipe, "conv2_1")
    image = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 20, 20, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", image)
    digests = fresh_process(
        f"{imports}; import json, numpy as np; folder = {str(tmp_path)!r};"
        "model = keras.models.load_model(folder + '/model.keras');"
        "again = keras.models.clone_model(model);"  # drawn again by the initializers
        "image = np.load(folder + '/image.npy');"
        "np.save(folder + '/loaded.npy', model(image));"
        "np.save(folder + '/cloned.npy', again(image));"
        "model = rwgen.build_network(rwgen.Recipe(), 'conv2_2');"
        "print(json.dumps(rwgen.weight_fingerprints(model)))",
        TF_NUM_INTRAOP_THREADS=threads,
        OMP_NUM_THREADS=threads,
        PYTHONHASHSEED=threads,
    )
    expected = np.asarray(model(image))
    np.testing.assert_array_equal(np.load(tmp_path / "loaded.npy"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "cloned.npy"), expected)
    shipped = rwgen.load_recipe("ranvgg19").weights_sha256
    layers = ("conv1_1", "conv1_2", "conv2_1", "conv2_2")
    assert json.loads(digests) == {layer: shipped[layer] for layer in layers}


@pytest.mark.parametrize("trainable", [True, False])
def test_a_ranvgg_trains_as_part_of_a_larger_model(trainable):
    keras.utils.set_random_seed(0)
    backbone = build_network(PLAIN, "conv2_1", architecture=SMALL)
    backbone.trainable = trainable
    before = [array.copy() for array in backbone.get_weights()]
    image = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(rwgen.preprocess_input(image)))
    model = keras.Model(image, keras.layers.Dense(1)(pooled))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    generator = np.random.default_rng(0)
    brightness = generator.uniform(0, 1, 32)
    images = np.ones((32, 16, 16, 3)) * 255 * brightness[:, None, None, None]
    history = model.fit(images, brightness, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]
    changed = [
        not np.array_equal(*pair) for pair in zip(before, backbone.get_weights(), strict=True)
    ]
    assert all(changed) if trainable else not any(changed)


def test_preprocessing_goes_there_and_back_and_leaves_its_input_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    kept = pixels.copy()
    inside = rwgen.preprocess_input(pixels)
    np.testing.assert_array_equal(pixels, kept)
    expected = (kept.astype(np.float64) - [123.68, 116.779, 103.939]) / 255
    np.testing.assert_allclose(inside, expected, atol=1e-6)
    assert inside.dtype == np.float32
    np.testing.assert_allclose(rwgen.deprocess(inside), kept, atol=1e-4)
    tensor = keras.ops.convert_to_tensor(kept)
    np.testing.assert_allclose(rwgen.preprocess_input(tensor), expected, atol=1e-6)
    with pytest.raises(InvalidInputError, match="3"):
        rwgen.preprocess_input(np.zeros((4, 4, 1)))
