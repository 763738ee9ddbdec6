"""`rwgen probe`: output, progress, the plot, and refusals."""

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


def test_a_file_is_probed_once_and_plotted(call, refused, pictures, model_file, tmp_path):
    output, plot = tmp_path / "probe.json", tmp_path / "probe.png"
    arguments = ("probe", model_file, "--image", pictures.content, "--size", 16, "--iterations", 0,
                 "--seeds", 1, "-o", output)  # fmt: skip
    run = call(*arguments, "--json")
    assert run.code == 0
    record = json.loads(output.read_text())
    assert run.json == record
    assert run.err.splitlines() == [
        f"{number}/2 {model_file} {row['layer']} seed 0: {row['psnr']:.1f} dB"
        for number, row in enumerate(record["layers"], start=1)
    ]
    assert [row["layer"] for row in record["layers"]] == ["first", "second"]
    assert [row["reduction"] for row in record["layers"]] == [1, 2]
    assert all(5 < row["psnr"] < 15 for row in record["layers"])  # of noise, without iterations
    again = call(*arguments, "--plot", plot)
    assert (again.code, again.err) == (0, "")
    assert json.loads(output.read_text()) == record
    assert "first" in again.out.decode()
    with Image.open(plot) as image:
        assert image.size == (1280, 840)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
    assert call(*arguments, "--plot", plot).code == 0  # it is drawn anew, of the same record
    output.unlink()
    line = refused(*arguments, "--plot", plot)
    assert "--plot: expected a new file, or --force" in line
    assert call(*arguments, "--plot", plot, "--force", "--quiet").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg99"], "near: vgg19, vgg16"),
        (["missing.keras"], "a model saved by Keras"),
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
    output.write_text("{}")
    line = refused("probe", "alexnet", "--image", pictures.content, "-o", output)
    assert "written by `rwgen probe`" in line
    assert output.read_text() == "{}"
