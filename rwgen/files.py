"""Atomic file writing, and one-line errors for failed input and output."""

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
    """Write a file atomically: after a failure the old file is unchanged.

    Symbolic links are followed, and a replaced file keeps its permissions. `"-"` (standard
    output), devices and pipes are written directly. A process that is killed while writing leaves
    a file `.rwgen-LABEL*.tmp` behind.

    Args:
        destination: File name, or `"-"` for standard output.
        data: Content of the file.
        label: Part of the name of the temporary file.

    Raises:
        OutputError: The data could not be written.
    """
    with failure_reported(
        OutputError, "a writable place", destination, "Check path, permissions and free space."
    ):
        target = Path(destination).resolve()
        if destination == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif target.exists() and not target.is_file():
            target.write_bytes(data)  # replacing /dev/null would make it a regular file
        else:
            _replace(target, data, label)


def check_writable(destination: FileName) -> None:
    """Check, before any long work, that `atomic_write` can write to a destination.

    Raises:
        InvalidInputError: The destination is a directory, or its directory is missing or not
            writable. Directories are not created: the name may have a typing error.
    """
    with failure_reported(
        InvalidInputError, "a writable place", destination, "Choose another one."
    ):
        target = Path(destination).resolve()
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        if destination != "-" and not target.parent.is_dir():
            raise FileNotFoundError("its folder does not exist")
        if destination != "-" and not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError("its folder cannot be written")


@contextlib.contextmanager
def failure_reported(
    kind: type[Exception], expected: str, place: Any, advice: str
) -> Iterator[None]:
    """Convert any exception, except one of class `kind`, to a one-line error.

    Args:
        kind: Class of the error.
        expected: What was expected of the source or destination.
        place: The source or destination: a path, a stream, or `"-"`.
        advice: What to do about it.

    Raises:
        Exception: of class `kind`, if the body of the `with` statement failed.
    """
    try:
        yield
    except kind:
        raise
    except Exception as error:  # decoders of damaged data raise exceptions of almost any class
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        reason = " ".join(reason.split())
        raise kind(f"Expected {expected}. Received: {shown(place)} ({reason}). {advice}") from error


def shown(place: Any) -> str:
    """Return what a message shows of a source or destination: a path, a stream, or `"-"`."""
    return repr(
        os.fspath(place) if isinstance(place, os.PathLike) else getattr(place, "name", place)
    )


def _replace(target: Path, data: bytes | memoryview, label: str) -> None:
    # A new file next to the target, moved there in one step. Opening it with "x", unlike
    # `tempfile`, lets the system apply the umask and default ACLs.
    temporary = target.with_name(f".rwgen-{label}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
    finally:  # after Ctrl-C too; after the move there is nothing to remove
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
