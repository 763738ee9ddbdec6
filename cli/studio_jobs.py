"""Jobs of `rwgen studio`: one search at a time, each of which can be stopped and resumed."""

from __future__ import annotations

import contextvars
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rwgen.cli import resources
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.cli.studio_controls import settings_of
from rwgen.errors import RwgenError
from rwgen.images import encode_image
from rwgen.notebook.stylize import Stylized, stylize
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.solution import Step, StopReason
from rwgen.phases import listening
from rwgen.view.board import Board

if TYPE_CHECKING:
    from rwgen.view.board import Follower

NEWS_SECONDS = 1.0
"""Longest time between two looks at a search."""


@dataclass(frozen=True)
class News:
    """What is known of a job.

    Attributes:
        iteration: number of iterations so far.
        total: maximum number of iterations.
        status: what is done.
        image: data URL of the best image so far, or empty.
        message: how it ended, or empty.
        result: the written image, once there is one.
    """

    iteration: int = 0
    total: int = 0
    status: str = ""
    image: str = ""
    message: str = ""
    result: Path | None = None


class Jobs:
    """Runs searches, and keeps their results and the states of those that did not end.

    Args:
        folder: where results are written; it is made for the first one.
        memory_limit: bytes that a search may take, or None.
        device: device to compute on.
    """

    def __init__(self, folder: Path, memory_limit: int | None, device: str) -> None:
        self._folder, self._limit, self._device = folder, memory_limit, device
        self._running: dict[str, Board] = {}

    def stop(self, session: str) -> None:
        """End the running search of a session; its best image is written."""
        board = self._running.get(session)
        if board is not None:
            board.stop()

    def run(
        self,
        session: str,
        content: str,
        style: str,
        values: Mapping[str, Any],
        masks: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    ) -> Iterator[News]:
        """Search, and write the image. The same call goes on where a stopped one ended.

        Args:
            session: whose search it is.
            content: file of the content image.
            style: file of the style image.
            values: values of the controls, by name.
            masks: of content and style, [height, width, 3] each; None means no regions.

        Yields:
            News, the last of which has the end of the search.

        Raises:
            RwgenError: the search was refused.
        """
        settings = settings_of(values)
        kept = [self._keep(Path(path).name, Path(path).read_bytes()) for path in (content, style)]
        regions = [
            self._keep(f"{Path(path).stem}-regions.png", encode_image(mask))
            for path, mask in zip((content, style), masks or (), strict=False)
        ]
        title = f"{Path(content).stem}-in-{Path(style).stem}"
        text = json.dumps([[path.name for path in kept + regions], settings], sort_keys=True)
        state = self._folder / "states" / hashlib.sha256(text.encode()).hexdigest()[:16]
        checkpoint = Checkpoint(state, every=5)
        board = Board(title, settings["iterations"])
        written: list[Path] = []

        def show(step: Step, best: Callable[[], NDArray[Any]]) -> bool:
            board.show(step, best)
            return board.is_stopping

        def work() -> None:
            try:
                with native_stderr_hidden():
                    import rwgen.synthesis.tasks  # noqa: F401 # stylize imports it anyway
                with resources.on_device(self._device), listening(board):
                    made = stylize(
                        kept[0],
                        kept[1],
                        **settings,
                        content_mask=regions[0] if regions else None,
                        style_masks=regions[1:],
                        callback=show,
                        checkpoint=checkpoint,
                        memory_limit=self._limit,
                        quiet=True,
                    )
                written.append(self._write(made, title))
                stopped = made.solution.stop_reason is StopReason.CALLBACK
                if not stopped:
                    checkpoint.remove()
                    shutil.rmtree(state, ignore_errors=True)
                verb = "stopped; the same start goes on from here" if stopped else "done"
                board.end(f"{verb}: {written[0]}", made.image)
            except RwgenError as error:
                board.end(str(error))
            except Exception as error:
                board.end(f"unexpected error: {type(error).__name__}: {str(error)[:200]}")

        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        follower = board.follow()
        self._running[session] = board
        thread.start()
        try:
            yield from _followed(follower, written)
        finally:  # also when the page was closed
            board.stop()
            follower.close()
            thread.join()
            self._running.pop(session, None)

    def _keep(self, name: str, data: bytes) -> Path:
        """Write an input to a file, so that `rwgen style --from RESULT` finds it."""
        digest = hashlib.sha256(data).hexdigest()[:8]
        kept = self._folder / "inputs" / f"{Path(name).stem}-{digest}{Path(name).suffix}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
        return kept

    def _write(self, made: Stylized, name: str) -> Path:
        """Write a result under a name that is free."""
        number = 1
        path = self._folder / f"{name}.png"
        while path.exists():
            number += 1
            path = self._folder / f"{name}-{number}.png"
        made.save(path)
        return path


def _followed(follower: Follower, written: list[Path]) -> Iterator[News]:
    """What is known, whenever something is new, until the end."""
    news = News()
    while not news.message:
        changes = follower.changes(NEWS_SECONDS)
        if not changes:
            continue
        steps, end = changes["steps"], changes["end"]
        news = News(
            steps[-1]["iteration"] if steps else news.iteration,
            changes["total"],
            changes["status"],
            changes.get("image", news.image),
            end["message"] if end else "",
            written[0] if end and written else None,
        )
        yield news
