"""One line for each event, as `key=value` pairs, for whoever listens to `rwgen.serving`."""

from __future__ import annotations

import json
import logging

LOGGER = logging.getLogger("rwgen.serving")
"""Nothing is printed unless the program that runs the server sets up logging."""

_QUIET = ("rwgen.serving", "uvicorn", "grpc")


def silence() -> None:
    """Keep Python from printing warnings of the server and its libraries by itself.

    Handlers that the program has set up still get all of them.
    """
    for name in _QUIET:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())


def log(level: int, event: str, **fields: object) -> None:
    """Log one event.

    Args:
        level: of `logging`.
        event: what happened, in one word.
        fields: what is known about it. Texts are quoted as in JSON, so that none breaks the line.
    """
    if LOGGER.isEnabledFor(level):
        pairs = [f"event={event}"]
        pairs += [f"{key}={_shown(value)}" for key, value in fields.items()]
        LOGGER.log(level, "%s", " ".join(pairs))


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, int) else json.dumps(str(value))
