"""Memory and device of a command, checked before TensorFlow is imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rwgen.cli.options import parse_bytes
from rwgen.compute.device import check_device, use_device
from rwgen.compute.memory import (
    ONEDNN_FACTOR,
    Workload,
    available_memory,
    format_bytes,
    plan_memory,
)
from rwgen.errors import InvalidInputError


def memory_limit(text: str, device: str) -> int | None:
    """Bytes that a command may take.

    Args:
        text: value of `--memory-limit`, empty if it was not given.
        device: value of `--device`.

    Returns:
        The limit given, else the memory that is free, or None if that is unknown.

    Raises:
        InvalidInputError: an option is invalid.
    """
    try:
        check_device(device)
    except InvalidInputError as error:
        raise InvalidInputError(f"--{error}") from None
    return parse_bytes("--memory-limit", text) if text else available_memory(device)


def plan_resources(work: Workload, limit: int | None, quiet: bool) -> None:
    """Refuse a task that does not fit, choose TensorFlow's allocator, and print the estimate.

    oneDNN, and with it the faster allocator, is used if there is room for it, unless the
    environment already decides. Like progress, the estimate is printed on standard error if that is
    a terminal. If features are recomputed or computed in tiles, which is slower, it is always
    printed unless `quiet`.

    Raises:
        MemoryLimitError: the task does not fit.
    """
    plan = plan_memory(work, limit)
    roomy = limit is None or ONEDNN_FACTOR * plan.peak_bytes <= limit
    # The estimate of tiles includes what oneDNN keeps.
    use_onednn = "1" if plan.tile is not None or (roomy and not plan.recompute) else "0"
    use_onednn = os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", use_onednn)
    saves = plan.recompute or plan.tile is not None
    if quiet or sys.stderr is None or not (saves or sys.stderr.isatty()):
        return
    factor = 1 if use_onednn == "0" or plan.tile is not None else ONEDNN_FACTOR
    there = f" of {format_bytes(limit)}" if limit is not None else ""
    how = ", recomputing features to save memory" if plan.recompute else ""
    if plan.tile is not None:
        how = f", in tiles of {plan.tile} pixels to save memory"
    peak = format_bytes(round(factor * plan.peak_bytes))
    print(f"rwgen: memory: about {peak}{there}{how}", file=sys.stderr)


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Use the device of `--device`."""
    try:
        context = use_device(name)
    except InvalidInputError as error:
        raise InvalidInputError(f"--{error}") from None
    with context:
        yield
