"""Log of the server: one line of `key=value` pairs per event, in the logger `rwgen.serving`."""

from __future__ import annotations

import json
import logging

LOGGER = logging.getLogger("rwgen.serving")
"""Logger of all events. Nothing is printed unless the calling program sets up logging."""

_QUIET = ("rwgen.serving", "uvicorn", "grpc")


def silence() -> None:
    """Stop Python from printing warnings of the server and its libraries by default.

    Handlers set up by the calling program still receive all of them.
    """
    for name in _QUIET:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())


def log(level: int, event: str, **fields: object) -> None:
    """Log one event.

    Args:
        level: level of the module `logging`.
        event: name of the event, in one word.
        **fields: details. Strings are quoted as in JSON, so that no value breaks the line.
    """
    if LOGGER.isEnabledFor(level):
        pairs = [f"event={event}"]
        pairs += [f"{key}={_shown(value)}" for key, value in fields.items()]
        LOGGER.log(level, "%s", " ".join(pairs))


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, int) else json.dumps(str(value))
