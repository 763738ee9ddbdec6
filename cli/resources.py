"""What a command may take: its memory and its device, checked before TensorFlow is imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rwgen.cli.options import parse_memory
from rwgen.device import check_device, use_device
from rwgen.errors import InvalidInputError
from rwgen.memory import MemoryPlan, Workload, available_memory, format_bytes, plan_memory


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


def announce_memory(work: Workload, limit: int | None, quiet: bool) -> MemoryPlan:
    """Plan a task, and print the estimate in one line.

    The line is printed where progress is: on standard error if that is a terminal. Wherever
    features are computed again it is printed in any case but `quiet`, since the run is slower.

    Raises:
        MemoryLimitError: the task does not fit.
    """
    plan = plan_memory(work, limit)
    if quiet or sys.stderr is None or not (plan.rematerialize or sys.stderr.isatty()):
        return plan
    there = f" of {format_bytes(limit)}" if limit is not None else ""
    how = ", computing features again to save memory" if plan.rematerialize else ""
    print(f"rwgen: memory: about {format_bytes(plan.peak_bytes)}{there}{how}", file=sys.stderr)
    return plan


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Compute on the device that `--device` names."""
    try:
        context = use_device(name)
    except InvalidInputError as error:
        raise InvalidInputError(f"--{error}") from None
    with context:
        yield
