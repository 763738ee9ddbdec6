"""What a command may take: its memory and its device, checked before TensorFlow is imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rwgen.cli.options import parse_memory
from rwgen.compute.device import check_device, use_device
from rwgen.compute.memory import Workload, available_memory, format_bytes, plan_memory
from rwgen.errors import InvalidInputError

ONEDNN_FACTOR = 1.25
"""Peak with oneDNN by that without: TensorFlow then keeps freed memory, which spares the pages from
being made anew in every evaluation (docs/performance.md)."""


def memory_limit(text: str, device: str) -> int | None:
    """Bytes that a command may take.

    Args:
        text: the option, empty where it was not given.
        device: the other option.

    Returns:
        What the option says, else what is free, None where that cannot be found out.

    Raises:
        InvalidInputError: an option is not what it must be.
    """
    try:
        check_device(device)
    except InvalidInputError as error:
        raise InvalidInputError(f"--{error}") from None
    return parse_memory(text) if text else available_memory(device)


def plan_resources(work: Workload, limit: int | None, quiet: bool) -> None:
    """Refuse a task that does not fit, choose TensorFlow's allocator, and print the estimate.

    oneDNN, and with it the faster allocator, is used where there is room for it, unless the
    environment decides already. The line is printed where progress is: on standard error if that is
    a terminal. Wherever features are computed again it is printed in any case but `quiet`, since
    the run is slower.

    Raises:
        MemoryLimitError: the task does not fit.
    """
    plan = plan_memory(work, limit)
    roomy = limit is None or ONEDNN_FACTOR * plan.peak_bytes <= limit
    use_onednn = "1" if roomy and not plan.rematerialize else "0"
    use_onednn = os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", use_onednn)
    if quiet or sys.stderr is None or not (plan.rematerialize or sys.stderr.isatty()):
        return
    factor = 1 if use_onednn == "0" else ONEDNN_FACTOR
    there = f" of {format_bytes(limit)}" if limit is not None else ""
    how = ", computing features again to save memory" if plan.rematerialize else ""
    peak = format_bytes(round(factor * plan.peak_bytes))
    print(f"rwgen: memory: about {peak}{there}{how}", file=sys.stderr)


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Compute on the device that `--device` names."""
    try:
        context = use_device(name)
    except InvalidInputError as error:
        raise InvalidInputError(f"--{error}") from None
    with context:
        yield
