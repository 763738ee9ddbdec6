"""Write animations, one frame after another, with Pillow (WebP, GIF) or PyAV (MP4)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from rwgen.checks import check_number
from rwgen.errors import ImageError, InvalidInputError, OutputError
from rwgen.files import FileName, atomic_write, check_writable, failure_reported
from rwgen.network.preprocess import check_image

FRAMES_PER_SECOND = 12.0
"""Frames per second by default."""

MAX_FRAMES_PER_SECOND = 100.0
"""Largest number of frames per second: GIF counts in hundredths of a second."""

WEBP_QUALITY = 90
"""Quality of WebP's lossy frames, from 0 to 100: a tenth of the bytes of lossless ones."""

CONSTANT_RATE_FACTOR = 18
"""Quality of H.264, from 0 (lossless) to 51; its documentation calls 18 visually lossless."""

_SUFFIXES = (".webp", ".gif", ".mp4")


def write_animation(
    destination: FileName,
    frames: Iterable[NDArray[Any]],
    *,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> None:
    """Write an animation atomically. Equal input gives equal bytes.

    WebP and GIF repeat forever. GIF has 256 colors a frame, and whole hundredths of a second. MP4
    is H.264 with halved color resolution, which all players show; its sides are even, so an odd
    last row or column is repeated.

    Args:
        destination: File name ending in .webp, .gif, or .mp4, which needs the extra `video`.
        frames: Arrays [height, width, 3] of one shape, of integers or floats, sRGB, nominally in
            0..255. Values are rounded to 8 bits and clipped. For MP4, frames are encoded as they
            come; the other formats hold all of them in 8 bits.
        frames_per_second: Above 0 and at most `MAX_FRAMES_PER_SECOND`.

    Raises:
        InvalidInputError: Unknown suffix, bad number of frames per second, no frame, frames of
            different shapes or with values that are not finite, or PyAV is missing.
        OutputError: The animation could not be encoded or written.
    """
    suffix = _checked_suffix(destination)
    check_number("frames_per_second", frames_per_second, most=MAX_FRAMES_PER_SECOND, exclusive=True)
    encoder = (_Mp4 if suffix == ".mp4" else _Pillow)(suffix, frames_per_second)

    def reported() -> contextlib.AbstractContextManager[None]:
        """Not around the frames: what they raise is no failure of the encoder."""
        expected = f"frames that {suffix} can store"
        return failure_reported(OutputError, expected, destination, "Try smaller frames.")

    for pixels in _in_bytes(frames):
        with reported():
            encoder.add(pixels)
    with reported():
        data = encoder.finish()
    atomic_write(destination, data)


def check_animation(destination: FileName) -> None:
    """Check, before any long work, that `write_animation` can write to a destination.

    Raises:
        InvalidInputError: The suffix is unknown, PyAV is missing, the destination is a directory,
            or its directory is missing or not writable.
    """
    _checked_suffix(destination)
    check_writable(destination)


def _checked_suffix(destination: FileName) -> str:
    with failure_reported(InvalidInputError, f"a suffix of {_SUFFIXES}", destination, "Change it."):
        suffix = Path(destination).suffix.lower()
        if suffix not in _SUFFIXES:
            raise ValueError(f"the suffix is {suffix!r}")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise InvalidInputError(
            "expected PyAV to be installed for .mp4. Received: no such package; pip install "
            '"rwgen[video]", or choose .webp'
        )
    return suffix


def _in_bytes(frames: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.uint8]]:
    """The frames as 8-bit pixels, all of one shape, at least one."""
    shape = None
    for frame in frames:
        pixels = check_image(frame)
        shape = shape or pixels.shape
        if pixels.shape != shape:
            raise ImageError(f"expected frames of shape {shape}. Received: {pixels.shape}")
        yield np.rint(pixels).clip(0, 255).astype(np.uint8)
    if shape is None:
        raise ImageError("expected at least one frame. Received: none")


class _Encoder(Protocol):
    """Takes frames of one shape and 8 bits, and returns the bytes of a file."""

    def __init__(self, suffix: str, frames_per_second: float) -> None:
        """Create an encoder of a format."""

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Take the next frame."""

    def finish(self) -> bytes:
        """The whole file; there was at least one frame."""


class _Pillow(_Encoder):
    """An animated WebP or GIF."""

    @override
    def __init__(self, suffix: str, frames_per_second: float) -> None:
        self._format = Image.registered_extensions()[suffix]
        self._options: dict[str, Any] = {"duration": round(1000 / frames_per_second), "loop": 0}
        if suffix == ".webp":
            self._options |= {"quality": WEBP_QUALITY, "method": 4}
        self._frames: list[Image.Image] = []

    @override
    def add(self, pixels: NDArray[np.uint8]) -> None:
        self._frames.append(Image.fromarray(pixels))

    @override
    def finish(self) -> bytes:
        first, *rest = self._frames
        buffer = io.BytesIO()
        first.save(buffer, self._format, save_all=True, append_images=rest, **self._options)
        return buffer.getvalue()


class _Mp4(_Encoder):
    """H.264 with the colors of BT.709, which players assume. No frame is kept."""

    @override
    def __init__(self, suffix: str, frames_per_second: float) -> None:
        import av  # an extra

        self._av = av
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format=suffix.removeprefix("."))
        self._stream = self._container.add_stream(
            "libx264",
            Fraction(frames_per_second).limit_denominator(1001),
            options={"crf": str(CONSTANT_RATE_FACTOR), "x264-params": "cpu-independent=1"},
        )
        codec = self._stream.codec_context
        codec.thread_count = 1  # the bytes depend on the number of threads
        codec.pix_fmt = "yuv420p"
        codec.color_primaries = codec.color_trc = codec.colorspace = 1  # BT.709
        codec.color_range = 1  # 16..235

    @override
    def add(self, pixels: NDArray[np.uint8]) -> None:
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        codec = self._stream.codec_context
        if not codec.is_open:
            codec.height, codec.width = even.shape[:2]
        frame = self._av.VideoFrame.from_ndarray(even, format="rgb24")
        converted = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        self._container.mux(self._stream.encode(converted))

    @override
    def finish(self) -> bytes:
        self._container.mux(self._stream.encode())
        self._container.close()
        return self._buffer.getvalue()
