"""`--animate`: how an image forms, as an animation of limited length and size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rwgen.animation import FRAMES_PER_SECOND, check_animation, write_animation
from rwgen.errors import InvalidInputError, OutputError
from rwgen.images import fit_longest_side, resize_image

if TYPE_CHECKING:
    from rwgen.optimize.solution import Step

MAX_FRAMES = 60
"""Maximum number of frames before the result."""

MAX_SIDE = 512
"""Longest side of the frames, in pixels, unless the image is smaller."""

LAST_SECONDS = 1.5
"""Seconds that the result stays."""


def check_growth(path: str) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    try:
        check_animation(path)
    except InvalidInputError as error:
        raise InvalidInputError(f"--animate: {error}") from None


class Growth:
    """The frames of a search.

    Args:
        path: the animation to write, or None to keep nothing.
        total: maximum number of iterations.
    """

    def __init__(self, path: str | None, total: int) -> None:
        self._path = path
        self._every = max(1, math.ceil(total / MAX_FRAMES))
        self._frames: list[NDArray[np.uint8]] = []
        self._last = -1

    def add(self, step: Step, best: Callable[[], NDArray[Any]]) -> None:
        """Keep the best image so far, if this step is one that is shown.

        A size of a coarse-to-fine search begins with the step that ended the one before.
        """
        if self._path is None or step.iteration % self._every or step.iteration == self._last:
            return
        self._last = step.iteration
        self._frames.append(_frame(best()))

    def write(self, result: NDArray[Any]) -> None:
        """Write the animation, which ends with the result.

        Raises:
            OutputError: it could not be written.
        """
        if self._path is None:
            return
        frames = [*self._frames, *[_frame(result)] * round(LAST_SECONDS * FRAMES_PER_SECOND)]
        try:
            write_animation(self._path, frames)
        except OutputError as error:
            raise OutputError(f"--animate: {error}") from None


def _frame(image: NDArray[Any]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        image = resize_image(image, *fit_longest_side(height, width, MAX_SIDE))
    pixels: NDArray[np.uint8] = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels
