"""Habits of a shell: files of options, presets, variations, completion, colors, HEIC."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rwgen.images import read_image
from rwgen.network.lookup import load_recipe
from rwgen.progress import live_console
from rwgen.synthesis.config import StyleConfig

Call = Callable[..., Any]


@pytest.fixture
def place(pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images beside the current one, which is empty."""
    folder, here = tmp_path / "there", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    for name in ("content", "style", "second"):
        shutil.copy(getattr(pictures, name), folder / f"{name}.png")
    monkeypatch.chdir(here)
    return folder


@pytest.fixture
def in_process(jobs_here: None, fake_tasks: Any) -> Any:
    """Run jobs in this process, with tasks that only note what they are given."""
    return fake_tasks


CONFIG = """
content = "content.png"
STYLE = ["style.png", "second.png"]
size = 40
content-weight = 9
whiten_gram = false
style-layer = ["conv1_1", "conv2_1"]
init = "noise"
output = "made.png"
"""


def test_a_file_holds_arguments_and_options_with_paths_beside_it(
    call: Call, fake_tasks: Any, place: Path
) -> None:
    (place / "options.toml").write_text(CONFIG)
    run = call("style", "--config", place / "options.toml", "--content-weight", 5, "-q")
    assert (run.code, run.err) == (0, "")
    seen = fake_tasks.last
    assert seen["content"].shape == (30, 40, 3)
    assert len(seen["styles"]) == 2
    config = seen["config"]
    assert (config.content_weight, config.whiten_gram, config.init) == (5.0, False, "noise")
    assert config.style_layers == ("conv1_1", "conv2_1")
    assert (place / "made.png").is_file()
    # Lists of the command line replace those of the file.
    words = ("--style-layer", "conv3_1", "-o", "other.png")
    assert call("style", "--config", place / "options.toml", *words).code == 0
    assert fake_tasks.last["config"].style_layers == ("conv3_1",)


def test_options_of_a_file_win_over_the_paper_and_over_an_image(
    call: Call, fake_tasks: Any, place: Path
) -> None:
    (place / "options.toml").write_text("size = 40\nseed = 4\niterations = 7")
    words = ("texture", place / "style.png", "--size", "20x20", "--seed", 9)
    assert call(*words, "-o", "first.png").code == 0
    (place / "options.toml").write_text("seed = 4\noctaves = 1")
    words = ("texture", "--from", "first.png", "--config", place / "options.toml", "--paper")
    assert call(*words, "-o", "second.png").code == 0
    config = fake_tasks.last["config"]
    assert (config.seed, config.octaves, config.weighting) == (4, 1, "signed")
    assert fake_tasks.last["size"] == (20, 20)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sizes = 40", "--config: expected options of rwgen style. Received: 'sizes'"),
        ("size = [1]", "--config: size: expected a text or a number"),
        ("size = 1979-05-27", "--config: size: expected a text or a number"),
        ("paper = 1", "--config: paper: expected true or false. Received: 1"),
        ("size = 0", "--size: expected a whole number from 1 to"),
        ("size =", "--config: expected a TOML file"),
        ("size = 4\n'--size' = 5", "--config: expected every option once"),
        ("[style]\nsize = 4", "--config: style: expected a text or a number"),
        ("[look]\nsize = 4", "--config: expected options of rwgen style"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(
    text: str, words: str, refused: Call, place: Path
) -> None:
    (place / "options.toml").write_text(text)
    assert words in refused("style", "--config", place / "options.toml")


@pytest.mark.parametrize("preset", StyleConfig.PRESETS)
def test_a_preset_sets_what_is_not_given(
    preset: str, call: Call, fake_tasks: Any, place: Path
) -> None:
    words = ("style", place / "content.png", place / "style.png", "--size", 40)
    assert call(*words, "--preset", preset, "--tv-weight", 3, "-o", "a.png").code == 0
    config = fake_tasks.last["config"]
    expected = {**StyleConfig.PRESETS[preset], "tv_weight": 3.0}
    found = {name: getattr(config, name) for name in expected}
    found["network"] = expected.get("network", "") and found.get("network", "")
    expected.setdefault("network", "")
    assert found == expected
    assert call(*words, "--preset", preset, "--content-weight", 3, "-o", "b.png").code == 0
    assert fake_tasks.last["config"].content_weight == 3.0
    # An image says what it was made with.
    assert call("style", "--from", "a.png", "-o", "again.png").code == 0
    assert fake_tasks.last["config"] == config


def test_an_unknown_preset_is_refused(refused: Call, place: Path) -> None:
    words = ("style", place / "content.png", place / "style.png", "--preset", "wild")
    assert "--preset: expected one of fine, bold, paper. Received: 'wild'" in refused(*words)


def test_variations_of_a_texture_differ_by_their_noise(
    call: Call, in_process: Any, place: Path
) -> None:
    words = ("texture", place / "style.png", "--size", "20x20", "--seed", 5, "--variations", 3)
    run = call(*words, "-o", "wall.png", "--json")
    assert (run.code, run.json["done"]) == (0, 3)
    assert sorted(path.name for path in Path().iterdir()) == [f"wall-{n}.png" for n in (1, 2, 3)]
    assert [seen["config"].seed for seen in in_process.seen] == [5, 6, 7]


def test_variations_of_a_style_differ_by_their_network(
    call: Call, in_process: Any, place: Path
) -> None:
    words = ("style", place / "content.png", place / "style.png", "--size", 40)
    assert call(*words, "--variations", 2).code == 0
    names = [f"content-in-style-{n}.png" for n in (1, 2)]
    assert sorted(path.name for path in Path().iterdir()) == names
    first, second = in_process.recipes
    shipped = load_recipe(StyleConfig().network)
    assert (first, second.seed) == (shipped, shipped.seed + 1)
    assert not second.weights_sha256
    # Each can be made again without the others.
    assert call("style", "--from", names[1], "-o", "again.png").code == 0
    assert in_process.recipes[-1] == second
    assert call(*words, "--network-seed", 1, "-o", "direct.png").code == 0
    assert in_process.recipes[-1] == second
    assert call("style", "--from", names[1], "--variations", 2, "-o", "more.png").code == 0
    assert [recipe.seed for recipe in in_process.recipes[-2:]] == [1, 2]


def test_variations_are_numbered_in_batches_and_folders_too(
    call: Call, in_process: Any, place: Path
) -> None:
    jobs = place / "jobs.jsonl"
    job = {"task": "invert", "image": ".", "layer": "conv1_1", "size": 40, "variations": 2}
    jobs.write_text(json.dumps(job))
    assert call("batch", jobs, "-o", "out").code == 0
    names = [f"{n}-conv1_1-{i}.png" for n in ("content", "second", "style") for i in (1, 2)]
    assert sorted(path.name for path in Path("out").iterdir()) == names


def test_what_variations_cannot_have_is_refused(
    refused: Call, in_process: Any, place: Path
) -> None:
    words = ("texture", place / "style.png", "--size", "20x20", "--variations", 2)
    assert "no --history with variations" in refused(*words, "--history", "a.csv")
    assert "ending in .png" in refused(*words, "-o", "a.jpg")
    both = ("style", place / "content.png", place / "style.png", "--network", "imagenet")
    assert "whose weights are drawn" in refused(*both, "--variations", 2)
    assert "whose weights are drawn" in refused(*both, "--network-seed", 2)
    assert in_process.seen == []


def completion(instruction: str, words: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rwgen.cli.main"],
        env={
            **os.environ,
            "_RWGEN_COMPLETE": instruction,
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_commands_and_options() -> None:
    assert completion("complete_bash", "rwgen te") == ["texture"]
    assert completion("complete_bash", "rwgen style --content-") == [
        "--content-weight",
        "--content-mask",
        "--content-layer",
    ]


def test_the_program_installs_its_completion(call: Call) -> None:
    assert "_RWGEN_COMPLETE=complete_bash" in completion("source_bash")
    assert b"--install-completion" in call("--help").out


def test_no_color_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored = live_console()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = live_console()
    assert colored is not None
    assert plain is not None
    assert (colored.no_color, plain.no_color) == (False, True)


def test_heic_is_read_or_the_way_to_read_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Call
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    rows, columns = np.mgrid[0:32, 0:48]
    smooth = np.stack([rows * 5, columns * 5, 255 - rows * 4], axis=2).astype(np.uint8)
    file = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(smooth)).save(file, quality=100)
    read = read_image(file)
    assert read.shape == (32, 48, 3)
    assert np.abs(read - smooth).mean() < 2
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    assert 'pip install "rwgen[heif]"' in refused("texture", file, "-o", tmp_path / "a.png")
