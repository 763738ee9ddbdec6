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

from rwgen.reproduction.figures import FIGURES

ROOT = Path(__file__).parent.parent.parent

# The program, with the small scale in place of the quick one.
PROGRAM = """
import dataclasses, sys
sys.path.insert(0, {folder!r})
from tiny_scale import TINY
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

    made = 0
    for number in (2, 6, 8, 9):
        figure = json.loads((tmp_path / f"out/figure-{number}/figure-{number}.json").read_text())
        wanted = {**figure["commands"]}
        del wanted["figure"]
        if number == 6:  # one seed is as good as three
            wanted = {name: c for name, c in wanted.items() if "-0" in name}
        for name, line in wanted.items():
            assert call(*shlex.split(line)[1:], "--quiet").code == 0
            if name in figure["parts"]:
                with (
                    Image.open(tmp_path / f"{name}.png") as other,
                    Image.open(tmp_path / f"out/figure-{number}/images/{name}.png") as image,
                ):
                    assert np.array_equal(np.asarray(image), np.asarray(other)), line
                made += 1
    assert made == 2 + 2 + 2 + 1

    again = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(again.stdout)["made"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_in_the_middle_of_a_part(number: int, tmp_path: Path) -> None:
    """The search of figure 5 is stopped after its first checkpoint; the image is the same."""
    command = [*program(tmp_path, iterations=400), "5", "--quiet", "-o"]
    whole = [*command, str(tmp_path / "whole")]
    subprocess.run(whole, check=True, timeout=300)
    stopped = subprocess.Popen(
        [*command, str(tmp_path / "stopped")], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "stopped").glob("parts/.making-*/checkpoint/search.npz")):
        assert time.monotonic() < deadline
        assert stopped.poll() is None
        time.sleep(0.01)
    os.killpg(stopped.pid, number)
    assert stopped.wait(60) == (130 if number == signal.SIGINT else -number)
    assert list((tmp_path / "stopped").glob("parts/.making-*"))

    subprocess.run([*command, str(tmp_path / "stopped")], check=True, timeout=300)
    assert not list((tmp_path / "stopped").glob("parts/.making-*"))
    for image in (tmp_path / "whole" / "parts").glob("*/*.png"):
        other = tmp_path / "stopped" / image.relative_to(tmp_path / "whole")
        assert image.read_bytes() == other.read_bytes()
    histories = [
        [json.loads(path.read_text())["history"] for path in sorted(folder.glob("*/part.json"))]
        for folder in (tmp_path / "whole" / "parts", tmp_path / "stopped" / "parts")
    ]
    for first, second in zip(*histories, strict=True):
        assert first.pop("seconds")
        assert second.pop("seconds")
        assert first == second
