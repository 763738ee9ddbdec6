"""`rwgen morph`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

Call = Callable[..., Any]
CHEAP = ("--layer", "conv1_1", "--size", 32, "--iterations", 2)


def test_frames_and_animation_go_from_one_image_to_the_other_and_back(
    call: Call, pictures: Any, tmp_path: Path, read_pixels: Call
) -> None:
    (tmp_path / "frames").mkdir()
    places = ("-o", tmp_path / "a.webp", "--frames", tmp_path / "frames")
    options = (*CHEAP, "--steps", 4, "--rate", 20, "--json", "--quiet")
    run = call("morph", pictures.content, pictures.style, *places, *options)
    assert (run.code, run.err) == (0, "")
    names = [tmp_path / "frames" / f"frame-00{number}.png" for number in (1, 2, 3, 4)]
    assert run.json["frames"] == [str(name) for name in names]
    assert sorted((tmp_path / "frames").iterdir()) == names
    assert (run.json["width"], run.json["height"], run.json["layers"]) == (32, 24, ["conv1_1"])
    frames = [read_pixels(name).astype(int) for name in names]
    # The ends are the inputs; the second is cut to the proportions of the first: 40x44 to 40x30.
    for frame, path, box in (
        (frames[0], pictures.content, (0, 0, 48, 36)),
        (frames[3], pictures.style, (0, 7, 40, 37)),
    ):
        with Image.open(path) as image:
            small = image.crop(box).resize((32, 24), Image.Resampling.LANCZOS)
        assert np.abs(frame - np.asarray(small).astype(int)).max() <= 2
    apart = [np.abs(frame - frames[0]).mean() for frame in frames]
    assert apart == sorted(apart)
    with Image.open(tmp_path / "a.webp") as animation:
        durations = []
        for frame in ImageSequence.Iterator(animation):
            frame.load()
            durations.append(frame.info["duration"])
    assert durations == [50] * 6  # four, and two on the way back


def test_an_animation_may_end_at_the_second_image_and_is_named_after_both(
    call: Call, pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = call("morph", pictures.content, pictures.style, *CHEAP, "--steps", 2, "--no-back")
    assert run.code == 0
    assert "wrote content-to-style.webp, 2 frames of 32x24 pixels, after" in run.err
    with Image.open("content-to-style.webp") as animation:
        assert animation.n_frames == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-o", "a.png"), "the suffix is '.png'"),
        (("-o", "exists.webp"), "--output: expected a new file, or --force"),
        (("--frames", "missing"), "--frames: expected a folder that exists. Received: missing"),
        (("--frames", "."), "--frames: expected a new file, or --force"),
        (("--steps", "1"), "--steps: expected a whole number from 2"),
        (("--layer", "conv9_9"), "'conv9_9'"),
        (("--size", "1", "--layer", "pool2"), "expected images of at least 4 pixels a side"),
        (("--memory-limit", "100MB"), "fits into 95 MiB"),
        (("--device", "tpu"), "--device: expected auto, cpu or gpu:N"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: tuple[str, ...], expected: str, refused: Call, pictures: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("exists.webp", "frame-002.png"):
        (tmp_path / name).touch()
    assert expected in refused("morph", pictures.content, pictures.style, *arguments)


def test_an_input_is_never_replaced(refused: Call, pictures: Any, tmp_path: Path) -> None:
    animation = tmp_path / "a.webp"
    Image.new("RGB", (32, 32)).save(animation)
    before = animation.read_bytes()
    line = refused("morph", animation, pictures.style, "-o", animation, "--force")
    assert "a.webp as both" in line
    assert animation.read_bytes() == before
