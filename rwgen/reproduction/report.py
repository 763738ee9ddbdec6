"""What a figure shows, as plain data: images, charts, tables, and what became of the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, and how it is measured here.

    Attributes:
        paper: what the paper says, in its words.
        reading: what must be measured for it to hold.
    """

    paper: str
    reading: str


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: the claim.
        outcome: whether it holds.
        measured: the numbers that say so.
    """

    claim: Claim
    outcome: Outcome
    measured: str


def judge(claim: Claim, holds: bool | None, measured: str) -> Verdict:
    """The verdict for a condition; None where it cannot be told."""
    if holds is None:
        return Verdict(claim, "cannot be told", measured)
    return Verdict(claim, "holds" if holds else "does not hold", measured)


@dataclass(frozen=True)
class Tile:
    """One image of a figure.

    Attributes:
        file: the image.
        name: of its copy among the figure's raw images, without a suffix.
        label: a line above it.
        detail: a line below it, such as its quality.
        description: what it shows, for those who cannot see it.
    """

    file: Path
    name: str
    label: str
    detail: str
    description: str


@dataclass(frozen=True)
class TileRow:
    """Images side by side.

    Attributes:
        heading: what they have in common.
        tiles: the images.
    """

    heading: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Line:
    """One curve: x and y values of equal length; `dashed` sets it apart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True)
class LineChart:
    """Curves in one pair of axes.

    Attributes:
        title: above it.
        x_label: what x is.
        y_label: what y is, with its unit.
        lines: the curves.
        description: what it shows, for those who cannot see it.
        log_x: whether x is logarithmic.
        log_y: whether y is logarithmic.
        ticks: names of x values 0, 1, ..., where x is a category.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    description: str
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[str] = ()


@dataclass(frozen=True)
class BoxChart:
    """Quartiles, extremes and means of several samples in each of several groups.

    Attributes:
        title: above it.
        y_label: what is measured, with its unit.
        groups: names of the groups, along x.
        samples: by kind, one sample for each group.
        description: what it shows, for those who cannot see it.
    """

    title: str
    y_label: str
    groups: Sequence[str]
    samples: Mapping[str, Sequence[Sequence[float]]]
    description: str


Chart = LineChart | BoxChart


@dataclass(frozen=True)
class Table:
    """Numbers in rows; the first cell of a row names it.

    Attributes:
        caption: what it tells.
        header: names of the columns.
        rows: texts.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Content:
    """What a figure has to show.

    Attributes:
        caption: what it is, in a sentence or two.
        rows: images.
        charts: curves and boxes.
        tables: numbers to read.
        verdicts: the paper's claims about it.
        numbers: what the figure adds to those of its parts, for its JSON.
        remarks: what a reader must know, such as what stands in for what.
    """

    caption: str
    rows: Sequence[TileRow] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    verdicts: Sequence[Verdict] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def decimals(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number for readers; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"
