"""Places to write to: files that exist are replaced only with `--force`, folders must exist."""

from __future__ import annotations

from pathlib import Path

from rwgen.errors import InvalidInputError
from rwgen.files import check_writable


def check_place(option: str, path: str) -> None:
    """Refuse a file that cannot be written, such as one in a folder that does not exist.

    Args:
        option: what names the file.
        path: the file to write.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    try:
        check_writable(path)
    except InvalidInputError as error:
        raise InvalidInputError(f"{option}: {error}") from None


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
