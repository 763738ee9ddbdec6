"""Standard error: lines of the program, and none of native libraries."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


def say(text: str) -> None:
    """Print one line, unless standard error is closed.

    Args:
        text: what follows `rwgen: `. Line breaks become spaces.
    """
    if sys.stderr is not None:  # `print` would then use standard output
        print("rwgen:", *text.split(), file=sys.stderr)


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[TextIO | None]:
    """Discard what C and C++ libraries print on standard error, so that errors stay one line.

    TensorFlow prints during its import, before its log level applies, and libtiff for damaged
    files. Therefore the file descriptor itself is redirected. What Python code prints on standard
    output meanwhile, such as Keras' progress of a download, goes to standard error: standard output
    may be a JSON object or an image. Exceptions propagate.

    Yields:
        Where lines of the program are shown meanwhile, or None if standard error is closed.
    """
    lines = sys.stderr
    if lines is not None:
        lines.flush()
    with Path(os.devnull).open("w") as null, contextlib.ExitStack() as stack:
        try:
            shown = stack.enter_context(os.fdopen(os.dup(2), "w", buffering=1))
        except OSError:  # standard error is closed
            stack.enter_context(contextlib.redirect_stdout(null))
        else:
            stack.callback(os.dup2, shown.fileno(), 2)
            stack.enter_context(contextlib.redirect_stdout(shown))
            os.dup2(null.fileno(), 2)
            if lines is sys.__stderr__:
                lines = shown
        yield lines
