"""`--profile`: where the seconds of a command go, as a table and as a trace."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rwgen.cli.existing import check_place
from rwgen.files import atomic_write
from rwgen.phases import Phase, listening

REST = "everything else"


@dataclass(frozen=True)
class Span:
    """A phase that has ended.

    Attributes:
        phase: what was done.
        start: seconds from the start of the profile.
        seconds: how long it took, the phases that it contains included.
        own: the same without them.
    """

    phase: Phase
    start: float
    seconds: float
    own: float


class Profile:
    """Measures phases; a listener of `rwgen.phases`."""

    def __init__(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()
        self._open: list[tuple[float, float]] = []  # start of a phase, seconds of those inside it
        self.spans: list[Span] = []

    def began(self, phase: Phase) -> None:
        """Start measuring a phase."""
        self._open.append((self._now(), 0.0))

    def ended(self, phase: Phase) -> None:
        """Note the phase that began last."""
        start, inside = self._open.pop()
        seconds = self._now() - start
        self.spans.append(Span(phase, start, seconds, seconds - inside))
        if self._open:
            outer, other = self._open[-1]
            self._open[-1] = outer, other + seconds

    def trace(self) -> str:
        """All phases as JSON in Chrome's Trace Event Format, which Perfetto opens."""
        events = [
            {
                "name": " ".join(filter(None, (span.phase.name, span.phase.of))),
                "cat": "rwgen",
                "ph": "X",
                "ts": round(span.start * 1e6),
                "dur": round(span.seconds * 1e6),
                "pid": 1,
                "tid": 1,
            }
            for span in sorted(self.spans, key=lambda span: span.start)
        ]
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=1) + "\n"

    def table(self) -> str:
        """Seconds and share of every phase, from first to last; they sum to the total.

        Phases of equal name and object are one row.
        """
        total = self._now()
        seconds: dict[tuple[str, str], float] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            key = span.phase.name, span.phase.of
            seconds[key] = seconds.get(key, 0.0) + span.own
        seconds[REST, ""] = total - sum(seconds.values())
        seconds["total", ""] = total
        width = max(len(name) for name, _ in seconds)
        return "".join(
            f"{name:<{width}}  {of:>11}  {value:8.2f} s  {value / total:4.0%}\n"
            for (name, of), value in seconds.items()
        )

    def _now(self) -> float:
        return time.perf_counter() - self._began


@contextlib.contextmanager
def profiling(path: str | None) -> Iterator[None]:
    """Measure a block; write its trace to a file and its table to standard error.

    Args:
        path: the file to write, or None to measure nothing.

    Raises:
        InvalidInputError: the file cannot be written.
        OutputError: writing it failed.
    """
    if path is None:
        yield
        return
    check_place("--profile", path)
    profile = Profile()
    with listening(profile):
        yield
    atomic_write(path, profile.trace().encode())
    if sys.stderr is not None:
        sys.stderr.write(profile.table())
