"""`rwgen style` on a film."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from rwgen.animation import write_animation

Call = Callable[..., Any]
CHEAP = ("--size", 40, "--iterations", 6, "--content-layer", "conv1_1", "--style-layer", "conv1_1")
OF_AN_IMAGE = (
    "--view", "--animate=a.gif", "--history=a.csv", "--checkpoint=a", "--save-every=2",
    "--logdir=a", "--unit-activations",
)  # fmt: skip


@pytest.fixture(scope="module")
def clip(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "clip.gif"
    with Image.open(pictures.content) as image:
        pixels = np.asarray(image)
    write_animation(path, [pixels[:32, n : n + 40] for n in range(3)], frames_per_second=10)
    return path


def frames_of(path: Path) -> list[np.ndarray[Any, Any]]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def test_every_frame_is_painted_and_flicker_is_told(
    clip: Path, pictures: Any, call: Call, tmp_path: Path
) -> None:
    out, still = tmp_path / "out.gif", tmp_path / "still.png"
    run = call("style", clip, pictures.style, *CHEAP, "-o", out, "--json")
    assert run.code == 0
    assert run.json["frames"] == 3
    assert run.json["iterations"] == 6 + 5 + 5
    assert run.json["flicker"] > 0
    wrote = r"rwgen: wrote \S+, 3 frames of 40x32 pixels in \d+ s; "
    assert re.match(wrote + r"flicker [\d.]+ levels, [\d.]+ of", run.err)
    frames = frames_of(out)
    assert [frame.shape for frame in frames] == [(32, 40, 3)] * 3
    with Image.open(out) as image:
        assert image.info["duration"] == 100
    alone = call("style", clip, pictures.style, *CHEAP, "-o", still)
    assert alone.code == 0
    assert any("first of several frames" in note for note in alone.notes)
    with Image.open(still) as image:
        assert np.abs(np.asarray(image).astype(int) - frames[0]).mean() < 8  # of 256 colors
    assert np.abs(frames[1].astype(int) - frames_of(clip)[1]).mean() > 16  # it is painted


def test_control_c_keeps_the_frames_that_are_done(
    clip: Path,
    pictures: Any,
    call: Call,
    fake_tasks: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import rwgen.film

    def transfer_style(content: Any, styles: Any, **rest: Any) -> Any:
        return fake_tasks.run(content.shape, content=content, **rest)

    def press(iteration: int) -> None:
        if len(fake_tasks.seen) == 2 and iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(rwgen.film, "transfer_style", transfer_style)
    fake_tasks.on_step = press
    run = call("style", clip, pictures.style, *CHEAP, "-o", tmp_path / "out.webp")
    assert run.code == 130
    assert run.err.startswith("rwgen: interrupted after 1 of 3 frames; wrote ")
    assert len(frames_of(tmp_path / "out.webp")) == 1


def test_without_a_name_it_is_named_after_its_inputs(
    clip: Path, pictures: Any, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = call("style", clip, pictures.style, *CHEAP, "--iterations", 0, "-q")
    assert (run.code, run.err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["clip-in-style.webp"]


def test_what_belongs_to_an_image_is_refused(
    clip: Path, pictures: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    start = ("style", clip, pictures.style, *CHEAP, "-o", tmp_path / "out.gif")
    for option in OF_AN_IMAGE:
        name = option.partition("=")[0]
        assert f"{name}: expected a single image" in refused(*start, option)
    assert "--init" in refused(*start, "--init", pictures.start)
    assert "not inputs" in refused("style", clip, pictures.style, "-o", clip, "--force")
    (tmp_path / "out.gif").touch()
    assert "expected a new file, or --force" in refused(*start)
    assert "a frame" in refused(*start, "--force", "--content-layer", "conv5_1", "--size", 8)
