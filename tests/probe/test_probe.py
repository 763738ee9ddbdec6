"""Weights for any model against NumPy, what cannot be inverted, and rankings."""

import json
import math

import keras
import numpy as np
import pytest

from rwgen import InvalidInputError
from rwgen.probe.architectures import alexnet, load_architecture, model_names
from rwgen.probe.config import ProbeConfig
from rwgen.probe.layers import probe_layer, probed_layers
from rwgen.probe.random_weights import reinitialize
from rwgen.probe.summary import LayerProbe, rank_models, summarize
from rwgen.seeds import standard_normal

QUICK = ProbeConfig(num_seeds=1, max_iterations=15)


def residual():
    """A small residual network with normalization, a depthwise convolution and a dense end."""
    inputs = keras.Input((16, 16, 3))
    first = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    first = keras.layers.BatchNormalization()(first)
    first = keras.layers.ReLU()(first)
    second = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(first)
    added = keras.layers.Add(name="added")([first, second])
    pooled = keras.layers.MaxPooling2D(name="pooled")(added)
    flat = keras.layers.GlobalAveragePooling2D()(pooled)
    return keras.Model(inputs, keras.layers.Dense(5, name="dense")(flat), name="residual")


@pytest.fixture
def image(smooth_image):
    return (smooth_image(16, 16)[0] * 120 + 127).astype(np.float32)


def test_weights_are_the_draws_of_seed_place_and_name():
    model = residual()
    reinitialize(model, 7, bias_stddev=0.5)
    layers = model.layers
    kernel = standard_normal(7, "reinitialize/1/kernel", (3, 3, 3, 8)) / math.sqrt(27)
    np.testing.assert_allclose(layers[1].kernel, kernel, rtol=1e-6)
    beta = np.abs(standard_normal(7, "reinitialize/2/beta", (8,))) / 2
    np.testing.assert_allclose(layers[2].beta, beta, rtol=1e-6)
    np.testing.assert_array_equal(layers[2].gamma, np.ones(8))
    np.testing.assert_array_equal(layers[2].moving_mean, np.zeros(8))
    np.testing.assert_array_equal(layers[2].moving_variance, np.ones(8))
    depthwise = standard_normal(7, "reinitialize/4/kernel", (3, 3, 8, 1)) / math.sqrt(9)
    np.testing.assert_allclose(layers[4].kernel, depthwise, rtol=1e-6)
    dense = standard_normal(7, "reinitialize/8/kernel", (8, 5)) / math.sqrt(8)
    np.testing.assert_allclose(layers[8].kernel, dense, rtol=1e-6)


def test_names_that_keras_counts_up_do_not_count():
    first = residual()
    keras.layers.Conv2D(1, 1)
    second = residual()
    assert first.layers[1].name != second.layers[1].name
    for model in (first, second):
        reinitialize(model, 3)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    reinitialize(first, 4)
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    assert any((one != other).any() for one, other in pairs)


def test_another_process_draws_the_same(fresh_process):
    code = (
        "import json, sys, numpy as np, keras\n"
        "import rwgen.probe.run\n"
        "from rwgen.probe.architectures import alexnet\n"
        "from rwgen.probe.random_weights import reinitialize\n"
        "keras.layers.Conv2D(1, 1)\n"
        "model = alexnet((32, 32, 3)); reinitialize(model, 2)\n"
        "assert 'tensorflow_probability' not in sys.modules  # only inversions need it\n"
        "print(json.dumps([float(np.sum(w.astype(float) ** 2)) for w in model.get_weights()]))"
    )
    model = alexnet((32, 32, 3))
    reinitialize(model, 2)
    expected = [float(np.sum(w.astype(float) ** 2)) for w in model.get_weights()]
    assert json.loads(fresh_process(code)) == expected


def test_layers_are_the_last_of_each_size_and_the_last_of_all():
    assert [layer.name for layer in probed_layers(residual())] == ["added", "pooled", "dense"]
    assert [layer.name for layer in probed_layers(residual(), ["dense", "added"])] == [
        "added",
        "dense",
    ]
    with pytest.raises(InvalidInputError, match="Received: nothing"):
        probed_layers(residual(), ["nothing"])


def test_a_shallow_layer_keeps_more_than_the_end(image):
    model = residual()
    rows = [probe_layer(model, name, image, 0, QUICK) for name in ("added", "dense")]
    assert not any(row.reason for row in rows)
    assert rows[0].psnr > rows[1].psnr + 3
    assert rows[0].shape == (16, 16, 8)
    assert 0 <= rows[0].loss < 0.1


def test_what_cannot_be_inverted_says_why(image):
    inputs = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    dead = keras.layers.ReLU(max_value=0.0, name="dead")(features)
    rows = keras.layers.Reshape((14, 14, 2, 2), name="rows")(features)
    model = keras.Model(inputs, [dead, rows])
    found = probe_layer(model, "dead", image, 0, QUICK)
    assert found.psnr is None
    assert found.reason == "its features are the same for the photo and for noise"
    assert "axes, not 2 or 4" in probe_layer(model, "rows", image, 0, QUICK).reason


def test_summaries_are_medians_and_models_rank_by_what_they_share():
    def probes(name, side, values):
        shape = (side, side, 4)
        return [LayerProbe(name, "Conv2D", shape, s, v, 0.5, 0.1) for s, v in enumerate(values)]

    first = summarize("first", 32, [*probes("a", 16, (30, 20, 22)), *probes("b", 8, (10, 12, 14))])
    second = summarize("second", 32, [*probes("c", 16, (40,)), *probes("d", 4, (1,)),
                                      LayerProbe("e", "ReLU", (2,), 0, reason="!")])  # fmt: skip
    assert [(row.psnr, row.psnr_range, row.reduction) for row in first] == [
        (22, (20, 30), 2),
        (12, (10, 14), 4),
    ]
    assert (second[-1].psnr, second[-1].reason) == (None, "!")
    assert rank_models([*first, *second]) == [("second", 40), ("first", 22)]
    assert rank_models([*first, *summarize("third", 32, probes("f", 2, (3,)))]) == []


def test_architectures_have_names_and_are_near_to_what_was_meant():
    assert {"vgg16", "vgg19", "alexnet", "resnet50", "mobilenetv2"} <= set(model_names())
    with pytest.raises(InvalidInputError, match="near: resnet50"):
        load_architecture("resnet5", 32)
    with pytest.raises(InvalidInputError, match="rescales its input itself"):
        load_architecture("EfficientNet_B0", 32)
    with pytest.raises(InvalidInputError, match=r"a size that xception accepts\. Received: 32"):
        load_architecture("xception", 32)
    assert load_architecture("AlexNet", 40).output_shape == (None, 2, 2, 256)


def test_a_model_of_any_size_gets_the_size_of_the_photo(tmp_path):
    inputs = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    second = keras.layers.Conv2D(4, 3, strides=2, name="second")(first)
    keras.Model(inputs, [second]).save(tmp_path / "open.keras")
    model = load_architecture(str(tmp_path / "open.keras"), 16)
    assert model.get_layer("second").output.shape == (None, 7, 7, 4)
    assert [layer.name for layer in probed_layers(model)] == ["first", "second"]
    with pytest.raises(InvalidInputError, match="expected a size that"):
        load_architecture(str(tmp_path / "open.keras"), 1)


def test_models_of_files_are_read_or_refused(tmp_path):
    path = tmp_path / "model.keras"
    residual().save(path)
    assert load_architecture(str(path), 16).name == "residual"
    with pytest.raises(InvalidInputError, match="16x16 pixels"):
        load_architecture(str(path), 32)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(InvalidInputError, match=r"text\.keras.*it is damaged, or no \.keras file"):
        load_architecture(str(tmp_path / "text.keras"), 16)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(tmp_path / "flat.keras")
    with pytest.raises(InvalidInputError, match="a model of images"):
        load_architecture(str(tmp_path / "flat.keras"), 16)
