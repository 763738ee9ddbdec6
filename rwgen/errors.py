"""Exceptions. Public functions raise only these deliberately."""

from __future__ import annotations

import re
from typing import Any

MAX_CHARACTERS = 300
"""Length of the longest message."""


class RwgenError(Exception):
    """Base class of all errors that rwgen raises.

    Of a message longer than `MAX_CHARACTERS`, the middle is left out: the end says what to do.
    """

    def __init__(self, message: str = "") -> None:
        half = MAX_CHARACTERS // 2 - 3
        short = len(message) <= MAX_CHARACTERS
        super().__init__(message if short else f"{message[:half]} ... {message[-half:]}")


class InvalidInputError(RwgenError, ValueError):
    """An argument, option or file is invalid."""


class ImageError(InvalidInputError):
    """A file is not a readable image, or an array is not a valid image."""


class RecipeError(InvalidInputError):
    """A network is unknown, a recipe is malformed, or weights do not match its fingerprints."""


class LayerError(InvalidInputError):
    """A layer name is unknown, or the layer cannot be used for the task."""


class CheckpointError(InvalidInputError):
    """A checkpoint is damaged, or belongs to another run or another version of rwgen."""


class MemoryLimitError(InvalidInputError):
    """A task needs more memory than its limit: use smaller images or raise the limit."""


class OutputError(RwgenError, OSError):
    """A result could not be written. An existing file is unchanged."""


class DownloadError(RwgenError, RuntimeError):
    """Weights could not be downloaded."""


class WorkerError(RwgenError, RuntimeError):
    """A worker process terminated unexpectedly."""


class OptimizationError(RwgenError, RuntimeError):
    """An optimization could not continue, for example because the loss is not finite."""


class ServerError(RwgenError, RuntimeError):
    """A server refused a request, failed, or could not be reached.

    Attributes:
        code: Name of the gRPC status code, such as `NOT_FOUND`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"expected a response from the server. Received: {code}: {message}")
        self.code = code


def reason_of(error: Any) -> str:
    """Return the reason that a TensorFlow error gives, in one line.

    Args:
        error: A `tf.errors.OpError`.
    """
    # The last paragraph holds the reason, after where the graph was built, before the node.
    text = str(error.message).rpartition("\n\n")[2].partition("\n\t [[")[0]
    text = text.rpartition("<stack traces unavailable>")[2]
    if "assertion failed: " in text:  # each value is in brackets
        text = re.sub(r"[\[\]]", "", text.partition("assertion failed: ")[2])
    return " ".join(text.split()) or type(error).__name__
