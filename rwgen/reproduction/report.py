"""What a figure shows, as plain data: images, charts, tables and verdicts on claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["holds", "does not hold", "cannot be told"]

NO_TRAINED = "no trained weights were given (--trained)"
"""Reason why a comparison with the trained network is left open."""


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, and how it is measured here.

    Attributes:
        paper: quotation of the paper.
        reading: condition under which the claim counts as true.
    """

    paper: str
    reading: str


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim.

    Attributes:
        claim: the claim.
        outcome: whether the claim holds.
        measured: the numbers behind the outcome.
    """

    claim: Claim
    outcome: Outcome
    measured: str


def judge(claim: Claim, holds: bool | None, measured: str) -> Verdict:
    """Return the verdict on a claim; `holds` is None if it cannot be decided."""
    if holds is None:
        return Verdict(claim, "cannot be told", measured)
    return Verdict(claim, "holds" if holds else "does not hold", measured)


@dataclass(frozen=True)
class Tile:
    """One image of a figure.

    Attributes:
        file: image file.
        name: name of its copy among the figure's raw images, without suffix.
        label: line above the image.
        detail: line below the image, such as its quality.
        description: alternative text.
    """

    file: Path
    name: str
    label: str
    detail: str
    description: str


@dataclass(frozen=True)
class TileRow:
    """A row of images.

    Attributes:
        heading: what the images have in common.
        tiles: the images.
    """

    heading: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Line:
    """A curve: x and y values of equal length, drawn dashed if `dashed`."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True)
class LineChart:
    """Curves in one plot.

    Attributes:
        title: title above the plot.
        x_label: label of the x axis.
        y_label: label of the y axis, with unit.
        lines: the curves.
        description: alternative text.
        log_x: whether the x axis is logarithmic.
        log_y: whether the y axis is logarithmic.
        ticks: names of the x values 0, 1, ... if x is a category.
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
    """Box plots of several samples in each of several groups: quartiles, extremes and means.

    Attributes:
        title: title above the plot.
        y_label: label of the y axis, with unit.
        groups: names of the groups along the x axis.
        samples: one sample per group, by kind.
        description: alternative text.
    """

    title: str
    y_label: str
    groups: Sequence[str]
    samples: Mapping[str, Sequence[Sequence[float]]]
    description: str


Chart = LineChart | BoxChart


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with their names.

    Attributes:
        caption: what the table shows.
        header: names of the columns.
        rows: cells of each row.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Content:
    """Content of a figure.

    Attributes:
        caption: one or two sentences about the figure.
        rows: images.
        charts: charts.
        tables: tables.
        verdicts: verdicts on the paper's claims about the figure.
        numbers: numbers for the figure's JSON file beyond those of its parts.
        remarks: notes for the reader, such as replaced images.
    """

    caption: str
    rows: Sequence[TileRow] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    verdicts: Sequence[Verdict] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def decimals(value: float | None, digits: int = 1, unit: str = "") -> str:
    """Format a number; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"
