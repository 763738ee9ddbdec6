"""Where TensorFlow computes: a device by name, set up so that results stay comparable."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from rwgen.errors import InvalidInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

AUTO = "auto"
"""The first GPU that TensorFlow can use, else the CPU."""


def check_device(name: str) -> str:
    """The name of a device, if it is one; whether the device exists is not looked at.

    Args:
        name: `auto`, `cpu` or `gpu:N`.

    Raises:
        InvalidInputError: not of that form.
    """
    if name in (AUTO, "cpu") or re.fullmatch(r"gpu:\d{1,3}", name, flags=re.ASCII):
        return name
    raise InvalidInputError(
        f"device: expected auto, cpu or gpu:N, such as gpu:0. Received: {name!r}"
    )


def use_device(name: str = AUTO) -> AbstractContextManager[Any]:
    """Set TensorFlow up for a device.

    TensorFlow itself keeps two settings: a GPU's memory is taken as it is needed, and float32
    products are not rounded to TF32, which has 10 bits and would make L-BFGS stall early.

    Args:
        name: `auto`, `cpu` or `gpu:N`.

    Returns:
        A context in which TensorFlow works on that device; networks are to be built in it too.

    Raises:
        InvalidInputError: the name is no device, or there is no such GPU.
    """
    check_device(name)
    import tensorflow as tf  # the command line checks names before it pays for this

    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    if name.startswith("gpu:") and int(name.removeprefix("gpu:")) >= len(gpus):
        there = f"{len(gpus)} GPU(s)" if gpus else "no GPU that TensorFlow can use"
        raise InvalidInputError(f"device: expected a GPU that is there. Received: {name}; {there}")
    if name != "cpu":
        for gpu in gpus:  # TensorFlow wants the same setting for all
            # It cannot be changed any more once they are in use.
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
    if name == AUTO:
        return contextlib.nullcontext()
    context: AbstractContextManager[Any] = tf.device("/" + name.upper() + (":0" * (name == "cpu")))
    return context
