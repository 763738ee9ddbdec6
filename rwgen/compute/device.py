"""Select the device that TensorFlow computes on, set up so that results stay comparable."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from rwgen.errors import InvalidInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

AUTO = "auto"
"""The first GPU that TensorFlow can use, else the CPU."""

Precision = Literal["float32", "tf32", "bfloat16"]
"""Format of the factors in convolutions; sums are float32 in each.

`float32` has 24 significant bits. `tf32` and `bfloat16` have 11 and 8: the former is for GPUs of
NVIDIA's Ampere architecture and later, the latter also halves the memory of features, and is fast
on GPUs and on CPUs with AVX512-BF16 or AMX. Other devices ignore `tf32` and emulate `bfloat16`."""


def check_device(name: str) -> str:
    """Return the name of a device if it is well formed; the device need not exist.

    Args:
        name: `auto`, `cpu` or `gpu:N`.

    Raises:
        InvalidInputError: the name has another form.
    """
    if name in (AUTO, "cpu") or re.fullmatch(r"gpu:\d{1,3}", name, flags=re.ASCII):
        return name
    raise InvalidInputError(
        f"device: expected auto, cpu or gpu:N, such as gpu:0. Received: {name!r}"
    )


def use_device(name: str = AUTO) -> AbstractContextManager[Any]:
    """Configure TensorFlow for a device.

    Two settings apply to the whole process: memory of a GPU grows on demand, and float32 products
    are not rounded to TF32, whose 10 bits would make L-BFGS stall early.

    Args:
        name: `auto`, `cpu` or `gpu:N`.

    Returns:
        A context in which TensorFlow uses the device. Build networks inside it too.

    Raises:
        InvalidInputError: the name is not a device, or no such GPU exists.
    """
    check_device(name)
    import tensorflow as tf  # deferred: the command line only checks names

    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    if name.startswith("gpu:") and int(name.removeprefix("gpu:")) >= len(gpus):
        there = f"{len(gpus)} GPU(s)" if gpus else "no GPU that TensorFlow can use"
        raise InvalidInputError(f"device: expected an existing GPU. Received: {name}; {there}")
    if name != "cpu":
        for gpu in gpus:  # TensorFlow requires the same setting for all
            # It cannot be changed once they are in use.
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
    if name == AUTO:
        return contextlib.nullcontext()
    context: AbstractContextManager[Any] = tf.device("/" + name.upper() + (":0" * (name == "cpu")))
    return context


@contextlib.contextmanager
def tensor_float_32(enabled: bool) -> Iterator[None]:
    """Allow TF32 for the block. TensorFlow has one setting for the whole process."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(enabled)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
