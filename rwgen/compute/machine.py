"""What this machine has for a search, and what makes it slow. Nothing here needs TensorFlow."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rwgen.compute.memory import available_memory, control_groups, format_bytes, total_memory

FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")
"""Units of a processor that speed up convolutions, as Linux names them; the last two are Arm's."""

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""Units that multiply bfloat16."""

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Environment variables that decide how fast a search is."""


@dataclass(frozen=True)
class Machine:
    """A machine, as far as a search is concerned.

    Attributes:
        system: operating system and architecture.
        processor: name of the processor, empty if unknown.
        cores: number of its cores.
        bound_cores: number of cores that this process may run on.
        core_limit: processor time that a control group allows, in cores, or None.
        flags: those of `FLAGS` that the processor has; None if unknown.
        memory: bytes of memory, or None if unknown.
        memory_limit: bytes that a control group allows, or None.
        free_memory: bytes that this process can still take, or None if unknown.
        environment: those of `VARIABLES` that are set.
    """

    system: str
    processor: str = ""
    cores: int = 1
    bound_cores: int = 1
    core_limit: float | None = None
    flags: tuple[str, ...] | None = None
    memory: int | None = None
    memory_limit: int | None = None
    free_memory: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable_cores(self) -> int:
        """Number of cores that are worth using: a limit of half a core is one."""
        limit = self.bound_cores if self.core_limit is None else math.ceil(self.core_limit)
        return max(1, min(self.bound_cores, limit))


def this_machine(root: Path = Path("/")) -> Machine:
    """Describe the machine that this process runs on.

    Args:
        root: folder of `proc` and `sys`.
    """
    bound = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = os.cpu_count() or 1
    processor, flags = _processor(root)
    memory, limit = total_memory(root)
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=processor,
        cores=cores,
        bound_cores=len(bound(0)) if bound else cores,
        core_limit=_core_limit(root),
        flags=flags,
        memory=memory,
        memory_limit=limit,
        free_memory=available_memory("cpu", root),
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def findings(machine: Machine, needed: int, gpus: Sequence[str] = ()) -> list[str]:
    """Say what is slow on a machine, why, and what to do.

    Args:
        machine: the machine.
        needed: bytes that a style at the default size takes with features kept.
        gpus: names of the GPUs that TensorFlow can use.

    Returns:
        One line each; none if nothing is unusual.
    """
    lines = []
    usable, environment = machine.usable_cores, machine.environment
    if machine.bound_cores < machine.cores:
        lines.append(
            f"this process may run on {machine.bound_cores} of {machine.cores} cores (taskset, a "
            "container or a batch system decides)"
        )
    if machine.core_limit is not None and machine.core_limit < machine.bound_cores:
        lines.append(
            f"a control group allows the time of {machine.core_limit:g} cores, but TensorFlow "
            f"starts {machine.bound_cores} threads: set TF_NUM_INTRAOP_THREADS={usable}, or allow "
            "more"
        )
    threads = environment.get("TF_NUM_INTRAOP_THREADS", "")
    if threads.isdigit() and 0 < int(threads) < usable:
        lines.append(f"TF_NUM_INTRAOP_THREADS={threads} leaves {usable - int(threads)} cores idle")
    if environment.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        lines.append("TF_ENABLE_ONEDNN_OPTS=0 turns off the faster kernels and memory of oneDNN")
    if not gpus and machine.flags is not None:
        if not {"avx2", "asimd"} & set(machine.flags):
            lines.append("the processor has no AVX2: convolutions take several times as long")
        elif set(BFLOAT16_FLAGS) & set(machine.flags):
            lines.append("the processor multiplies bfloat16: --precision bfloat16 is faster here")
        else:
            lines.append(
                "the processor has no unit for bfloat16: --precision bfloat16 is emulated, and "
                "slower than float32"
            )
    if machine.free_memory is not None and machine.free_memory < needed:
        lines.append(
            f"{format_bytes(machine.free_memory)} of memory are free, and a style at the default "
            f"size takes {format_bytes(needed)}: its features are recomputed, which is slower, or "
            "it is refused; free some memory, or choose a smaller --size"
        )
    return lines


def _processor(root: Path) -> tuple[str, tuple[str, ...] | None]:
    """Name and units of the first processor."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), None
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    flags = values.get("flags", values.get("Features", "")).split()
    name = values.get("model name") or values.get("Processor", "")
    return name, tuple(flag for flag in FLAGS if flag in flags) if flags else None


def _core_limit(root: Path) -> float | None:
    """The least processor time that a control group of the process allows, in cores."""
    found = []
    for folder, version in control_groups(root, "cpu"):
        try:
            if version == 2:
                quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
                period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
            if float(quota) > 0:  # -1 for no limit in version 1
                found.append(float(quota) / float(period))
        except (OSError, ValueError, ZeroDivisionError):  # version 2 writes "max" for no limit
            continue
    return min(found, default=None)
