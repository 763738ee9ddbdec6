"""Read the frames of animations (Pillow) and of videos (PyAV)."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from rwgen.errors import ImageError, InvalidInputError
from rwgen.files import FileName, failure_reported
from rwgen.images import as_pixels

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
"""Suffixes of files that PyAV reads; others are images."""

MAX_RATE = 100.0
"""Frames per second of an animation that states none, or more."""


@dataclass(frozen=True)
class Film:
    """Frames that follow each other; iterating reads them from the file, one at a time.

    Attributes:
        path: The file.
        count: Number of frames.
        frames_per_second: Mean rate.
    """

    path: FileName
    count: int
    frames_per_second: float

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield each frame [height, width, 3], RGB in 0..255.

        Raises:
            ImageError: The file is damaged.
        """
        expected = f"{self.count} intact frames"
        with failure_reported(ImageError, expected, self.path, "Check the file."):
            yield from _video(self.path) if is_video(self.path) else _animation(self.path)


def is_video(path: FileName) -> bool:
    """Return whether a file is a video by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def is_film(path: FileName) -> bool:
    """Return whether a file is a video, or an image of several frames."""
    if is_video(path):
        return True
    with contextlib.suppress(Exception), Image.open(path, formats=("GIF", "WEBP", "PNG")) as image:
        return getattr(image, "n_frames", 1) > 1
    return False


def read_film(path: FileName) -> Film:
    """Open a film, and count its frames.

    Args:
        path: An animated GIF, WebP or PNG, or a video of a suffix in `VIDEO_SUFFIXES`, which needs
            the extra `video`.

    Raises:
        InvalidInputError: PyAV is missing.
        ImageError: The file cannot be read or has no frames.
    """
    if is_video(path) and importlib.util.find_spec("av") is None:
        raise InvalidInputError(
            "expected PyAV to be installed for videos. Received: no such package; pip install "
            '"rwgen[video]", or give an animated GIF or WebP'
        )
    with failure_reported(ImageError, "an animation or a video", path, "Check the file."):
        count, rate = _video_length(path) if is_video(path) else _animation_length(path)
        if not count:
            raise ValueError("it has no frames")
        return Film(path, count, rate)


def _animation_length(path: FileName) -> tuple[int, float]:
    with Image.open(path) as image:
        times = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # WebP knows its times only then
            times.append(frame.info.get("duration", 0))
    return len(times), min(MAX_RATE, 1000 * len(times) / max(sum(times), 1))


def _animation(path: FileName) -> Iterator[NDArray[Any]]:
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield as_pixels(frame.copy())


def _video_length(path: FileName) -> tuple[int, float]:
    import av  # an extra

    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        count = sum(1 for _ in container.decode(video=0))
    return count, min(MAX_RATE, float(rate or MAX_RATE))


def _video(path: FileName) -> Iterator[NDArray[Any]]:
    import av  # an extra

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24")
            # A phone turns the picture by a note in the file.
            yield np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90))
