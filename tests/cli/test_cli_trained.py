"""Trained weights from a file, on the command line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from rwgen.provenance import read_provenance

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("trained") / "mine.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.VGG19(include_top=False, weights=None).save_weights(path)
    yield path
    shutil.rmtree(path.parent)  # 80 MB


def test_a_task_runs_on_a_file_and_again_from_its_image(
    call: Call, pictures: Any, weights_file: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    run = call("invert", pictures.content, "--layer", "conv1_2", "--network", weights_file, "-o",
               out, "--size", 32, "--iterations", 8, "--unit-activations", "--json",
               "--quiet")  # fmt: skip
    assert (run.code, run.err) == (0, "")
    assert run.json["loss"] < 0.8 * run.json["initial_loss"]
    found = read_provenance(str(out), "invert")
    assert found.recipe.weights == str(weights_file)
    assert found.options["unit_activations"] is True
    assert call("invert", "--from", out, "-o", again).code == 0
    with Image.open(out) as first, Image.open(again) as second:
        assert first.tobytes() == second.tobytes()
    assert call("layers", "--network", weights_file, "--json").json["network"] == "mine"


def test_candidates_of_a_file_are_refused(
    call: Call, pictures: Any, weights_file: Path, tmp_path: Path
) -> None:
    run = call("build", "--reference", pictures.content, "--network", weights_file, "-o",
               tmp_path / "stack.json", "--size", 32)  # fmt: skip
    assert run.code == 2
    assert "weights are drawn" in run.err
    assert run.err.count("\n") == 1


def test_a_damaged_file_gives_one_line(call: Call, pictures: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"no weights")
    run = call("invert", pictures.content, "--layer", "conv1_1", "--network", tmp_path / "bad.h5",
               "-o", tmp_path / "out.png", "--size", 32)  # fmt: skip
    assert run.code == 2
    assert run.err.startswith("rwgen: expected weights of a VGG-19")
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


KERAS = """
import sys
import keras
import numpy as np
from rwgen.cli.main import main

def VGG19(include_top, weights):
    print("Downloading data from afar")
    if sys.argv[1] == "offline":
        raise Exception("URL fetch failure: no connection")
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(64, 3, padding="same", activation="relu", name="block1_conv1")
    return keras.Model(inputs, layer(inputs))

keras.applications.VGG19 = VGG19
sys.exit(main(sys.argv[2:]))
"""


def with_download(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run `rwgen` in another process, where Keras prints what it does when it downloads."""
    command = [sys.executable, "-c", KERAS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=600)


def test_keras_reports_its_download_on_standard_error(pictures: Any, tmp_path: Path) -> None:
    image = (pictures.content, "--network", "imagenet", "--size", 16)
    invert = ("invert", *image, "--layer", "conv1_1", "--iterations", 1, "-o", "-")
    features = ("features", *image, "--layers", "conv1_1", "-o", tmp_path / "f.npz", "--json")
    piped, printed = with_download("online", *invert), with_download("online", *features)
    assert (piped.returncode, printed.returncode) == (0, 0), (piped.stderr, printed.stderr)
    with Image.open(io.BytesIO(piped.stdout)) as picture:
        assert picture.size == (16, 12)
    assert json.loads(printed.stdout)["shapes"] == {"conv1_1": [1, 16, 16, 64]}
    for run in (piped, printed):
        assert run.stderr.splitlines().count(b"Downloading data from afar") == 1


def test_without_a_network_the_run_fails(pictures: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    run = with_download("offline", "invert", pictures.content, "--network", "imagenet", "--layer",
                        "conv1_1", "--size", 16, "-o", out)  # fmt: skip
    assert (run.returncode, run.stdout) == (1, b"")
    last = run.stderr.decode().splitlines()[-1]
    assert last.startswith("rwgen: expected the weights that Keras downloads once. Received: ")
    assert "no connection" in last
    assert not out.exists()


def test_a_file_of_nans_is_refused(
    refused: Callable[..., str], pictures: Any, tmp_path: Path
) -> None:
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(64, 3, padding="same", name="conv1_1")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full_like(array, np.nan) for array in layer.get_weights()])
    model.save(tmp_path / "nans.keras")
    network = ("--layers", "conv1_1")
    for words in (
        ("features", pictures.content, "--network", tmp_path / "nans.keras", *network, "-o",
         tmp_path / "f.npz"),
        ("export", tmp_path / "nans.keras", *network, "-o", tmp_path / "model"),
    ):  # fmt: skip
        assert "expected finite weights of conv1_1" in refused(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["nans.keras"]
