"""Animations: what players read is what was written."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from rwgen.animation import check_animation, write_animation
from rwgen.errors import InvalidInputError, OutputError

COLORS = np.array([[200, 40, 30], [30, 160, 60], [40, 60, 210], [240, 230, 20]])
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="extra `video`")


def colored(height: int = 16, width: int = 24) -> list[NDArray[np.float64]]:
    """Frames of one color each, as floats that need rounding and clipping."""
    return [np.full((height, width, 3), color) + 0.3 for color in COLORS]


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Frames and their durations in milliseconds, read by Pillow."""
    with Image.open(path) as image:
        assert image.info.get("loop") == 0  # forever
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info["duration"])
        return frames, durations


@pytest.mark.parametrize(("suffix", "error", "duration"), [(".webp", 3, 83), (".gif", 0, 80)])
def test_webp_and_gif_repeat_all_frames_forever(
    suffix: str, error: int, duration: int, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    check_animation(path)
    write_animation(path, iter(colored()))
    frames, durations = frames_of(path)
    assert durations == [duration] * 4
    for frame, color in zip(frames, COLORS, strict=True):
        assert frame.shape == (16, 24, 3)
        assert np.abs(frame.astype(int) - color).max() <= error
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@needs_av
@pytest.mark.parametrize("shape", [(16, 24), (15, 23)])
def test_mp4_has_all_frames_colors_and_the_rate(shape: tuple[int, int], tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    check_animation(path)
    write_animation(path, colored(*shape), frames_per_second=24)
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert (stream.width, stream.height, stream.average_rate) == (24, 16, 24)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.colorspace == 1
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    for frame, color in zip(frames, COLORS, strict=True):
        assert np.abs(frame.astype(int) - color).max() <= 4


@pytest.mark.parametrize("suffix", [".webp", ".gif", pytest.param(".mp4", marks=needs_av)])
def test_equal_frames_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    noise = np.random.default_rng(0).uniform(-9, 300, (3, 20, 30, 3))
    for path in paths:
        write_animation(path, noise, frames_per_second=5)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("suffix", [".webp", ".gif", pytest.param(".mp4", marks=needs_av)])
def test_a_single_frame_is_an_animation_too(suffix: str, tmp_path: Path) -> None:
    write_animation(tmp_path / f"a{suffix}", colored()[:1])
    assert (tmp_path / f"a{suffix}").stat().st_size > 0


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], "at least one frame"),
        ([np.zeros((4, 4, 3)), np.zeros((4, 5, 3))], r"shape \(4, 4, 3\).*\(4, 5, 3\)"),
        ([np.zeros((4, 4))], r"\[height, width, 3\]"),
        ([np.full((4, 4, 3), np.nan)], "finite"),
    ],
)
def test_unusable_frames_are_refused(frames: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        write_animation(tmp_path / "a.gif", frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0, -1, 101, np.nan, True, "12"])
def test_the_rate_must_be_one_that_every_format_has(rate: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"frames_per_second.*at most 100"):
        write_animation(tmp_path / "a.gif", colored(), frames_per_second=rate)


@pytest.mark.parametrize("name", ["a.png", "a", ".gif", "-", "missing/a.gif", "folder.gif"])
def test_destinations_are_checked_beforehand(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(InvalidInputError, match=r"xpected .* Received: "):
        check_animation("-" if name == "-" else tmp_path / name)


def test_what_the_frames_raise_is_passed_on_and_the_old_file_is_kept(tmp_path: Path) -> None:
    def broken() -> Iterator[NDArray[np.float64]]:
        yield colored()[0]
        raise OSError("no more frames")

    (tmp_path / "a.gif").write_bytes(b"old")
    with pytest.raises(OSError, match="no more frames") as caught:
        write_animation(tmp_path / "a.gif", broken())
    assert not isinstance(caught.value, OutputError)
    assert (tmp_path / "a.gif").read_bytes() == b"old"


def test_a_failure_of_the_encoder_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"frames that \.webp can store") as caught:
        write_animation(tmp_path / "a.webp", np.zeros((2, 1, 16_384, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_mp4_without_pyav_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r'pip install "rwgen\[video\]"'):
        check_animation(tmp_path / "a.mp4")
    check_animation(tmp_path / "a.webp")
