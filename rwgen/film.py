"""Style transfer of films: every frame starts from the last result, moved along with the film."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
from rwgen.optimize.solution import Callback, Solution, StopReason
from rwgen.synthesis.config import StyleConfig
from rwgen.synthesis.pipeline import Network
from rwgen.synthesis.tasks import transfer_style

LATER_SHARE = 1 / 5
"""Share of the iterations that a frame gets which starts from the last result: more of them paint
what comes into view better, and let strokes wander."""

CUT_LEVELS = 40.0
"""Mean difference of a frame from the last one, moved, from which on it is a new scene."""

Flow = NDArray[np.float32]
"""[height, width, 2]: for each pixel of a frame, how far to the right and down it was before."""


@dataclass(frozen=True)
class FilmFrame:
    """A frame of a film and its result.

    Attributes:
        source: [height, width, 3], RGB in 0..255.
        image: the result, of the same shape, not clipped.
        solution: the search.
        begins: whether a scene begins with it.
        flow: from the frame before; None for the first, and without OpenCV.
    """

    source: NDArray[Any]
    image: NDArray[Any]
    solution: Solution
    begins: bool
    flow: Flow | None


@dataclass
class Flicker:
    """Mean absolute difference of consecutive frames, the earlier one moved to the later one.

    What moves with the film is no flicker; the film's own value is what its noise, its light and
    errors of the flow amount to.

    Attributes:
        pairs: number of pairs of frames, which belong to one scene.
    """

    pairs: int = 0
    _result: float = 0.0
    _source: float = 0.0

    @property
    def result(self) -> float:
        """Of the results, in levels of 0..255; 0 without pairs."""
        return self._result / max(self.pairs, 1)

    @property
    def source(self) -> float:
        """Of the film itself."""
        return self._source / max(self.pairs, 1)

    def add(self, before: FilmFrame, after: FilmFrame) -> None:
        """Count a frame with the one before, unless a scene begins with it."""
        if not after.begins:
            self.pairs += 1
            self._result += difference(before.image, after.image, after.flow)
            self._source += difference(before.source, after.source, after.flow)


def stylize_film(
    frames: Iterable[ImageLike],
    styles: ImageLike | Sequence[ImageLike],
    *,
    network: Network = None,
    config: StyleConfig | None = None,
    callback: Callback | None = None,
    memory_limit: int | None = None,
) -> Iterator[FilmFrame]:
    """Render frames in the style of images, one after another.

    The first frame of a scene is a style transfer like any other. Every later one starts from the
    last result, moved along the optical flow between the frames (OpenCV, the extra `video`;
    without it, it is not moved), at its full size and with `LATER_SHARE` of the iterations, so
    that strokes move along.

    Args:
        frames: images of one shape, see `rwgen.images.as_pixels`; taken one at a time.
        styles: see `rwgen.transfer_style`.
        network: see `rwgen.transfer_style`.
        config: settings of the first frame; None means the defaults.
        callback: see `rwgen.transfer_style`, for each frame; the film ends with the frame that it
            ends.
        memory_limit: see `rwgen.transfer_style`.

    Yields:
        Each frame with its result.

    Raises:
        RwgenError: see `rwgen.transfer_style`.
    """
    config = config or StyleConfig()
    fewer = max(1, round(config.optimizer.max_iterations * LATER_SHARE))
    optimizer = dataclasses.replace(config.optimizer, max_iterations=fewer)
    later = dataclasses.replace(config, octaves=0, optimizer=optimizer)
    search = functools.partial(
        transfer_style,
        styles=styles,
        network=network,
        callback=callback,
        memory_limit=memory_limit,
    )
    last: FilmFrame | None = None
    for frame in frames:
        source = as_pixels(frame)
        if last is not None and source.shape != last.source.shape:
            raise InvalidInputError(
                f"expected frames of shape {last.source.shape}. Received: {source.shape}"
            )
        flow = None if last is None else optical_flow(last.source, source)
        begins = last is None or difference(last.source, source, flow) > CUT_LEVELS
        if last is None or begins:
            solution = search(source, config=config)
        else:
            solution = search(source, config=later, init=moved(last.image, flow).clip(0, 255))
        last = FilmFrame(source, solution.image, solution, begins, flow)
        yield last
        if solution.stop_reason is StopReason.CALLBACK:
            return


def optical_flow(before: NDArray[Any], after: NDArray[Any]) -> Flow | None:
    """Estimate how a film moves from one frame to the next, by dense inverse search.

    Args:
        before: [height, width, 3], RGB in 0..255.
        after: the next frame.

    Returns:
        See `Flow`; None if OpenCV is not installed, or the frames are too small for it.
    """
    if importlib.util.find_spec("cv2") is None or min(after.shape[:2]) < 16:
        return None
    import cv2  # an extra

    gray = [
        cv2.cvtColor(np.rint(image).clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        for image in (after, before)
    ]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: Flow = search.calc(gray[0], gray[1], None)
    return flow


def moved(image: NDArray[Any], flow: Flow | None) -> NDArray[np.float32]:
    """Move an image along with the film, linearly interpolated; borders are repeated.

    Args:
        image: [height, width, 3], of the frame before.
        flow: from that frame to this one; None moves nothing.
    """
    pixels = np.asarray(image, np.float32)
    if flow is None:
        return pixels
    from scipy.ndimage import map_coordinates

    rows, columns = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    places = np.stack([rows + flow[..., 1], columns + flow[..., 0]])
    channels = [
        map_coordinates(pixels[..., channel], places, order=1, mode="nearest")
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)


def difference(before: NDArray[Any], after: NDArray[Any], flow: Flow | None) -> float:
    """Mean absolute difference of two frames, the first of which is moved, in levels."""
    return float(np.abs(moved(before, flow) - np.asarray(after, np.float32)).mean())


def flicker(frames: Iterable[FilmFrame]) -> Flicker:
    """Measure how a whole film flickers.

    Args:
        frames: all frames in order.
    """
    found = Flicker()
    for before, after in itertools.pairwise(frames):
        found.add(before, after)
    return found
