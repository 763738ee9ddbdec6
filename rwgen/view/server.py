"""Serve the page of a search on this machine, in a background thread."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from numpy.typing import NDArray

from rwgen.phases import listening
from rwgen.view.app import view_app
from rwgen.view.board import Board

ADDRESS = "127.0.0.1"
GRACE_SECONDS = 2
"""Seconds that a page has to receive the end of the search."""

BROWSER_SECONDS = 10.0
"""Seconds that a browser has to show its first page, of a search that ends before."""


@contextlib.contextmanager
def viewing(
    title: str,
    total: int,
    encode: Callable[[NDArray[Any]], bytes],
    file_name: str,
    announce: Callable[[str], None],
) -> Iterator[Board]:
    """Show a search on a page of this machine until the block ends.

    At a terminal with a display, the page is opened in the browser. After an exception, the page
    shows its message.

    Args:
        title: What the page is about.
        total: Maximum number of iterations.
        encode: Returns the file that a saved copy is, from pixels.
        file_name: Name of saved copies.
        announce: Called with the page's address.

    Yields:
        The board to show steps on.
    """
    board = Board(title, total, encode)
    token = secrets.token_urlsafe(16)
    with socket.create_server((ADDRESS, 0)) as listener:
        config = uvicorn.Config(
            view_app(board, token, file_name),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        run = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="rwgen-view", daemon=True
        )
        run.start()
        url = f"http://{ADDRESS}:{listener.getsockname()[1]}/{token}/"
        announce(url)
        opened = has_display() and webbrowser.open(url)
        try:
            with listening(board):
                yield board
        except BaseException as error:
            board.end(str(error) or type(error).__name__)
            raise
        finally:
            if opened:
                board.await_watcher(BROWSER_SECONDS)
            server.should_exit = True
            run.join()


def has_display() -> bool:
    """Whether somebody sits at a terminal where a browser has a window."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
