"""Files that exist already: commands replace them only with `--force`."""

from __future__ import annotations

from pathlib import Path

from rwgen.errors import InvalidInputError


def check_new(option: str, path: str | None, force: bool) -> None:
    """Refuse to replace a file.

    Args:
        option: what names the file.
        path: the file to write; None, `-`, devices and pipes are never replaced.
        force: whether it may be replaced.

    Raises:
        InvalidInputError: there is such a file, and it may not be replaced.
    """
    if path is not None and path != "-" and not force and Path(path).is_file():
        raise InvalidInputError(
            f"{option}: expected a new file, or --force. Received: {path}, which exists"
        )
