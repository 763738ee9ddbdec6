"""Trained weights from a file, on the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from PIL import Image

from rwgen.cli.provenance import read_provenance

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
               out, "--size", 32, "--iterations", 8, "--unit-activations", "--json")  # fmt: skip
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
