"""Cost of parts: their work, and the time of other scales from that of finished parts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rwgen.network.architecture import VGG19, Architecture
from rwgen.reproduction.parts import Part, Search
from rwgen.reproduction.store import PartResult

_PREPARATION = 3e11  # multiply-adds that take as long as tracing and compiling a search


def multiply_adds(layer: str, side: int, topology: Architecture = VGG19) -> int:
    """Return the multiply-adds of a forward pass of a square image up to a layer."""
    total = 0
    for spec in topology.up_to(layer):
        kernel = topology.kernel_shape(spec.name)
        if kernel is None:
            continue
        product = 1
        for length in kernel:
            product *= length
        shape = topology.output_shape(spec.name, side, side)
        total += product * (shape[0] * shape[1] if len(shape) == 3 else 1)
    return total


def search_work(search: Search) -> float:
    """Return the multiply-adds of all forward passes of a search."""
    layer, topology = search.layer, search.topology
    return float(sum(multiply_adds(layer, side, topology) * n for side, n in search.sizes))


def part_work(part: Part) -> float:
    """Return the work of a part in multiply-adds, including tracing and compilation."""
    return sum(_PREPARATION * len(search.sizes) + search_work(search) for search in part.searches)


@dataclass(frozen=True)
class Costs:
    """Measured costs of parts.

    Attributes:
        rates: seconds of an evaluation per forward multiply-add, by kind of part and layer.
        overheads: seconds per search beyond its evaluations, by kind of part.
    """

    rates: Mapping[tuple[str, str], float] = field(default_factory=dict)
    overheads: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def measured(cls, made: Iterable[tuple[Part, PartResult]]) -> Costs:
        """Return medians over finished parts other than stacks."""
        rates: dict[tuple[str, str], list[float]] = {}
        overheads: dict[str, list[float]] = {}
        for part, result in made:
            rate = result.seconds_per_evaluation
            if part.kind == "stack" or not rate or rate <= 0:
                continue
            search = part.searches[0]
            finest = multiply_adds(search.layer, search.sizes[-1][0], search.topology)
            rates.setdefault((part.kind, search.layer), []).append(rate / finest)
            spent = sum(rate * n * (side / search.sizes[-1][0]) ** 2 for side, n in search.sizes)
            rest = max(0.0, result.seconds - spent) / len(search.sizes)
            overheads.setdefault(part.kind, []).append(rest)
        return cls(
            {key: statistics.median(values) for key, values in rates.items()},
            {key: statistics.median(values) for key, values in overheads.items()},
        )

    def seconds(self, part: Part) -> float | None:
        """Estimate the time of a part, linear in its multiply-adds (docs/performance.md).

        Returns:
            Seconds, or None if no part of its kind was measured. Draws of a stack count as
            inversions of their layers. A layer that was not measured counts as the deepest
            measured one, since the first layers take longer per multiply-add.
        """
        kind = "invert" if part.kind == "stack" else part.kind
        known = [layer for of, layer in self.rates if of == kind]
        if not known:
            return None
        deepest = self.rates[kind, VGG19.deepest(known).name]
        total = 0.0
        for search in part.searches:
            rate = self.rates.get((kind, search.layer), deepest)
            total += self.overheads[kind] * len(search.sizes) + rate * search_work(search)
        return total


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a scale.

    Attributes:
        parts: number of parts.
        seconds: total time of the parts, run one after another, without unmeasured kinds.
        seconds_by_kind: time by kind of part.
        unknown: kinds of which no part was measured.
    """

    parts: int
    seconds: float
    seconds_by_kind: Mapping[str, float]
    unknown: tuple[str, ...]


def estimate(parts: Iterable[Part], costs: Costs) -> Estimate:
    """Estimate the cost of parts."""
    by_kind: dict[str, float] = {}
    unknown: set[str] = set()
    count = 0
    for part in parts:
        count += 1
        seconds = costs.seconds(part)
        if seconds is None:
            unknown.add(part.kind)
        else:
            by_kind[part.kind] = by_kind.get(part.kind, 0.0) + seconds
    return Estimate(count, sum(by_kind.values()), by_kind, tuple(sorted(unknown)))
