"""`rwgen reproduce`: options, invalid calls, and figures that are really made."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rwgen.reproduction.figures.index import FIGURES

ROOT = Path(__file__).parent.parent.parent

# The program with the tiny scale. Its worker pauses in the middle of the first search: it creates a
# file, and waits to be killed.
PROGRAM = """
import dataclasses, pathlib, sys, threading
sys.path.insert(0, {tests!r})
from tiny_scale import TINY
from rwgen.reproduction import scale

scale.SCALES["quick"] = dataclasses.replace(TINY, name="quick")
if __name__ == "__main__":
    from rwgen.cli.main import main
    sys.exit(main(sys.argv[1:]))

import tensorflow as tf
from rwgen.reproduction import make

tf.config.run_functions_eagerly(True)
make.CHECKPOINT_EVERY = 2

def stop(path, image):
    if path.name == "iteration-000003.png":
        pathlib.Path({reached!r}).touch()
        threading.Event().wait()
    write_image(path, image)

write_image, make.write_image = make.write_image, stop
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("2",), "--output: expected a folder. Received: none"),
        (("1", "-o", "out"), "expected figures among 2, 3, 4, 5, 6, 7, 8, 9, 10. Received: 1"),
        (("-o", "out", "--scale", "huge"), "--scale: expected one of quick, full"),
        (("-o", "out", "--images", "nowhere"), "--images: expected a folder that holds photos or"),
        (("-o", "out", "--trained", "ranvgg19"), "--trained: expected imagenet or a file"),
        (("-o", "out", "--trained", "none.h5"), "expected weights that can be read"),
    ],
)
def test_invalid_calls_are_refused_before_any_work(
    arguments: tuple[str, ...],
    expected: str,
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refused("reproduce", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    line = refused("reproduce", "2", "-o", tmp_path)
    assert "expected an empty folder, or one of rwgen reproduce" in line


def test_missing_packages_are_named(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rwgen.reproduction import run

    monkeypatch.setattr(run, "PACKAGES", ("no_such_package",))
    line = refused("reproduce", "2", "-o", tmp_path / "out")
    assert "expected no_such_package" in line
    assert 'pip install "rwgen[reproduce]"' in line


def test_the_document_names_options_and_figures_that_exist(call: Callable[..., Any]) -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    shown = call("reproduce", "--help").out.decode()
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert named == {"--scale", "--images", "--trained", "--workers"}
    assert all(option in shown for option in named)
    numbers = re.findall(r"^\| (\d+(?:, \d+)?) \|", text, flags=re.MULTILINE)
    assert [int(n) for row in numbers for n in row.split(", ")] == list(FIGURES)


@pytest.mark.slow
def test_a_figure_is_what_its_commands_make(
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cheap_commands: None,
) -> None:
    """Figures 2, 6, 8 and 9, and then each of their commands; of figure 6 those of one seed."""
    monkeypatch.chdir(tmp_path)
    run = call("reproduce", "2", "6", "8", "9", "-o", "out", "--json")
    assert run.json["figures"] == [2, 6, 8, 9]
    parts = run.json["parts"]
    lines = run.err.splitlines()
    assert lines[0] == f"rwgen: parts 0 of {parts}"
    assert lines[-1].startswith(f"rwgen: parts {parts} of {parts}")

    made = recipes = 0
    for number in (2, 6, 8, 9):
        figure = json.loads((tmp_path / f"out/figure-{number}/figure-{number}.json").read_text())
        wanted = {**figure["commands"]}
        del wanted["figure"]
        if number == 6:
            wanted = {name: line for name, line in wanted.items() if "-0" in name}
        for name, line in wanted.items():
            assert call(*shlex.split(line)[1:], "--quiet").code == 0
            part = figure["parts"].get(name, {"kind": ""})
            if part["kind"] == "stack":
                recipe = json.loads((tmp_path / f"out/networks/{name}.json").read_text())
                made_as = json.loads(
                    (tmp_path / f"out/parts/{part['key']}/recipe.json").read_text()
                )
                assert {**recipe, "name": ""} == {**made_as, "name": ""}, line
                recipes += 1
            elif part["kind"]:
                with (
                    Image.open(tmp_path / f"{name}.png") as other,
                    Image.open(tmp_path / f"out/figure-{number}/images/{name}.png") as image,
                ):
                    assert np.array_equal(np.asarray(image), np.asarray(other)), line
                made += 1
    assert (made, recipes) == (2 + 2 + 2 + 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes_in_the_middle_of_a_part(
    number: signal.Signals,
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cheap_commands: None,
) -> None:
    """A search of figure 5 is interrupted after its first checkpoint; the result is the same."""
    from rwgen.reproduction import make

    folder, whole, reached = (tmp_path / name for name in ("out", "whole", "reached"))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(ROOT / "tests"), reached=str(reached)))
    process = subprocess.Popen(
        [sys.executable, str(program), "reproduce", "5", "-o", str(folder)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)
    assert process.wait() == (130 if number == signal.SIGINT else -number)
    (checkpoint,) = folder.glob("parts/.making-*/checkpoint/search.npz")

    begun = []
    monkeypatch.setattr(make, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(make._Trace, "__call__", noted(make._Trace.__call__, begun))
    assert call("reproduce", "5", "-o", folder).code == 0
    assert begun[0] > 0, "the search began again"
    assert not checkpoint.parent.parent.exists()
    assert call("reproduce", "5", "-o", whole).code == 0
    for image in (whole / "parts").glob("*/*.png"):
        other = folder / image.relative_to(whole)
        assert image.read_bytes() == other.read_bytes()
    histories = [
        [json.loads(path.read_text())["history"] for path in sorted(place.glob("*/part.json"))]
        for place in (whole / "parts", folder / "parts")
    ]
    for first, second in zip(*histories, strict=True):
        assert first.pop("seconds")
        assert second.pop("seconds")
        assert first == second


def noted(function: Callable[..., Any], iterations: list[int]) -> Callable[..., Any]:
    """Wrap a callback to append the number of each step."""

    def callback(self: Any, step: Any, best: Any) -> Any:
        iterations.append(step.iteration)
        return function(self, step, best)

    return callback
