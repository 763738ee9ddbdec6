"""`--view`: the page that shows a search while it runs."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rwgen.cli.stderr import say
from rwgen.errors import InvalidInputError
from rwgen.images import encode_image

if TYPE_CHECKING:
    from rwgen.view.board import Board


def check_view(quiet: bool) -> None:
    """Refuse, before any work, a page that cannot be shown.

    Args:
        quiet: whether its address may not be printed.

    Raises:
        InvalidInputError: a package is missing, or nobody would know the address.
    """
    if quiet:
        raise InvalidInputError(
            "--view: expected no --quiet, because the page's address is printed. Received: both"
        )
    for package in ("starlette", "uvicorn", "h11"):
        if importlib.util.find_spec(package) is None:
            raise InvalidInputError(
                f"--view: expected {package} to be installed. Received: no such package; "
                'pip install "rwgen[serve]"'
            )


def open_view(
    image: str, command: str, total: int, metadata: Mapping[str, str]
) -> contextlib.AbstractContextManager[Board]:
    """Show a search on a page, and print its address.

    Args:
        image: the image file that will be written, or `-`.
        command: the command, after which the page is named without a file.
        total: maximum number of iterations.
        metadata: stored in saved copies, which are PNGs.
    """
    from rwgen.view.server import viewing

    name = command if image == "-" else Path(image).stem
    return viewing(
        f"{name}.png" if image == "-" else Path(image).name,
        total,
        functools.partial(encode_image, metadata=metadata),
        f"{name}.png",
        lambda url: say(f"view: {url}"),
    )
