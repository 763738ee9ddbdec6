"""Style transfer of films: every frame is held to the last result, moved along with the film."""

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

from rwgen.checks import check_number, normalize_fields
from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
from rwgen.optimize.solution import Callback, Solution, StopReason
from rwgen.synthesis.config import StyleConfig
from rwgen.synthesis.hold import Hold
from rwgen.synthesis.pipeline import Network
from rwgen.synthesis.style_targets import StyleTargets
from rwgen.synthesis.tasks import transfer_style

VISIBLE_LEVELS = 15.0
"""Difference of a pixel from the last frame, moved, at which it is held 1/e as strongly as a still
one."""

LEAST_ITERATIONS = 5
"""Least number of iterations of a frame that starts from the last result, unless the first one has
fewer: the first step moves all strokes, and the others bring them back."""

STILL_PIXELS = 0.5
"""Median movement, in pixels, below which a camera stands still."""

Flow = NDArray[np.float32]
"""[height, width, 2]: for each pixel of a frame, how far to the right and down it was before."""


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """Settings of films.

    Attributes:
        temporal_weight: how much a frame is held to the last result, moved along with the film,
            wherever the film shows the same in both (docs/math.md, "Films"): more flickers less,
            and paints less of what comes into view.
        later_share: share of the first frame's iterations for a frame that starts from the last
            result, see `LEAST_ITERATIONS`.
        cut_levels: mean difference of a frame from the last one, moved, in levels of 0..255, from
            which on it begins a new scene.
    """

    temporal_weight: float = 3.0
    later_share: float = 1 / 10
    cut_levels: float = 40.0

    def __post_init__(self) -> None:
        normalize_fields(self)
        check_number("temporal_weight", self.temporal_weight)
        check_number("later_share", self.later_share)
        check_number("cut_levels", self.cut_levels)

    def later_iterations(self, iterations: int) -> int:
        """Number of iterations of a frame that starts from the last result.

        Args:
            iterations: number of iterations of the first frame.
        """
        return min(iterations, max(LEAST_ITERATIONS, round(iterations * self.later_share)))


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
    film: FilmConfig | None = None,
    callback: Callback | None = None,
    memory_limit: int | None = None,
) -> Iterator[FilmFrame]:
    """Render frames in the style of images, one after another.

    The first frame of a scene is a style transfer like any other. Every later one starts from the
    last result, moved along the optical flow between the frames (OpenCV, the extra `video`;
    without it, it is not moved), and is held to it where the film shows the same. It has fewer
    iterations, at its full size, so that strokes move along.

    Args:
        frames: images of one shape, see `rwgen.images.as_pixels`; taken one at a time.
        styles: see `rwgen.transfer_style`.
        network: see `rwgen.transfer_style`.
        config: settings of the first frame; None means the defaults.
        film: settings of films; None means the defaults.
        callback: see `rwgen.transfer_style`, for each frame; the film ends with the frame that it
            ends.
        memory_limit: see `rwgen.transfer_style`.

    Yields:
        Each frame with its result.

    Raises:
        RwgenError: see `rwgen.transfer_style`.
    """
    config, film = config or StyleConfig(), film or FilmConfig()
    fewer = film.later_iterations(config.optimizer.max_iterations)
    optimizer = dataclasses.replace(config.optimizer, max_iterations=fewer)
    later = dataclasses.replace(config, octaves=0, optimizer=optimizer)
    search = functools.partial(
        transfer_style,
        styles=styles,
        network=network,
        style_targets=StyleTargets(),
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
        begins = last is None or difference(last.source, source, flow) > film.cut_levels
        if last is None or begins:
            solution = search(source, config=config)
        else:
            shares = visibility(last.source, source, flow)
            hold = Hold(moved(last.image, flow).clip(0, 255), shares, film.temporal_weight)
            solution = search(source, config=later, hold=hold)
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
    if np.median(np.hypot(flow[..., 0], flow[..., 1])) < STILL_PIXELS:
        # The flow is smooth: what moves before a still camera drags the ground around it along.
        flow[changes(before, after, None) < changes(before, after, flow)] = 0
    return flow


def moved(image: NDArray[Any], flow: Flow | None) -> NDArray[np.float32]:
    """Move an image along with the film, by cubic splines; borders are repeated.

    Linear interpolation would blur an image a little more with every frame.

    Args:
        image: [height, width, 3], of the frame before.
        flow: from that frame to this one; None moves nothing.
    """
    pixels = np.asarray(image, np.float32)
    if flow is None:
        return pixels
    from scipy.ndimage import map_coordinates

    places = _places(flow)
    channels = [
        map_coordinates(pixels[..., channel], places, order=3, mode="nearest")
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)


def visibility(before: NDArray[Any], after: NDArray[Any], flow: Flow | None) -> NDArray[np.float32]:
    """How much each pixel of a frame shows what the last one has shown, where the flow says.

    It is small where something comes into view, was hidden, or has another light, and where the
    flow is wrong.

    Args:
        before: [height, width, 3], RGB in 0..255.
        after: the next frame.
        flow: between them, see `moved`.

    Returns:
        [height, width] in 0..1.
    """
    visible: NDArray[np.float32] = np.exp(-((changes(before, after, flow) / VISIBLE_LEVELS) ** 2))
    if flow is not None:
        for places, side in zip(_places(flow), visible.shape, strict=True):
            visible[(places < -0.5) | (places > side - 0.5)] = 0
    return visible


def changes(before: NDArray[Any], after: NDArray[Any], flow: Flow | None) -> NDArray[np.float32]:
    """How much each pixel differs from the last frame, moved, in levels, [height, width].

    Neighbors are averaged, and the film's noise with them.
    """
    from scipy.ndimage import gaussian_filter

    levels = np.abs(moved(before, flow) - np.asarray(after, np.float32)).mean(axis=2)
    averaged: NDArray[np.float32] = gaussian_filter(levels, 1.0)
    return averaged


def _places(flow: Flow) -> NDArray[np.float32]:
    """[2, height, width]: row and column of each pixel in the frame before."""
    rows, columns = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    return np.stack([rows + flow[..., 1], columns + flow[..., 0]])


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
