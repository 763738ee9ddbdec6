"""Networks do not depend on the global settings of Keras, which a user may have changed."""

import json

import keras
import numpy as np
import pytest

import rwgen
from rwgen import InvalidInputError, Recipe, build_network

RECIPE = Recipe(name="tiny", blocks=((3, 1), (4, 1)), kernel_stddev=0.3)
SETTINGS = {
    "mixed_float16": lambda: keras.config.set_dtype_policy("mixed_float16"),
    "float16": lambda: keras.config.set_dtype_policy("float16"),
    "float64": lambda: keras.config.set_dtype_policy("float64"),
    "floatx float16": lambda: keras.config.set_floatx("float16"),
    "floatx float64": lambda: keras.config.set_floatx("float64"),
    "channels first": lambda: keras.config.set_image_data_format("channels_first"),
}


def settings():
    return (
        keras.config.floatx(),
        keras.config.dtype_policy().name,
        keras.config.image_data_format(),
    )


@pytest.fixture(params=SETTINGS)
def changed(request):
    """Global settings of Keras other than the usual ones."""
    floatx, policy, image_format = settings()
    SETTINGS[request.param]()
    yield settings()
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(image_format)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def plain():
    return build_network(RECIPE, "pool2")


@pytest.mark.parametrize("padding", ["zeros", "symmetric"])
def test_networks_are_built_in_float32_with_channels_last(changed, image, padding):
    recipe = Recipe(name="tiny", blocks=((3, 1), (4, 1)), kernel_stddev=0.3, padding=padding)
    network = build_network(recipe, "pool2")
    assert settings() == changed
    found = np.asarray(network(rwgen.preprocess_input(image[np.newaxis])))
    assert (found.shape, found.dtype) == ((1, 2, 3, 4), np.float32)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    model = rwgen.RanVGG19(recipe=recipe)
    assert model.output.dtype == "float32"
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    expected = build_network(recipe, "pool2")(rwgen.preprocess_input(image[np.newaxis]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("eager_module")
def test_a_task_is_solved_as_ever(changed, image, plain):
    options = rwgen.OptimizerConfig(max_iterations=2)
    config = rwgen.InversionConfig(optimizer=options)
    found, expected = (
        rwgen.invert(image, "pool2", network=network, config=config) for network in (RECIPE, plain)
    )
    np.testing.assert_array_equal(found.image, expected.image)


def test_a_network_in_half_precision_is_refused_by_its_policy(image):
    network = build_network(RECIPE, "pool2", dtype="mixed_float16")
    assert network.output.dtype == "float16"
    with pytest.raises(InvalidInputError, match="conv1_1 computes in float16"):
        rwgen.invert(image, "pool2", network=network)
    with pytest.raises(InvalidInputError, match=r"^dtype: expected float32, float64 or mixed"):
        build_network(RECIPE, "pool2", dtype="float16")


def test_a_network_with_channels_first_is_refused_by_name(image):
    inputs = keras.Input((3, 8, 12))
    outputs = keras.layers.Conv2D(2, 3, data_format="channels_first", name="conv")(inputs)
    with pytest.raises(InvalidInputError, match="layer conv has channels_first"):
        rwgen.invert(image, "conv", network=keras.Model(inputs, outputs))


def test_another_backend_is_named(monkeypatch, plain):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    for call in (
        lambda: build_network(RECIPE, "pool2"),
        lambda: rwgen.feature_extractor(plain, "pool1"),
    ):
        with pytest.raises(InvalidInputError, match=r"Received: torch; set .*KERAS_BACKEND=tensor"):
            call()


def test_the_program_computes_the_same_whatever_is_configured(fresh_process, tmp_path, image):
    rwgen.write_image(tmp_path / "image.png", image)
    (tmp_path / "tiny.json").write_text(RECIPE.to_json())
    files = [str(tmp_path / name) for name in ("image.png", "tiny.json", "f.npy")]
    arguments = ["features", files[0], "--network", files[1], "-o", files[2],
                 "--layers", "conv2_1", "--size", "12x8"]  # fmt: skip
    configured = {"floatx": "float16", "image_data_format": "channels_first", "backend": "torch"}
    (tmp_path / "keras.json").write_text(json.dumps(configured))
    code = f"from rwgen.cli.main import main; print(main({arguments!r}))"
    assert fresh_process(code, KERAS_BACKEND="jax", KERAS_HOME=str(tmp_path)) == "0"
    expected = build_network(RECIPE, "conv2_1")(rwgen.preprocess_input(image[np.newaxis]))
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), expected, rtol=1e-5, atol=1e-6)
