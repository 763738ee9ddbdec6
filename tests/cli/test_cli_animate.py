"""`--animate`: how an image forms, as it is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from rwgen.cli.growth import MAX_FRAMES, MAX_SIDE, Growth
from rwgen.errors import OutputError
from rwgen.optimize.solution import Step

Call = Callable[..., Any]


def levels(path: Path) -> list[tuple[int, float]]:
    """Mean and seconds of every frame; equal frames are joined by the encoder."""
    with Image.open(path) as image:
        return [
            (round(np.asarray(frame.convert("RGB")).mean()), frame.info["duration"] / 1000)
            for frame in ImageSequence.Iterator(image)
        ]


def step(iteration: int) -> Step:
    return Step(iteration, iteration + 1, 1.0, {}, 0.1, 1.0)


def test_frames_are_the_images_of_the_steps_and_the_result_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    growth = Growth(str(path), 4)
    for iteration in (0, 1, 2, 2, 3):  # a size begins with the step that ended the one before
        growth.add(step(iteration), lambda level=iteration: np.full((6, 8, 3), 40.0 * level))  # type: ignore[misc]
    growth.write(np.full((6, 8, 3), 200.4))
    *forming, last = levels(path)
    assert [level for level, _ in forming] == [0, 40, 80, 120]
    assert last[0] == 200
    assert last[1] > 1


@pytest.mark.parametrize("total", [59, 60, 61, 1000])
def test_frames_are_few_and_small(total: int, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    growth = Growth(str(path), total)
    image = np.zeros((3, 2 * MAX_SIDE, 3))
    for iteration in range(total + 1):
        image[:] = iteration % 256
        growth.add(step(iteration), lambda: image)
    growth.write(image)
    assert MAX_FRAMES / 2 <= len(levels(path)) <= MAX_FRAMES + 2
    with Image.open(path) as first:
        assert first.size == (MAX_SIDE, 2)


def test_nothing_is_kept_without_a_file() -> None:
    def never() -> Any:
        raise AssertionError("this image is not needed")

    growth = Growth(None, 4)
    growth.add(step(0), never)
    growth.write(np.zeros((1, 1, 3)))


def test_the_command_writes_it(pictures: Any, call: Call, tmp_path: Path) -> None:
    out, path = tmp_path / "out.png", tmp_path / "forms.webp"
    options = ("--size", 32, "--iterations", 3, "--octaves", 0, "-q", "--layer", "conv1_1")
    run = call("invert", pictures.content, *options, "-o", out, "--animate", path)
    assert (run.code, run.err) == (0, "")
    with Image.open(path) as image, Image.open(out) as result:
        assert image.format == "WEBP"
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        difference = np.abs(frames[-1].astype(int) - np.asarray(result))
    assert len(frames) >= 4
    assert difference.mean() < 12  # lossy
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 3 * difference.mean()


def test_a_bad_place_is_refused_and_a_failure_is_told(
    pictures: Any,
    call: Call,
    refused: Callable[..., str],
    fake_tasks: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out.png"
    arguments = ("texture", pictures.style, "--size", "20x16", "-o", out, "--animate")
    (tmp_path / "old.gif").touch()
    for name, expected in (
        ("forms.png", "--animate: "),
        ("missing/forms.gif", "--animate: "),
        ("old.gif", "--animate: expected a new file"),
    ):
        assert expected in refused(*arguments, tmp_path / name)
    twice = ("texture", pictures.style, "--size", "20x16", "-o", tmp_path / "a.webp", "--animate")
    assert "other than the others" in refused(*twice, tmp_path / "a.webp")
    assert not out.exists()

    def full(*_: Any) -> None:
        raise OutputError("no space.")

    monkeypatch.setattr("rwgen.cli.growth.write_animation", full)
    run = call(*arguments, tmp_path / "forms.gif")
    assert run.code == 1
    assert run.err.startswith("rwgen: --animate: no space; the run goes on\n")
    assert out.exists()
