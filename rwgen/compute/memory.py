"""How much memory a task needs at its peak, and how much is available.

The estimate counts feature maps. Its constants come from the peaks that `benchmarks/memory.py`
measures (docs/performance.md). Nothing here needs TensorFlow, so a task that cannot fit is refused
before any work.
"""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rwgen.errors import MemoryLimitError
from rwgen.network.architecture import INPUT_CHANNELS, Architecture, LayerSpec
from rwgen.optimize.config import OptimizerConfig

BASE_BYTES = 980 * 2**20
"""The process with everything imported, without weights and features."""

COMPILED_BYTES = {False: 260 * 2**20, True: 700 * 2**20}
"""Memory that compilation leaves behind, keyed by `recompute`, which compiles every segment
separately."""

EVALUATION_MAPS = {False: 3.8, True: 5.9}
"""Working space of one evaluation in units of the largest feature map, keyed by `recompute`.
Without recomputation, all feature maps are kept in addition."""

GRAPH_COPIES = 2.5
"""Copies of all kept feature maps if the search is not compiled, padded ones included."""

GUIDED_COPIES = 3.0
"""Space that weighting the features of a layer takes, its gradient included, in units of their
size."""

TARGET_MAPS = {False: 4.9, True: 1.15}
"""Working space of targets and weighting factors, keyed by `recompute`: in units of all feature
maps, or with recomputation of the working space of an evaluation."""

SEARCH_VECTORS = 14
"""Vectors of the image's size that a search holds in addition to the pairs of differences."""

TILED_VECTORS = 14
"""Vectors of the image's size that a search in tiles holds beyond `SEARCH_VECTORS`: what each tile
adds to the gradient is as large as the image."""

TILE_SIDES = (1024, 512, 256)
"""Sides of tiles in pixels, the fastest first."""

TILE_SURROUNDINGS = 32
"""Pixels that the features of a tile see beyond it, as estimated: those of the default network."""

PAIRS_BYTES = 2**29
"""Most that the pairs of differences of a task that tiles are made for take, unless there are only
`MIN_PAIRS`. Otherwise they would be most of what a large image needs in tiles."""

MIN_PAIRS = 3
"""Number of pairs that such a search keeps at least, unless its settings allow fewer."""

ONEDNN_FACTOR = 1.25
"""Ratio of the peak with oneDNN to that without: TensorFlow then keeps freed memory, so that pages
are not allocated again in every evaluation (docs/performance.md)."""

WEIGHT_COPIES = 2
"""The caller's network and the one that computes."""

COMPILED_CHANNELS = 256
"""Smallest number of input and of output channels of a convolution that gains much by XLA and
Winograd's algorithm; with fewer, an ordinary graph is nearly as fast (docs/performance.md)."""

COMPILED_MULTIPLICATIONS = 3e11
"""Number of multiplications of a search, in forward passes through such convolutions, from which on
compiling it with XLA saves more time than it takes."""

WINOGRAD_CHANNELS = 64
"""Smallest number of input and of output channels for which Winograd's algorithm pays."""

TRANSFORMED_COPIES = 4
"""Size of transformed filters in units of the filters: 6x6 numbers for each 3x3 kernel."""


@dataclass(frozen=True)
class Workload:
    """What decides how much memory a task needs; all sizes count numbers, not bytes.

    Attributes:
        image_size: size of the result, 3 * height * width.
        features: size of each layer's output for the result, in forward order.
        targets: the same for each image that features are taken from.
        held: size of the target features that are kept during the search (content layers).
        guided: size of the weighted copies of features that regions add, for each layer whose Gram
            matrices are compared.
        num_weights: number of weights of the network.
        num_filters: number of weights of the layers whose filters are also kept transformed
            (`rwgen.compute.winograd`).
        num_correction_pairs: pairs of differences of L-BFGS.
        compiled: whether the search is compiled with XLA even if features are kept; recomputed
            features always are.
        propagate_differences: whether a target's features of every layer are kept, unless features
            are recomputed (`rwgen.synthesis.differences`).
        itemsize: bytes of a number.
        tiles: size of each layer's output for a tile, with what it sees around it, by the sides of
            tiles that the image has several of; none if the task has no tiles.
    """

    image_size: int
    features: Sequence[int]
    targets: Sequence[Sequence[int]]
    held: int
    num_weights: int
    num_filters: int
    num_correction_pairs: int
    compiled: bool = True
    propagate_differences: bool = False
    itemsize: int = 4
    guided: Sequence[int] = ()
    tiles: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def tiled_bytes(self, side: int) -> int:
        """The same if features are computed in tiles of a side, which `tiles` has."""
        work = dataclasses.replace(
            self,
            features=self.tiles[side],
            targets=[self.tiles[side]],
            held=0,
            guided=(),
            compiled=False,
            propagate_differences=False,
        )
        # Nothing compiles tiles, and without oneDNN an ordinary graph would take far longer. What
        # it keeps of an evaluation is not free when a pair is added.
        kept = work._evaluation_space(work.features, recompute=False) * self.itemsize
        vectors = TILED_VECTORS * self.image_size * self.itemsize
        return round(ONEDNN_FACTOR * (work.peak_bytes(recompute=False) + vectors) + kept)

    def peak_bytes(self, recompute: bool) -> int:
        """Peak resident memory of the process in bytes, within about 30 %."""
        targets = max(self._target_space(sizes, recompute) for sizes in self.targets)
        evaluation = self._evaluation_space(self.features, recompute)
        # All copies are kept for the gradient or, with recomputation, those of one segment.
        evaluation += GUIDED_COPIES * (max if recompute else sum)(self.guided or [0])
        # Adding a pair holds the old and the new pairs at once, but no features at that time.
        pairs = 2 * self.num_correction_pairs * self.image_size
        vectors = SEARCH_VECTORS * self.image_size
        compiled = 0
        if recompute or self.compiled:
            compiled = COMPILED_BYTES[recompute] // self.itemsize
            compiled += TRANSFORMED_COPIES * self.num_filters
        search = compiled + vectors + pairs + max(evaluation, pairs)
        held = self.held
        if self.propagate_differences and not recompute:
            held += sum(self.features)
        weights = WEIGHT_COPIES * self.num_weights
        peak = weights + held + max(targets, search)
        return BASE_BYTES + round(peak * self.itemsize)

    def _evaluation_space(self, sizes: Sequence[int], recompute: bool) -> float:
        copies = 0.0 if recompute else 1.0 if self.compiled else GRAPH_COPIES
        return copies * sum(sizes) + EVALUATION_MAPS[recompute] * max(sizes)

    def _target_space(self, sizes: Sequence[int], recompute: bool) -> float:
        unit = self._evaluation_space(sizes, True) if recompute else sum(sizes)
        return TARGET_MAPS[recompute] * unit


def limited_pairs(num_correction_pairs: int, image_bytes: int) -> int:
    """Number of pairs of differences that the search of a task that may need tiles keeps.

    It is the same if features are kept after all: memory does not decide the image, and a search
    can be resumed with more or less of it.

    Args:
        num_correction_pairs: number that the settings allow.
        image_bytes: size of the image in the precision of the search.
    """
    return min(num_correction_pairs, max(MIN_PAIRS, PAIRS_BYTES // (2 * image_bytes)))


@dataclass(frozen=True)
class MemoryPlan:
    """Whether a task keeps features, recomputes them, or computes them in tiles.

    Attributes:
        recompute: whether features are recomputed instead of kept.
        peak_bytes: estimate of the peak memory.
        tile: side of the tiles in which features are computed, or None.
    """

    recompute: bool
    peak_bytes: int
    tile: int | None = None


def plan_memory(work: Workload, limit: int | None) -> MemoryPlan:
    """Choose the first way of working that fits: features kept, the largest tiles, recomputed.

    Features of a search that is not compiled are kept before tiles only if oneDNN fits too.

    Args:
        work: the task.
        limit: bytes that it may take; None means no limit, and features are kept.

    Raises:
        MemoryLimitError: the task does not fit in any way.
    """
    kept = MemoryPlan(False, work.peak_bytes(False))
    tiles = [MemoryPlan(False, work.tiled_bytes(side), side) for side in work.tiles]
    # Without oneDNN, for which there must be room, an ordinary graph takes longer than tiles.
    is_roomy = work.compiled or limit is None or ONEDNN_FACTOR * kept.peak_bytes <= limit
    first = [kept, *tiles] if is_roomy else [*tiles, kept]
    plans = [*first, MemoryPlan(True, work.peak_bytes(True))]
    for plan in plans:
        if limit is None or plan.peak_bytes <= limit:
            return plan
    least = min(plan.peak_bytes for plan in plans)
    raise MemoryLimitError(
        f"expected a task that fits into {format_bytes(limit or 0)} of memory. Received: one that "
        f"needs about {format_bytes(least)}; choose a smaller size or a larger memory limit"
    )


@dataclass(frozen=True)
class LayerSize:
    """What one layer adds to a workload.

    Attributes:
        output: size of its output for an image of (height, width).
        multiplications: number of its multiplications, for an image of (height, width), that
            compilation makes much faster; see `COMPILED_CHANNELS`.
        num_weights: number of its weights.
        is_transformed: whether its filters are also kept transformed in a compiled search.
    """

    output: Callable[[int, int], int]
    multiplications: Callable[[int, int], int]
    num_weights: int
    is_transformed: bool


def workload(
    layers: Mapping[str, LayerSize],
    *,
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    content_layers: Sequence[str],
    optimizer: OptimizerConfig,
    propagate_differences: bool = False,
    style_layers: Sequence[str] = (),
    num_regions: int = 1,
    has_tiles: bool = False,
    itemsize: int = 4,
) -> Workload:
    """The workload of a task.

    Args:
        layers: every layer up to the deepest one that the task reads, by name, in forward order.
        size: (height, width) of the result.
        targets: (height, width) of each image that features are taken from, the content image
            first.
        content_layers: layers, of the same names, whose target features are kept.
        optimizer: settings of the search.
        propagate_differences: see `Workload`.
        style_layers: layers, of the same names, whose Gram matrices are compared in regions.
        num_regions: number of regions, each of which weights the features of these layers anew.
        has_tiles: whether the task and its network can be computed in tiles.
        itemsize: bytes of a number.
    """

    def sizes(image: Sequence[int]) -> tuple[int, ...]:
        return tuple(layer.output(image[0], image[1]) for layer in layers.values())

    compiled = optimizer.jit_compile
    if compiled is None:
        forward = sum(layer.multiplications(size[0], size[1]) for layer in layers.values())
        compiled = forward * optimizer.max_iterations >= COMPILED_MULTIPLICATIONS
    transformed = [layer for layer in layers.values() if layer.is_transformed]
    content = dict(zip(layers, sizes(targets[0]), strict=True))
    own = dict(zip(layers, sizes(size), strict=True))
    image_size = INPUT_CHANNELS * size[0] * size[1]
    pairs = optimizer.num_correction_pairs
    return Workload(
        image_size=image_size,
        features=tuple(own.values()),
        targets=[sizes(image) for image in targets],
        held=sum(content[name] for name in content_layers),
        guided=[(num_regions - 1) * own[name] for name in dict.fromkeys(style_layers)],
        num_weights=sum(layer.num_weights for layer in layers.values()),
        num_filters=sum(layer.num_weights for layer in transformed),
        num_correction_pairs=limited_pairs(pairs, itemsize * image_size) if has_tiles else pairs,
        compiled=compiled,
        propagate_differences=propagate_differences,
        itemsize=itemsize,
        tiles={
            side: sizes((side + 2 * TILE_SURROUNDINGS,) * 2)
            for side in TILE_SIDES
            if has_tiles and max(size) > side
        },
    )


def architecture_workload(
    architecture: Architecture,
    layers: Sequence[str],
    *,
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    content_layers: Sequence[str],
    optimizer: OptimizerConfig,
    propagate_differences: bool = False,
    style_layers: Sequence[str] = (),
    num_regions: int = 1,
    has_tiles: bool = False,
) -> Workload:
    """The workload of a task with a float32 network of an architecture, on a CPU.

    Args:
        architecture: the network's.
        layers: every layer that the task reads, by any of their names.
        size: see `workload`.
        targets: see `workload`.
        content_layers: see `workload`; any of their names.
        optimizer: see `workload`.
        propagate_differences: see `workload`.
        style_layers: see `workload`; any of their names.
        num_regions: see `workload`.
        has_tiles: see `workload`.

    Raises:
        LayerError: a layer is unknown.
    """
    specs = architecture.needed(layers)
    return workload(
        {spec.name: _layer_size(architecture, spec, optimizer.winograd) for spec in specs},
        size=size,
        targets=targets,
        content_layers=[architecture.layer(name).name for name in content_layers],
        optimizer=optimizer,
        propagate_differences=propagate_differences,
        style_layers=[architecture.layer(name).name for name in style_layers],
        num_regions=num_regions,
        has_tiles=has_tiles,
    )


def compiled_multiplications(kernel: Sequence[int] | None, output: int) -> int:
    """Number of multiplications of a convolution that compilation makes much faster.

    Args:
        kernel: shape [height, width, channels in, channels out], or None for a layer without one.
        output: size of its output.
    """
    if kernel is None or len(kernel) != 4 or min(kernel[2:]) < COMPILED_CHANNELS:
        return 0
    return output * math.prod(kernel[:-1])


def _layer_size(architecture: Architecture, spec: LayerSpec, winograd: bool) -> LayerSize:
    kernel = architecture.kernel_shape(spec.name)

    def output(height: int, width: int) -> int:
        return math.prod(architecture.output_shape(spec.name, height, width))

    def multiplications(height: int, width: int) -> int:
        return compiled_multiplications(kernel, output(height, width))

    return LayerSize(
        output=output,
        multiplications=multiplications,
        num_weights=architecture.num_parameters(spec.name),
        is_transformed=winograd
        and spec.kind == "conv"
        and min((kernel or ())[2:]) >= WINOGRAD_CHANNELS,
    )


def available_memory(device: str = "cpu", root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take, or None if unknown.

    Args:
        device: `cpu`, `gpu:N`, or `auto` for the first GPU if there is one.
        root: folder of `proc` and `sys`.

    Returns:
        For a CPU, the memory that Linux reports as available, or what remains in a control group
        (version 1 or 2) of the process if that is less. For a GPU, what its driver reports as
        free.
    """
    host = _least([_meminfo(root), *_control_groups(root)])
    if device == "cpu":
        return host
    gpu = _free_on_gpu(0 if device == "auto" else int(device.removeprefix("gpu:")))
    return _least([host, gpu]) if device == "auto" else gpu


def format_bytes(count: int) -> str:
    """Format a number of bytes in GiB or MiB."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB"


def _least(values: Sequence[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _meminfo(root: Path) -> int | None:
    values = _fields(root / "proc/meminfo")
    return values["MemAvailable:"] * 1024 if "MemAvailable:" in values else None


def control_groups(root: Path, controller: str) -> list[tuple[Path, int]]:
    """Folders of the control groups of this process, inner ones first, and the version of each.

    Args:
        root: folder of `proc` and `sys`.
        controller: such as `memory`.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            top, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        group = Path(path.lstrip("/"))
        found += [(top / part, version) for part in (group, *group.parents)]
    return found


def total_memory(root: Path = Path("/")) -> tuple[int | None, int | None]:
    """Bytes of memory of the machine, and the least that a control group allows; None if unknown.

    Args:
        root: folder of `proc` and `sys`.
    """
    total = _fields(root / "proc/meminfo").get("MemTotal:")
    limits = [_number(folder / name) for folder, name, _ in _memory_files(root)]
    # Version 1 writes a huge number for no limit.
    allowed = [limit for limit in limits if limit is not None and limit < 2**60]
    return None if total is None else total * 1024, min(allowed, default=None)


def _memory_files(root: Path) -> list[tuple[Path, str, str]]:
    """Folder of each control group, and its files of the limit and of what is used."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("memory.max", "memory.current"),
    }
    return [(folder, *names[version]) for folder, version in control_groups(root, "memory")]


def _control_groups(root: Path) -> list[int]:
    """Bytes that remain in each control group of the process."""
    found = []
    for folder, *names in _memory_files(root):
        values = [_number(folder / name) for name in names]
        if values[0] is not None and values[1] is not None:
            # Cached pages of files are reclaimed when memory is needed.
            reclaimable = _fields(folder / "memory.stat").get("inactive_file", 0)
            found.append(max(0, values[0] - values[1] + reclaimable))
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # version 2 writes "max" for no limit
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
