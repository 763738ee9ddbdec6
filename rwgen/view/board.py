"""What a page shows of a search, shared between the thread that searches and those that answer."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from rwgen.images import encode_image, fit_longest_side, resize_image
from rwgen.optimize.solution import Step
from rwgen.phases import Phase
from rwgen.progress import PHASES

PREVIEW_SIDE = 1024
"""Longest side, in pixels, of the image on the page; saved copies have all pixels."""

PREVIEW_SECONDS = 0.25
"""Least number of seconds between two images."""

PREVIEW_SHARE = 0.1
"""Largest share of the time of a search that goes into images for the page."""

Best = Callable[[], NDArray[Any]]
"""Returns the best image so far, RGB in 0..255."""


class Board:
    """The state of a search, in versions that a page follows; a listener of `rwgen.phases`.

    Args:
        title: What the page is about.
        total: Maximum number of iterations.
        encode: Returns the file that a saved copy is, from pixels.
        clock: Returns seconds.
    """

    def __init__(
        self,
        title: str,
        total: int,
        encode: Callable[[NDArray[Any]], bytes] = encode_image,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._total = title, total
        self._encode, self._clock = encode, clock
        self._changed = threading.Condition()
        self._steps: list[dict[str, Any]] = []
        self._sizes: list[dict[str, Any]] = []
        self._image = ""
        self._images = 0
        self._status = "preparing"
        self._end: dict[str, Any] | None = None
        self._version = 0
        self._watchers = self._watched = 0
        self._next_image = 0.0
        self._stopping = False
        self._copies_wanted = 0
        self._copy: bytes | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the page asked for the end of the search."""
        return self._stopping

    def stop(self) -> None:
        """Ask for the end of the search."""
        with self._changed:
            self._stopping = True
            self._change()

    def show(self, step: Step, best: Best) -> None:
        """Take a step, and its image if somebody watches and the last one is old enough.

        Args:
            step: See `Step`.
            best: Called in this thread, or not at all.
        """
        now = self._clock()
        image = None
        if self._watchers and now >= self._next_image:
            image = _preview(best())
            done = self._clock()
            rest = (done - now) * (1 / PREVIEW_SHARE - 1)
            self._next_image = max(now + PREVIEW_SECONDS, done + rest)
        copy = self._encode(best()) if self._copies_wanted else None
        with self._changed:
            self._steps.append(
                {
                    "iteration": step.iteration,
                    "seconds": step.seconds,
                    "loss": step.loss,
                    "terms": step.terms,
                }
            )
            if image is not None:
                self._image, self._images = image, self._images + 1
            if copy is not None:
                self._copy, self._copies_wanted = copy, 0
            self._change()

    def end(self, message: str, image: NDArray[Any] | None = None) -> None:
        """Say how the search ended, which is the last change.

        Args:
            message: The outcome, or what failed.
            image: The result; None after a failure.
        """
        preview = None if image is None else _preview(image)
        with self._changed:
            if preview is not None:
                self._image, self._images = preview, self._images + 1
            self._end = {"message": message, "failed": image is None}
            self._change()

    def began(self, phase: Phase) -> None:
        """Show what is done; a size begins with its targets."""
        with self._changed:
            self._status = PHASES.get(phase.name, self._status)
            if phase.name == "targets":
                iteration = self._steps[-1]["iteration"] if self._steps else 0
                self._sizes.append({"iteration": iteration, "size": phase.of})
            self._change()

    def ended(self, phase: Phase) -> None:
        """Leave what is shown until something else begins."""

    def follow(self) -> Follower:
        """Return a reader of all that was and will be shown. Close it when nobody looks."""
        return Follower(self)

    def await_watcher(self, seconds: float) -> bool:
        """Wait until somebody has watched, at most for some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._watched > 0, seconds)

    def copy(self, seconds: float) -> bytes | None:
        """Return the best image so far as a file, from the next step of the search.

        Args:
            seconds: How long to wait for this step.

        Returns:
            A file; None if there was no step, or the search has ended.
        """
        with self._changed:
            self._copy = None
            self._copies_wanted += 1
            self._changed.wait_for(lambda: self._copy or self._end, seconds)
            return self._copy

    def _change(self) -> None:
        self._version += 1
        self._changed.notify_all()


class Follower:
    """Reads a board for one page.

    Args:
        board: The board. Its images are only made while somebody follows.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen = {"version": -1, "steps": 0, "sizes": 0, "images": 0}
        with board._changed:
            board._watchers += 1
            board._watched += 1
            board._changed.notify_all()

    def changes(self, seconds: float) -> dict[str, Any]:
        """Wait for something new.

        Args:
            seconds: How long to wait.

        Returns:
            What was not returned before; nothing after the time or after the end.
        """
        board, seen = self._board, self._seen
        with board._changed:
            board._changed.wait_for(lambda: board._version != seen["version"], seconds)
            if board._version == seen["version"]:
                return {}
            news: dict[str, Any] = {
                "title": board._title,
                "total": board._total,
                "status": "stopping" if board._stopping else board._status,
                "steps": board._steps[seen["steps"] :],
                "sizes": board._sizes[seen["sizes"] :],
                "end": board._end,
            }
            if board._images != seen["images"]:
                news["image"] = board._image
            seen["version"], seen["images"] = board._version, board._images
            seen["steps"], seen["sizes"] = len(board._steps), len(board._sizes)
            return news

    def close(self) -> None:
        """Stop following."""
        with self._board._changed:
            self._board._watchers -= 1


def _preview(pixels: NDArray[Any]) -> str:
    """A JPEG of limited size as a data URL."""
    height, width = pixels.shape[:2]
    if max(height, width) > PREVIEW_SIDE:
        pixels = resize_image(pixels, *fit_longest_side(height, width, PREVIEW_SIDE))
    data = base64.b64encode(encode_image(pixels, "preview.jpg")).decode()
    return f"data:image/jpeg;base64,{data}"
