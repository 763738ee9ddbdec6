"""Files written whole or not at all, and failures told in one line."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from rwgen.errors import InvalidInputError, OutputError

FileName: TypeAlias = str | os.PathLike[str]


def atomic_write(destination: FileName, data: bytes | memoryview, label: str = "") -> None:
    """Writes a file whole or not at all: after a failure the old file is still there.

    A symbolic link is followed, a replaced file keeps its permissions, and `"-"` (standard
    output), devices and pipes are written directly. A process that is killed meanwhile leaves a
    file `.rwgen-LABEL*.tmp` behind.

    Raises:
        OutputError: The bytes could not be written.
    """
    with failure_reported(
        OutputError, "a writable place", destination, "Check path, rights and space."
    ):
        target = Path(destination).resolve()
        if destination == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif target.exists() and not target.is_file():
            target.write_bytes(data)  # /dev/null must not become an ordinary file
        else:
            _replace(target, data, label)


def check_writable(destination: FileName) -> None:
    """Finds out before any long work whether :func:`atomic_write` could write there.

    Raises:
        InvalidInputError: A directory, or in no directory that can be written.
    """
    with failure_reported(
        InvalidInputError, "a writable place", destination, "Choose another one."
    ):
        target = Path(destination).resolve()
        if target.is_dir():
            raise IsADirectoryError("it is a directory")
        if destination != "-" and not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError("its directory is missing or not writable")


@contextlib.contextmanager
def failure_reported(
    kind: type[Exception], expected: str, place: Any, advice: str
) -> Iterator[None]:
    """Turns any failure into one line about a source or destination."""
    name = os.fspath(place) if isinstance(place, os.PathLike) else getattr(place, "name", place)
    try:
        yield
    except Exception as error:  # decoders raise nearly every kind there is on damaged data
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        reason = " ".join(reason.split())
        raise kind(f"Expected {expected}. Received: {name!r} ({reason}). {advice}") from error


def _replace(target: Path, data: bytes | memoryview, label: str) -> None:
    """Writes `data` beside `target` and moves it there in one step."""
    # Opening with "x", unlike `tempfile`, lets the system apply the umask and default ACLs.
    temporary = target.with_name(f".rwgen-{label}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
    finally:  # also after Ctrl-C; after the move there is nothing left to remove
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
