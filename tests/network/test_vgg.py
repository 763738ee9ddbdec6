"""ranVGG: dense layers, max pooling, arguments, and independence of weights."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import InvalidInputError, LayerError, RanVGG19, Recipe, RecipeError, build_network
from rwgen.network.architecture import VGG19, Architecture
from rwgen.network.vgg import weight_fingerprints

SMALL = Architecture("small", ((4, 1), (6, 2)))
TOP = Architecture("top", ((2, 1), (3, 1), (2, 1), (3, 1), (2, 1)), (6, 5, 4))
PLAIN = Recipe(name="plain", kernel_stddev=0.4, bias_stddev=0.2)


def numpy_forward(model, topology, image, pool, padding="constant"):
    """Outputs of all layers for one image, by NumPy; flattened in Keras' order."""
    outputs = {}
    last = topology.layers()[-1]
    for spec in topology.up_to(model.layers[-1].name):
        if spec.kind == "pool":
            height, width = image.shape[0] // 2, image.shape[1] // 2
            cut = image[: 2 * height, : 2 * width]
            image = pool(cut.reshape(height, 2, width, 2, -1), axis=(1, 3))
        else:
            kernel, bias = model.get_layer(spec.name).get_weights()
            if spec.kind == "conv":
                height, width = image.shape[:2]
                padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode=padding)
                image = bias + sum(
                    padded[row : row + height, column : column + width] @ kernel[row, column]
                    for row, column in np.ndindex(3, 3)
                )
            else:
                image = image.reshape(-1) @ kernel + bias
            if spec.kind == "conv" or spec != last:
                image = np.maximum(image, 0)
        outputs[spec.name] = image
    return outputs


def check_forward(model, topology, image, pool, padding="constant"):
    names = [spec.name for spec in topology.up_to(model.layers[-1].name)]
    outputs = rwgen.feature_extractor(model, names)(image[np.newaxis])
    assert list(outputs) == names
    for name, expected in numpy_forward(model, topology, image, pool, padding).items():
        assert np.abs(expected).max() > 0, name
        np.testing.assert_allclose(outputs[name][0], expected, rtol=1e-9, atol=1e-12)


def test_flatten_and_dense_layers_equal_numpy_and_the_last_has_no_relu():
    model = build_network(PLAIN, include_top=True, architecture=TOP, dtype="float64")
    image = np.random.default_rng(2).uniform(-1, 1, (256, 256, 3))
    check_forward(model, TOP, image, np.mean)
    assert model.input_shape == (None, 256, 256, 3)
    assert float(np.min(model(image[np.newaxis]))) < 0


def test_a_narrow_network_equals_numpy_down_to_its_1000_outputs():
    recipe = dataclasses.replace(PLAIN, width=0.03)
    model = build_network(recipe, include_top=True, dtype="float64")
    image = np.random.default_rng(4).uniform(-1, 1, (256, 256, 3))
    check_forward(model, recipe.topology, image, np.mean)
    units = [model.get_layer(name).output.shape[-1] for name in ("pool1", "pool5", "fc6", "fc7")]
    assert [*units, model.output_shape[-1]] == [2, 15, 123, 123, 1000]


@pytest.mark.parametrize(
    ("blocks", "until", "size"),
    [
        (((3, 3), (2, 1), (4, 2)), "pool3", (19, 24)),
        (((3, 1), (2, 1), (4, 2)), "fc4", (256, 256)),
        (((2, 1),) * 6, "fc7", (256, 256)),
        (((1, 1),) * 8, "block8_pool", (256, 260)),
    ],
)
def test_networks_with_other_blocks_equal_numpy(blocks, until, size):
    recipe = dataclasses.replace(PLAIN, kernel_stddev=0.8, blocks=blocks)
    model = build_network(recipe, until, dtype="float64")
    image = np.random.default_rng(5).uniform(-1, 1, (*size, 3))
    check_forward(model, recipe.topology, image, np.mean)


@pytest.mark.parametrize("size", [(9, 7), (4, 11), (4, 4)])
def test_symmetric_padding_equals_numpy_down_to_a_single_position(size):
    recipe = dataclasses.replace(PLAIN, padding="symmetric", blocks=((4, 1), (3, 1), (6, 2)))
    model = build_network(recipe, "conv3_2", dtype="float64")
    image = np.random.default_rng(6).uniform(-1, 1, (*size, 3))
    check_forward(model, recipe.topology, image, np.mean, "symmetric")
    assert [layer.name for layer in model.layers[1:]] == [
        spec.name for spec in recipe.topology.up_to("conv3_2")
    ]
    assert model.output_shape == (None, None, None, 6)


def test_symmetric_padding_does_not_reveal_the_border():
    image = np.full((1, 32, 40, 3), 0.3, np.float32)
    for padding, reveals in (("symmetric", False), ("zeros", True)):
        recipe = Recipe(
            width=0.1, padding=padding, kernel_stddev=1, kernel_scaling="fan_in", bias_stddev=0.3
        )
        features = build_network(recipe, "conv3_2")(image).numpy()
        assert (np.ptp(features, axis=(1, 2)).max() > 1e-3) == reveals


def test_activations_keep_their_size_with_depth_if_kernels_are_scaled():
    recipe = Recipe(width=0.5, kernel_stddev=1.0, kernel_scaling="fan_in", bias_stddev=0.0)
    recipe = dataclasses.replace(recipe, padding="symmetric")
    model = build_network(recipe, "conv5_1")
    names = [layer.name for layer in model.layers if layer.name.startswith("conv")]
    image = np.random.default_rng(7).normal(0, 1, (1, 1, 1, 3)).repeat(48, 1).repeat(48, 2)
    outputs = rwgen.feature_extractor(model, names)(image.astype(np.float32))
    sizes = [float(np.sqrt(np.mean(np.square(value)))) for value in outputs.values()]
    assert max(sizes) < 4 * min(sizes)


def test_layers_of_other_blocks_answer_to_both_names():
    recipe = dataclasses.replace(PLAIN, blocks=((2, 3), (2, 1), (3, 1), (2, 1), (2, 1), (2, 1)))
    model = build_network(recipe, "fc7", input_shape=(256, 256, 3))
    names = ["block1_conv3", "conv6_1", "block6_pool", "fc1"]
    extractor = rwgen.feature_extractor(model, names)
    assert list(extractor.output) == ["conv1_3", "conv6_1", "pool6", "fc7"]
    with pytest.raises(LayerError, match="fc6"):
        rwgen.feature_extractor(model, ["fc6"])


def test_layers_of_keras_answer_to_the_papers_names():
    inputs = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(2, 3, name="block5_conv3")(inputs)
    features = keras.layers.MaxPooling2D(name="block5_pool")(features)
    outputs = keras.layers.Dense(3, name="fc1")(keras.layers.Flatten()(features))
    extractor = rwgen.feature_extractor(keras.Model(inputs, outputs), ["conv5_3", "pool5", "fc6"])
    assert list(extractor.output) == ["block5_conv3", "block5_pool", "fc1"]


def test_a_model_with_layers_of_other_numbers_has_its_own_names():
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(2, 3, name="block123456789_conv1")(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 3, name="conv3")(features))
    assert list(rwgen.feature_extractor(model, ["conv3"]).output) == ["conv3"]
    with pytest.raises(LayerError, match="block123456789_conv1"):
        rwgen.feature_extractor(model, ["conv1_1"])


def test_networks_of_too_many_parameters_are_refused_before_they_are_built():
    recipe = Recipe(name="huge", blocks=((2048, 1),))  # fc2 sees 128x128 positions
    build_network(recipe, "pool1")
    with pytest.raises(RecipeError, match=r"parameters up to fc2 .*huge.*: 137,4") as e:
        build_network(recipe, "fc2")
    assert len(str(e.value).splitlines()) == 1
    with pytest.raises(RecipeError, match="pool8"):
        build_network(Recipe(blocks=((2048, 16),) * 8))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (4, 11)])
def test_max_pooling_equals_numpy_and_drops_odd_rows_and_columns(size):
    recipe = dataclasses.replace(PLAIN, pooling="max")
    model = build_network(recipe, architecture=SMALL, dtype="float64")
    image = np.random.default_rng(3).uniform(-1, 1, (*size, 3))
    check_forward(model, SMALL, image, np.max)


def test_a_dense_layer_in_the_middle_keeps_its_relu_and_fixes_the_size():
    model = build_network(PLAIN, "fc6", architecture=TOP, dtype="float64")
    whole = build_network(PLAIN, include_top=True, architecture=TOP, dtype="float64")
    image = np.random.default_rng(2).uniform(-1, 1, (1, 256, 256, 3))
    expected = rwgen.feature_extractor(whole, ["fc6"])(image)["fc6"]
    np.testing.assert_array_equal(model(image), expected)
    assert float(np.min(expected)) == 0
    assert model.input_shape == (None, 256, 256, 3)


def weights(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def same(first, second):
    return all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def test_seeds_may_be_built_in_any_order():
    def build(seed):
        recipe = dataclasses.replace(PLAIN, seed=seed)
        return weights(build_network(recipe, architecture=SMALL))

    upwards = {seed: build(seed) for seed in range(4)}
    downwards = {seed: build(seed) for seed in reversed(range(4))}
    for seed, layers in upwards.items():
        for name, values in layers.items():
            assert same(values, downwards[seed][name])
            assert not same(values, upwards[(seed + 1) % 4][name])


def test_a_candidate_changes_its_own_layer_alone():
    before = weights(build_network(PLAIN, "conv2_2"))
    recipe = dataclasses.replace(PLAIN, candidates={"conv2_1": 3})
    after = weights(build_network(recipe, "conv2_2"))
    changed = [name for name in before if not same(before[name], after[name])]
    assert changed == ["conv2_1"]
    for first, second in zip(before["conv2_1"], after["conv2_1"], strict=True):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)


def test_kernel_and_bias_of_a_layer_are_different_draws():
    recipe = Recipe(kernel_stddev=0.25, bias_stddev=0.25)
    kernel, bias = build_network(recipe, "conv1_1").layers[1].get_weights()
    assert not np.array_equal(kernel.ravel()[: bias.size], bias)


def test_half_normal_biases_are_the_absolute_values_of_normal_ones():
    normal = build_network(Recipe(), "conv1_2")
    half = build_network(Recipe(bias_distribution="half_normal"), "conv1_2")
    for name in ("conv1_1", "conv1_2"):
        (kernel, bias), (same, positive) = (
            model.get_layer(name).get_weights() for model in (normal, half)
        )
        assert (bias < 0).any()
        np.testing.assert_array_equal(positive, np.abs(bias))
        np.testing.assert_array_equal(same, kernel)


def test_the_two_shipped_networks_differ_in_their_biases_alone():
    with_biases, without = (
        build_network(rwgen.load_recipe(name), "conv2_1")
        for name in ("ranvgg19", "ranvgg19-zero-bias")
    )
    for name, (kernel, bias) in weights(without).items():
        own_kernel, own_bias = with_biases.get_layer(name).get_weights()
        np.testing.assert_array_equal(kernel, own_kernel)
        np.testing.assert_array_equal(bias, np.zeros(len(own_bias)))
        assert own_bias.std() == pytest.approx(0.015, rel=0.3)


def test_the_half_width_network_has_its_fingerprints_and_half_the_channels():
    recipe = rwgen.load_recipe("ranvgg19-half-width")
    model = RanVGG19(recipe="ranvgg19-half-width")  # verifies the fingerprints
    found = weight_fingerprints(model)
    assert found == {name: recipe.weights_sha256[name] for name in found}
    assert len(found) == 16
    whole = build_network(Recipe(), "pool5")
    for layer in model.layers[1:]:
        assert layer.output.shape[-1] == whole.get_layer(layer.name).output.shape[-1] // 2
    biases = np.concatenate([layer.get_weights()[1] for layer in model.layers if layer.weights])
    assert biases.std() == pytest.approx(0.3, rel=0.05)
    assert recipe.padding == "symmetric"
    assert model.output_shape == (None, None, None, 256)


@pytest.mark.slow
def test_the_dense_layers_of_the_half_width_network_match_their_fingerprints():
    model = RanVGG19(recipe="ranvgg19-half-width", include_top=True)
    recipe = rwgen.load_recipe("ranvgg19-half-width")
    assert weight_fingerprints(model) == recipe.weights_sha256
    assert model.get_layer("fc6").kernel.shape == (8 * 8 * 256, 2048)
    assert model.output_shape == (None, 1000)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3))
    outputs = rwgen.feature_extractor(model, ["conv1_1", "pool5", "fc8"])(
        rwgen.preprocess_input(pixels)
    )
    for values in outputs.values():  # float32 is far from its limits
        assert 0.1 < np.sqrt(np.mean(np.square(values))) < 10


@pytest.mark.parametrize("padding", ["zeros", "symmetric"])
def test_a_narrow_model_survives_saving(tmp_path, padding):
    recipe = dataclasses.replace(PLAIN, width=0.1, padding=padding, kernel_scaling="fan_in")
    model = RanVGG19(width=0.05, recipe=recipe)
    assert model.output_shape == (None, None, None, 26)
    model.save(tmp_path / "narrow.keras")
    loaded = keras.models.load_model(tmp_path / "narrow.keras")
    assert weight_fingerprints(loaded) == weight_fingerprints(model)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 40, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(image), model(image))
    redrawn = keras.models.clone_model(loaded)
    assert weight_fingerprints(redrawn) == weight_fingerprints(model)
    np.testing.assert_array_equal(redrawn(image), model(image))


def test_fingerprints_are_those_of_the_weights_in_forward_order():
    model = build_network(PLAIN, architecture=SMALL)
    found = weight_fingerprints(model)
    assert list(found) == ["conv1_1", "conv2_1", "conv2_2"]
    layer = model.get_layer("conv2_1")
    kernel, bias = layer.get_weights()
    kernel[0, 0, 0, 0] = np.nextafter(kernel[0, 0, 0, 0], np.float32(9))
    layer.set_weights([kernel, bias])
    changed = weight_fingerprints(model)
    assert [name for name in found if found[name] != changed[name]] == ["conv2_1"]


def test_only_layers_that_are_built_are_checked_against_their_fingerprints():
    recipe = Recipe(weights_sha256={"conv2_1": "0" * 64})
    build_network(recipe, "pool1")
    with pytest.raises(RecipeError, match="conv2_1.*" + "0" * 64) as caught:
        build_network(recipe, "conv2_1")
    assert len(str(caught.value).splitlines()) == 1


# Arguments


def test_sides_may_be_left_open_together_or_one_by_one():
    for shape in (None, (None, None, 3), (32, None, 3), (None, 40, 3)):
        model = build_network(PLAIN, architecture=SMALL, input_shape=shape)
        assert model.input_shape == (None, *(shape or (None, None, 3)))
        assert model.output_shape[-1] == 6
        assert model(np.zeros((2, 32, 40, 3), np.float32)).shape == (2, 8, 10, 6)
    model = build_network(PLAIN, architecture=TOP, include_top=True, input_shape=(None, 256, 3))
    assert model.input_shape == (None, 256, 256, 3)


@pytest.mark.parametrize(
    "shape", [(3, 8, 3), (8, 3, 3), (0, 8, 3), (8, 0, 3), (-8, 8, 3), (8, 8), (8, 8, 4), (8,)]
)
def test_input_shapes_that_the_layers_cannot_take_are_refused(shape):
    with pytest.raises(InvalidInputError, match="input_shape"):
        build_network(PLAIN, architecture=SMALL, input_shape=shape)


@pytest.mark.parametrize("shape", [(255, 256, 3), (512, None, 3), (0, 256, 3)])
def test_input_shapes_other_than_256_are_refused_for_dense_layers(shape):
    with pytest.raises(InvalidInputError, match="256x256"):
        build_network(PLAIN, "fc6", architecture=TOP, input_shape=shape)


def test_a_layer_may_be_named_as_in_keras_and_an_unknown_one_is_refused():
    model = build_network(PLAIN, "block2_conv1", architecture=SMALL)
    assert [layer.name for layer in model.layers] == ["image", "conv1_1", "pool1", "conv2_1"]
    with pytest.raises(LayerError, match="conv3_1"):
        build_network(PLAIN, "conv3_1", architecture=SMALL)


@pytest.mark.parametrize("name", ["my-net", "maps/1", "ünï", "_x", ">", "a b", "7"])
def test_the_model_has_a_name_that_tensorflow_takes_whatever_the_recipe_is_called(name):
    model = build_network(Recipe(name=name), architecture=SMALL)
    with tf.name_scope(model.name):  # raises where the name is not a valid scope
        assert model.name.isidentifier()


def test_a_model_may_be_given_another_name():
    assert build_network(PLAIN, architecture=SMALL, name="other").name == "other"
    assert "plain" in build_network(PLAIN, architecture=SMALL).name


@pytest.mark.parametrize("stddev", [1e39, 1e300])
def test_a_deviation_that_float32_cannot_hold_is_refused(stddev):
    """Infinite weights would result."""
    with pytest.raises(InvalidInputError):
        build_network(Recipe(kernel_stddev=stddev), "conv1_1")


def test_arguments_of_ranvgg19_override_the_recipe(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        "rwgen.network.vgg.build_network", lambda recipe, **rest: built.append(recipe)
    )
    shipped = rwgen.load_recipe("ranvgg19")
    (tmp_path / "mine.json").write_text(Recipe(name="mine", seed=4).to_json(), encoding="utf-8")
    RanVGG19()
    RanVGG19(pooling="max")
    RanVGG19(seed=shipped.seed)
    RanVGG19(seed=7)
    RanVGG19(recipe="ranvgg19-zero-bias")
    RanVGG19(recipe=str(tmp_path / "mine.json"), seed=5)
    RanVGG19(recipe=PLAIN)
    RanVGG19(width=0.25)
    RanVGG19(width=1)
    RanVGG19(width=0.5, seed=7, recipe="ranvgg19-stacked")
    RanVGG19(width=0.5, recipe="ranvgg19-half-width")
    RanVGG19(width=1, recipe="ranvgg19-half-width")
    stacked = rwgen.load_recipe("ranvgg19-stacked")
    half = rwgen.load_recipe("ranvgg19-half-width")
    plain_stack = {"candidates": {}, "weights_sha256": {}, "selection": None}
    assert built == [
        shipped,
        dataclasses.replace(shipped, pooling="max"),  # pools have no weights to check
        shipped,
        dataclasses.replace(shipped, seed=7, weights_sha256={}),
        rwgen.load_recipe("ranvgg19-zero-bias"),
        Recipe(name="mine", seed=5),
        PLAIN,
        dataclasses.replace(shipped, width=0.25, weights_sha256={}),
        dataclasses.replace(shipped, width=1),
        dataclasses.replace(stacked, width=0.5, seed=7, **plain_stack),
        half,
        dataclasses.replace(half, width=1, weights_sha256={}),
    ]


def test_the_whole_convolutional_network_matches_its_shipped_fingerprints_and_shapes():
    model = RanVGG19()
    assert model.count_params() == 20_024_384
    names = [layer.name for layer in model.layers[1:]]
    assert names == [spec.name for spec in VGG19.layers() if spec.kind != "dense"]
    shipped = rwgen.load_recipe("ranvgg19").weights_sha256
    assert weight_fingerprints(model) == {name: shipped[name] for name in names if name in shipped}
    assert model.output_shape == (None, None, None, 512)
    pools = [layer for layer in model.layers if layer.name.startswith("pool")]
    assert all(type(layer) is keras.layers.AveragePooling2D for layer in pools)
    assert len(pools) == 5


@pytest.mark.parametrize(
    ("argument", "value", "instead"),
    [
        ("weights", "imagenet", "recipe='imagenet'"),
        ("input_tensor", keras.Input((32, 32, 3)), "call the model"),
        ("classes", 10, "keras.layers.Dense"),
        ("classifier_activation", "softmax", "keras.layers.Softmax"),
    ],
)
def test_arguments_of_keras_applications_say_what_to_use_instead(argument, value, instead):
    with pytest.raises(InvalidInputError, match=f"^{argument}: expected None; .*{instead}"):
        RanVGG19(**{argument: value})


def test_arguments_of_keras_applications_may_be_none():
    model = RanVGG19(weights=None, input_shape=(32, 32, 3), width=0.05, seed=np.int64(4))
    same = RanVGG19(input_shape=(32, 32, 3), width=0.05, seed=4)
    assert weight_fingerprints(model) == weight_fingerprints(same)
    assert keras.Model.from_config(model.get_config()).name == model.name
    one = rwgen.feature_extractor(model, "conv1_2")
    assert list(one.output) == ["conv1_2"]
