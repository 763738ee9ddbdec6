"""How much memory a task needs at its peak, how much there is, and which way of working fits.

The estimate counts feature maps. Its constants come from the peaks that `benchmarks/memory.py`
measures (docs/performance.md). Nothing here needs TensorFlow, so that what cannot fit is refused
before any work.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rwgen.errors import MemoryLimitError
from rwgen.network.architecture import INPUT_CHANNELS, Architecture

BASE_BYTES = 980 * 2**20
"""The process with everything imported, without weights and features."""

COMPILED_BYTES = {False: 260 * 2**20, True: 1000 * 2**20}
"""What compiling an evaluation leaves behind, with and without rematerialisation, which compiles
every segment on its own."""

EVALUATION_MAPS = {False: 3.8, True: 5.9}
"""Working space of one evaluation in units of the largest feature map, with and without
rematerialisation. Without it, all feature maps are kept besides."""

TARGET_MAPS = {False: 4.1, True: 1.15}
"""Working space of targets and weighting factors: without rematerialisation in units of all
feature maps, with it in units of the working space of an evaluation."""

SEARCH_VECTORS = 14
"""Vectors of the image's size that a search holds besides the pairs of differences."""

WEIGHT_COPIES = 2
"""The network that the caller has, and the one that computes."""

TRANSFORMED_COPIES = 4
"""36 numbers for 9."""


@dataclass(frozen=True)
class Workload:
    """What decides how much memory a task needs; all counts are of numbers, not of bytes.

    Attributes:
        image_size: numbers of the result, 3 * height * width.
        features: numbers of each layer's output for the result, in forward order.
        targets: the same for each image that features are taken from.
        held: target features that are kept during the search, those of content layers.
        num_weights: weights of the network.
        num_filters: those of them that are kept transformed too (`rwgen.compute.winograd`).
        num_correction_pairs: of L-BFGS.
        propagate_differences: whether a target's features of every layer are kept, unless features
            are computed again (`rwgen.synthesis.differences`).
        itemsize: bytes of a number.
    """

    image_size: int
    features: Sequence[int]
    targets: Sequence[Sequence[int]]
    held: int
    num_weights: int
    num_filters: int
    num_correction_pairs: int
    propagate_differences: bool = False
    itemsize: int = 4

    def peak_bytes(self, rematerialize: bool) -> int:
        """Resident memory of the process at its peak, in bytes, within about 30 %."""
        targets = max(self._target_space(sizes, rematerialize) for sizes in self.targets)
        evaluation = self._evaluation_space(self.features, rematerialize)
        # Old and new pairs are both there while one is added, but then no features are.
        pairs = 2 * self.num_correction_pairs * self.image_size
        vectors = SEARCH_VECTORS * self.image_size
        filters = TRANSFORMED_COPIES * self.num_filters
        compiled = COMPILED_BYTES[rematerialize] // self.itemsize
        search = compiled + filters + vectors + pairs + max(evaluation, pairs)
        held = self.held
        if self.propagate_differences and not rematerialize:
            held += sum(self.features)
        weights = WEIGHT_COPIES * self.num_weights
        peak = weights + held + max(targets, search)
        return BASE_BYTES + round(peak * self.itemsize)

    @staticmethod
    def _evaluation_space(sizes: Sequence[int], rematerialize: bool) -> float:
        kept = 0 if rematerialize else sum(sizes)
        return kept + EVALUATION_MAPS[rematerialize] * max(sizes)

    def _target_space(self, sizes: Sequence[int], rematerialize: bool) -> float:
        unit = self._evaluation_space(sizes, True) if rematerialize else sum(sizes)
        return TARGET_MAPS[rematerialize] * unit


@dataclass(frozen=True)
class MemoryPlan:
    """How a task will work.

    Attributes:
        rematerialize: whether features are computed again instead of kept.
        peak_bytes: estimate of the memory needed that way.
    """

    rematerialize: bool
    peak_bytes: int


def plan_memory(work: Workload, limit: int | None) -> MemoryPlan:
    """The fastest way of working that fits.

    Args:
        work: what is to be done.
        limit: bytes that it may take, None for no limit: features are then kept.

    Raises:
        MemoryLimitError: no way fits.
    """
    plans = [MemoryPlan(choice, work.peak_bytes(choice)) for choice in (False, True)]
    for plan in plans:
        if limit is None or plan.peak_bytes <= limit:
            return plan
    least = min(plan.peak_bytes for plan in plans)
    raise MemoryLimitError(
        f"expected a task that fits into {format_bytes(limit or 0)} of memory. Received: one that "
        f"needs about {format_bytes(least)}; choose a smaller size or a larger memory limit"
    )


def network_workload(
    architecture: Architecture,
    layers: Sequence[str],
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    content_layers: Sequence[str],
    num_correction_pairs: int,
    propagate_differences: bool = False,
) -> Workload:
    """The workload of a task with a float32 network of this architecture.

    Args:
        architecture: the network's.
        layers: every layer that the task names.
        size: (height, width) of the result.
        targets: (height, width) of each image that features are taken from; the first one is
            that of the content, where there is one.
        content_layers: those of `layers` whose features are kept as targets.
        num_correction_pairs: of L-BFGS.
        propagate_differences: see `Workload`.

    Raises:
        LayerError: a layer is unknown.
    """
    names = [spec.name for spec in architecture.up_to(architecture.deepest(layers).name)]

    def sizes(image: Sequence[int]) -> dict[str, int]:
        return {name: _product(architecture.output_shape(name, *image[:2])) for name in names}

    content = sizes(targets[0])
    return Workload(
        image_size=INPUT_CHANNELS * size[0] * size[1],
        features=tuple(sizes(size).values()),
        targets=[tuple(sizes(image).values()) for image in targets],
        held=sum(content[architecture.layer(name).name] for name in content_layers),
        num_weights=sum(architecture.num_parameters(name) for name in names),
        num_filters=sum(
            architecture.num_parameters(name)
            for name in names
            if architecture.layer(name).kind == "conv"
        ),
        num_correction_pairs=num_correction_pairs,
        propagate_differences=propagate_differences,
    )


def available_memory(device: str = "cpu", root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take, None where that cannot be found out.

    Args:
        device: `cpu`, `gpu:N`, or `auto`: the first GPU if there is one.
        root: where `proc` and `sys` are.

    Returns:
        For a CPU what Linux calls available, or what is left in a control group (version 1 or
        2) that holds the process, if that is less. For a GPU what its driver reports as free.
    """
    host = _least([_meminfo(root), *_control_groups(root)])
    if device == "cpu":
        return host
    gpu = _free_on_gpu(0 if device == "auto" else int(device.removeprefix("gpu:")))
    return _least([host, gpu]) if device == "auto" else gpu


def format_bytes(count: int) -> str:
    """Bytes for people, in GiB or MiB."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB"


def _product(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _least(values: Sequence[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _meminfo(root: Path) -> int | None:
    values = _fields(root / "proc/meminfo")
    return values["MemAvailable:"] * 1024 if "MemAvailable:" in values else None


def _control_groups(root: Path) -> list[int]:
    """What is left in each control group that the process is in."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            top, limit = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            used = "memory.usage_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        for folder in [root / top / part for part in (group, *group.parents)]:
            values = [_number(folder / name) for name in (limit, used)]
            if values[0] is not None and values[1] is not None:
                # Pages of files that were read are given back when they are needed.
                reclaimable = _fields(folder / "memory.stat").get("inactive_file", 0)
                found.append(max(0, values[0] - values[1] + reclaimable))
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # version 2 says "max" where there is no limit
        return None


def _fields(path: Path) -> Mapping[str, int]:
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _free_on_gpu(number: int) -> int | None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = str(number)
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        if number >= len(names) or names[number] in ("", "-1"):
            return None
        wanted = names[number]
    command = ["nvidia-smi", f"--id={wanted}", "--query-gpu=memory.free"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return int(done.stdout) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
