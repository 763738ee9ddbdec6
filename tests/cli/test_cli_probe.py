"""`rwgen probe`: tables, resumption, the plot, and refusals."""

import json

import keras
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    inputs = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(inputs)
    features = keras.layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="second")(
        features
    )
    path = tmp_path_factory.mktemp("probe") / "small.keras"
    keras.Model(inputs, features).save(path)
    return path


def test_a_file_is_probed_once_and_plotted(call, pictures, model_file, tmp_path):
    output, plot = tmp_path / "probe.json", tmp_path / "probe.png"
    arguments = ("probe", model_file, "--image", pictures.content, "--size", 16, "--iterations", 10,
                 "--seeds", 2, "-o", output)  # fmt: skip
    run = call(*arguments, "--json")
    assert run.code == 0
    assert len(run.err.splitlines()) == 4
    record = json.loads(output.read_text())
    assert run.json == record
    assert [row["layer"] for row in record["layers"]] == ["first", "second"]
    assert [row["reduction"] for row in record["layers"]] == [1, 2]
    assert record["layers"][0]["psnr"] > record["layers"][1]["psnr"] > 5
    again = call(*arguments, "--plot", plot)
    assert (again.code, again.err) == (0, "")
    assert json.loads(output.read_text()) == record
    assert "first" in again.out.decode()
    with Image.open(plot) as image:
        assert image.size == (1280, 840)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
    more = call(*arguments[:-3], 3, "-o", output, "--quiet")
    assert (more.code, more.err) == (0, "")
    assert json.loads(output.read_text())["probes"][:4] == record["probes"]


def test_names_that_keras_counts_up_are_the_same_every_time(call, pictures, tmp_path):
    keras.layers.LayerNormalization()
    arguments = ("probe", "convnexttiny", "--image", pictures.content, "--size", 32, "--seeds", 1,
                 "--iterations", 0, "--layers", "layer_normalization", "--json")  # fmt: skip
    (row,) = call(*arguments, "-o", tmp_path / "probe.json").json["layers"]
    assert row["layer"] == "layer_normalization"
    assert row["psnr"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg99"], "near: vgg19, vgg16"),
        (["missing.keras"], "a model that Keras can read"),
        (["alexnet", "--layers", "conv1,conv9"], "Received: conv9"),
        (["alexnet", "-o", "probe.txt"], "--output: expected a .json file"),
        (["alexnet", "--plot", "plot.jpg"], "--plot: expected a .png file"),
        (["alexnet", "-o", "/nowhere/probe.json"], "a writable place"),
    ],
)
def test_what_cannot_be_probed_is_refused(refused, pictures, tmp_path, arguments, words):
    output = [] if "-o" in arguments else ["-o", tmp_path / "probe.json"]
    assert words in refused("probe", *arguments, "--image", pictures.content, *output)


def test_a_file_of_something_else_is_not_replaced(refused, pictures, tmp_path):
    output = tmp_path / "other.json"
    for text, words in (("{}", "that `rwgen probe` wrote"), ("[1", "that `rwgen probe` wrote")):
        output.write_text(text)
        line = refused("probe", "alexnet", "--image", pictures.content, "-o", output)
        assert words in line
        assert output.read_text() == text
