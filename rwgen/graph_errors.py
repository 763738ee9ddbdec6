"""What went wrong in a graph, without where it was built."""

from __future__ import annotations

from typing import Any


def reason_of(error: Any) -> str:
    """The reason that an error of TensorFlow gives, in one line.

    Args:
        error: a `tf.errors.OpError`. Before the last paragraph of its message TensorFlow says
            where in the program the graph was built, and after it which node failed.
    """
    text = str(error.message).rpartition("\n\n")[2].partition("\n\t [[")[0]
    return " ".join(text.split()) or type(error).__name__
