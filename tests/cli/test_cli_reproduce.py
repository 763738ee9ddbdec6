"""`rwgen reproduce`: options, refusals, and a figure that is really made."""

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

# The program, with the small scale in place of the quick one.
PROGRAM = """
import dataclasses, sys
sys.path.insert(0, {folder!r})
from tiny_scale import TINY
from rwgen.reproduction import scale
if __name__ == "__main__":
    scale.SCALES["quick"] = dataclasses.replace(TINY, name="quick", curve_iterations={iterations})
    from rwgen.cli.main import main
    sys.exit(main(sys.argv[1:]))
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
def test_wrong_calls_are_refused_before_any_work(
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


def test_the_document_names_options_and_figures_that_there_are(call: Callable[..., Any]) -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    shown = call("reproduce", "--help").out.decode()
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert named == {"--scale", "--images", "--trained", "--workers"}
    assert all(option in shown for option in named)
    numbers = re.findall(r"^\| (\d+(?:, \d+)?) \|", text, flags=re.MULTILINE)
    assert [int(n) for row in numbers for n in row.split(", ")] == list(FIGURES)


def program(folder: Path, iterations: int = 4) -> list[str]:
    path = folder / "program.py"
    path.write_text(PROGRAM.format(folder=str(ROOT / "tests"), iterations=iterations))
    return [sys.executable, str(path), "reproduce"]


@pytest.mark.slow
def test_a_figure_is_what_its_commands_make(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures 2, 6, 8 and 9 for one network each, and then every command of them."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [*program(tmp_path), "2", "6", "8", "9", "-o", "out", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    values = json.loads(run.stdout)
    assert values["figures"] == [2, 6, 8, 9]
    lines = run.stderr.splitlines()
    assert lines[0] == f"rwgen: parts 0 of {values['parts']}"
    assert lines[-1].startswith(f"rwgen: parts {values['parts']} of {values['parts']}")

    made = recipes = 0
    for number in (2, 6, 8, 9):
        figure = json.loads((tmp_path / f"out/figure-{number}/figure-{number}.json").read_text())
        wanted = {**figure["commands"]}
        del wanted["figure"]
        if number == 6:  # one seed is as good as three
            wanted = {name: c for name, c in wanted.items() if "-0" in name}
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

    again = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(again.stdout)["made"] == 0


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_the_middle_of_a_part(tmp_path: Path) -> None:
    """The search of figure 5 is stopped after its first checkpoint; the image is the same."""
    command = [*program(tmp_path, iterations=400), "5", "--quiet", "-o"]
    whole = tmp_path / "whole"
    subprocess.run([*command, str(whole)], check=True, timeout=300)
    for number in (signal.SIGINT, signal.SIGKILL):
        check_interruption(number, [*command, str(tmp_path / number.name)], whole)


def check_interruption(number: signal.Signals, command: list[str], whole: Path) -> None:
    folder = Path(command[-1])
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(folder.glob("parts/.making-*/checkpoint/search.npz")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    assert list(folder.glob("parts/.making-*"))

    subprocess.run(command, check=True, timeout=300)
    assert not list(folder.glob("parts/.making-*"))
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
