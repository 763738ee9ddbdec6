"""Exceptions of rwgen: every error that a public function raises on purpose is one of these."""

from __future__ import annotations

from typing import Any


class RwgenError(Exception):
    """Base of all errors raised by rwgen."""


class InvalidInputError(RwgenError, ValueError):
    """An argument, option or file is not what it must be: mend the call and try again."""


class ImageError(InvalidInputError):
    """A file is not an image that can be read, or an image has an unusable shape."""


class RecipeError(InvalidInputError):
    """A recipe names an unknown network, is malformed, or does not match its fingerprints."""


class LayerError(InvalidInputError):
    """A layer name is unknown, or that layer cannot be used in the way it was asked for."""


class CheckpointError(InvalidInputError):
    """A checkpoint is damaged, or belongs to another run or another version of the program."""


class MemoryLimitError(InvalidInputError):
    """A task needs more memory than it may take: choose smaller images or a larger limit."""


class OutputError(RwgenError, OSError):
    """A result could not be written; what was there before is untouched."""


class WorkerError(RwgenError, RuntimeError):
    """Another process that worked for this one was lost."""


class OptimizationError(RwgenError, RuntimeError):
    """An optimisation could not go on, for example because the loss is not finite."""


class ServerError(RwgenError, RuntimeError):
    """A server refused a request, failed, or could not be reached.

    Attributes:
        code: name of the status, such as `NOT_FOUND`, as gRPC has them.
    """

    def __init__(self, code: str, message: str) -> None:
        """Make an error of a status."""
        super().__init__(f"expected an answer of the server. Received: {code}: {message}")
        self.code = code


def reason_of(error: Any) -> str:
    """The reason that an error of TensorFlow gives, in one line.

    Args:
        error: a `tf.errors.OpError`. Before the last paragraph of its message TensorFlow says
            where in the program the graph was built, and after it which node failed.
    """
    text = str(error.message).rpartition("\n\n")[2].partition("\n\t [[")[0]
    return " ".join(text.split()) or type(error).__name__
