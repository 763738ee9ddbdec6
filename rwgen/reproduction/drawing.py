"""Figures for print and charts for the page, drawn with Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rwgen.images import read_image
from rwgen.palette import OKABE_ITO
from rwgen.reproduction.report import BoxChart, Chart, Content, LineChart, Tile

PRINT_DPI = 300
"""Dots per inch of the PNG files."""

_WIDTH = 7.0  # inches, a text width
_COLUMNS = 7
_CHART_HEIGHT = 2.8
_TITLE_HEIGHT = 0.35
_HEADING = 0.22
_LABELS = 0.34

LIGHT: Mapping[str, str] = {"ink": "#1b1b1f", "paper": "#ffffff", "grid": "#d5d5da"}
"""Colors of the light page and of prints."""

DARK: Mapping[str, str] = {"ink": "#e8e8ec", "paper": "#17181c", "grid": "#3a3b42"}
"""Colors of the dark page."""


def draw_figure(title: str, content: Content) -> bytes:
    """Draw a figure for print.

    Returns:
        A PNG file of 300 dots per inch; equal content gives equal bytes.
    """
    rows = [
        (row.heading if start == 0 else "", row.tiles[start : start + _COLUMNS])
        for row in content.rows
        for start in range(0, len(row.tiles), _COLUMNS)
    ]
    columns = max((len(tiles) for _, tiles in rows), default=1)
    columns = max(columns, min(4, _COLUMNS))
    side = _WIDTH / columns
    heights = [side + _LABELS + (_HEADING if heading else 0) for heading, _ in rows]
    height = _TITLE_HEIGHT + sum(heights) + _CHART_HEIGHT * len(content.charts)
    with _style(LIGHT):
        figure = Figure(figsize=(_WIDTH, height), dpi=PRINT_DPI)
        figure.text(0.01, 1 - 0.2 / height, title, fontsize=10, weight="bold", va="center")
        top = height - _TITLE_HEIGHT
        for (heading, tiles), row_height in zip(rows, heights, strict=True):
            if heading:
                figure.text(0.01, (top - 0.2) / height, heading, fontsize=8, va="center")
            bottom = top - row_height + _LABELS / 2
            for column, tile in enumerate(tiles):
                _draw_tile(figure, tile, column * side, bottom, side, height)
            top -= row_height
        for chart in content.charts:
            top -= _CHART_HEIGHT
            box = (0.1, (top + 0.75) / height, 0.87, (_CHART_HEIGHT - 1.1) / height)
            _draw_chart(figure.add_axes(box), chart, LIGHT)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def draw_chart_svg(chart: Chart, colours: Mapping[str, str]) -> bytes:
    """Draw a chart as SVG with text as paths; equal charts give equal bytes."""
    with _style(colours):
        figure = Figure(figsize=(_WIDTH, 3.4))
        _draw_chart(figure.add_axes((0.1, 0.24, 0.87, 0.66)), chart, colours)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _style(colours: Mapping[str, str]) -> Any:
    ink, paper = colours["ink"], colours["paper"]
    return rc_context(
        {
            "text.color": ink,
            "axes.edgecolor": ink,
            "axes.labelcolor": ink,
            "xtick.color": ink,
            "ytick.color": ink,
            "axes.facecolor": paper,
            "figure.facecolor": paper,
            "legend.facecolor": paper,
            "savefig.facecolor": paper,
            "grid.color": colours["grid"],
            "font.family": "DejaVu Sans",  # ships with Matplotlib
            "svg.hashsalt": "rwgen",
        }
    )


def _draw_tile(
    figure: Figure, tile: Tile, left: float, bottom: float, side: float, height: float
) -> None:
    margin = 0.04
    box = (
        (left + margin) / _WIDTH,
        bottom / height,
        (side - 2 * margin) / _WIDTH,
        (side - 2 * margin) / height,
    )
    axes = figure.add_axes(box)
    axes.imshow(read_image(tile.file) / 255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(tile.label, fontsize=5.5, pad=2)
    axes.text(0.5, -0.03, tile.detail, transform=axes.transAxes, fontsize=5, ha="center", va="top")


def _draw_chart(axes: Axes, chart: Chart, colours: Mapping[str, str]) -> None:
    if isinstance(chart, LineChart):
        _draw_lines(axes, chart, colours)
    else:
        _draw_boxes(axes, chart, colours)
    axes.set_title(chart.title, fontsize=8)
    axes.set_ylabel(chart.y_label, fontsize=7)
    axes.tick_params(which="both", labelsize=6)
    axes.grid(visible=True, axis="y", linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_lines(axes: Axes, chart: LineChart, colours: Mapping[str, str]) -> None:
    for number, line in enumerate(chart.lines):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        marker = "o" if chart.ticks and not line.dashed else None
        axes.plot(
            list(line.x), list(line.y), "--" if line.dashed else "-", color=colour, marker=marker,
            markersize=3, linewidth=1.2, label=line.label,
        )  # fmt: skip
    axes.set_xlabel(chart.x_label, fontsize=7)
    if chart.log_x:
        axes.set_xscale("log")
    if chart.log_y:
        axes.set_yscale("log")
    if chart.ticks:
        axes.set_xticks(range(len(chart.ticks)), chart.ticks, rotation=60)
    axes.legend(fontsize=6, frameon=False)


def _draw_boxes(axes: Axes, chart: BoxChart, colours: Mapping[str, str]) -> None:
    kinds = list(chart.samples)
    width = 0.8 / len(kinds)
    generator = np.random.default_rng(0)
    for number, kind in enumerate(kinds):
        samples: Sequence[Sequence[float]] = chart.samples[kind]
        places = [group + (number - (len(kinds) - 1) / 2) * width for group in range(len(samples))]
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        line = {"color": colours["ink"], "linewidth": 0.8}
        axes.boxplot(
            [list(sample) for sample in samples], positions=places, widths=0.8 * width,
            whis=(0, 100), showmeans=True, patch_artist=True, manage_ticks=False,
            medianprops=line, whiskerprops=line, capprops=line,
            boxprops={"edgecolor": colours["ink"], "facecolor": colour, "alpha": 0.7},
            meanprops={"marker": "D", "markersize": 3, "markerfacecolor": colours["ink"],
                       "markeredgecolor": colours["ink"]},
        )  # fmt: skip
        for place, sample in zip(places, samples, strict=True):
            spread = generator.uniform(-0.12, 0.12, len(sample)) * width
            axes.plot(place + spread, list(sample), ".", color=colours["ink"], markersize=2)
        axes.plot([], [], "s", color=colour, label=kind)
    axes.set_xticks(range(len(chart.groups)), list(chart.groups))
    axes.legend(fontsize=6, frameon=False)
