"""Trained weights of Keras' VGG-19 from a file, instead of random ones."""

import shutil

import keras
import numpy as np
import pytest

import rwgen
from rwgen import DownloadError, RanVGG19, Recipe, RecipeError, feature_extractor, load_recipe
from rwgen.network.lookup import network_names


@pytest.fixture(scope="module")
def keras_vgg():
    """Keras' VGG-19 with weights for pixels in 0..255 and with biases, like the published ones."""
    keras.utils.set_random_seed(3)
    model = keras.applications.VGG19(include_top=False, weights=None)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, generator.normal(size=bias.shape)])
    return model


@pytest.fixture(scope="module")
def weights_file(keras_vgg, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "mine.weights.h5"
    keras_vgg.save_weights(path)
    yield path
    shutil.rmtree(path.parent)  # 80 MB


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(1).uniform(0, 255, (1, 40, 48, 3)).astype(np.float32)


LAYERS = ("block1_conv1", "block2_conv2", "block3_pool", "block5_conv4")


@pytest.fixture(scope="module")
def expected(keras_vgg, photo):
    """Features and preprocessing by Keras alone."""
    image = keras.applications.vgg19.preprocess_input(photo.copy())
    return feature_extractor(keras_vgg, LAYERS)(image)


@pytest.mark.parametrize("form", [".weights.h5", ".keras"])
def test_features_are_those_of_keras(form, keras_vgg, weights_file, photo, expected, tmp_path):
    path = weights_file
    if form == ".keras":
        path = tmp_path / "mine.keras"
        keras_vgg.save(path)
    network = RanVGG19(recipe=str(path), pooling="max")  # Keras' VGG-19 pools maxima
    features = feature_extractor(network, LAYERS)(rwgen.preprocess_input(photo))
    for (name, values), reference in zip(features.items(), expected.values(), strict=True):
        assert name.startswith(("conv", "pool"))
        np.testing.assert_allclose(values, reference, atol=2e-5 * np.max(np.abs(reference)))


def test_pooling_is_average_as_in_the_paper(weights_file):
    network = RanVGG19(recipe=str(weights_file))
    assert isinstance(network.get_layer("pool1"), keras.layers.AveragePooling2D)
    assert network.name == "network_mine"


def test_a_model_with_the_papers_names_is_taken_as_it_is(tmp_path, photo):
    source = rwgen.build_network(Recipe(seed=5, bias_stddev=0.1), "conv3_1")
    source.save(tmp_path / "mine.keras")
    network = rwgen.build_network(load_recipe(str(tmp_path / "mine.keras")), "conv3_1")
    image = rwgen.preprocess_input(photo)
    np.testing.assert_array_equal(network(image), source(image))


def test_a_recipe_keeps_what_file_it_was(weights_file, tmp_path):
    recipe = load_recipe(str(weights_file))
    assert Recipe.from_json(recipe.to_json()) == recipe
    other = tmp_path / "other.weights.h5"
    other.write_bytes(b"not that file")
    changed = Recipe(weights=str(other), weights_file_sha256=recipe.weights_file_sha256)
    with pytest.raises(RecipeError, match="the file was changed"):
        rwgen.build_network(changed, "conv1_1")


@pytest.mark.parametrize("name", ["damaged.weights.h5", "damaged.h5", "damaged.keras"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"something else")
    expected = f"{name}.* \\(it is damaged" if name.endswith(".keras") else "VGG-19"
    with pytest.raises(RecipeError, match=expected) as caught:
        rwgen.build_network(load_recipe(str(tmp_path / name)), "conv1_1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.weights.h5", "missing.keras", "a\0b.h5"])
def test_a_file_that_is_not_there_is_refused(name):
    with pytest.raises(RecipeError, match="weights that can be read"):
        load_recipe(name)


def test_other_models_are_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="first")(inputs))
    other.save(tmp_path / "other.keras")
    with pytest.raises(RecipeError, match=r"block1_conv1.*Received: first"):
        rwgen.build_network(load_recipe(str(tmp_path / "other.keras")), "conv1_1")
    same_name = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv1_1")(inputs))
    same_name.save(tmp_path / "same.keras")
    with pytest.raises(RecipeError, match="of shapes"):
        rwgen.build_network(load_recipe(str(tmp_path / "same.keras")), "conv1_1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("weight", [0, 1])
def test_weights_that_are_not_finite_are_refused_by_layer(tmp_path, value, weight):
    source = rwgen.build_network(Recipe(), "conv2_1")
    weights = source.get_layer("conv1_2").get_weights()
    weights[weight][..., -1] = value
    source.get_layer("conv1_2").set_weights(weights)
    source.save(tmp_path / "mine.keras")
    recipe = load_recipe(str(tmp_path / "mine.keras"))
    with pytest.raises(RecipeError, match=r"finite weights of conv1_2 \(block1_conv2\)"):
        rwgen.build_network(recipe, "conv2_1")
    rwgen.build_network(recipe, "conv1_1")  # which does not use them


def test_dense_layers_of_a_file_without_them_are_refused(weights_file):
    with pytest.raises(RecipeError, match="fc6"):
        rwgen.build_network(load_recipe(str(weights_file)), "fc6")


def test_without_a_connection_the_file_to_fetch_is_named(monkeypatch, tmp_path):
    def no_connection(*arguments, **options):
        raise OSError("no connection")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", no_connection)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(DownloadError, match=r"no connection.*notop\.h5") as caught:
        rwgen.build_network(load_recipe("imagenet"), "conv1_1")
    assert "\n" not in str(caught.value)
    assert "imagenet" not in network_names()  # nothing of it is shipped


def test_candidates_of_trained_weights_are_refused(weights_file, photo):
    with pytest.raises(rwgen.InvalidInputError, match="weights are drawn"):
        rwgen.select_weights(photo[0], recipe=str(weights_file))
