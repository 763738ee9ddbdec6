"""The HTML page of a reproduction, a single file that contains all images and charts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rwgen.reproduction.drawing import DARK, LIGHT, draw_chart_svg
from rwgen.reproduction.estimate import Estimate
from rwgen.reproduction.report import Chart, Content
from rwgen.reproduction.setting import Setting

PAPER = (
    "K. He, Y. Wang, J. Hopcroft: A Powerful Generative Model Using Random Weights for the Deep "
    "Image Representation. NIPS 2016."
)
"""Citation of the reproduced paper."""


@dataclass(frozen=True)
class FigureOnPage:
    """A figure on the page.

    Attributes:
        number: number in the paper.
        title: what the figure shows.
        content: images, charts, tables and verdicts.
        commands: shell commands by part.
        seconds: time that its parts took, including shared ones.
    """

    number: int
    title: str
    content: Content
    commands: Mapping[str, str]
    seconds: float


def render_page(
    setting: Setting, figures: Sequence[FigureOnPage], facts: Mapping[str, Any], full: Estimate
) -> str:
    """Return the page as HTML.

    Args:
        setting: setting of the reproduction.
        figures: figures in the paper's order.
        facts: content of `reproduction.json`.
        full: estimated cost of the full scale.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["image"] = _image
    environment.filters["light"] = lambda chart: _svg(chart, LIGHT)
    environment.filters["dark"] = lambda chart: _svg(chart, DARK)
    environment.filters["duration"] = duration
    folder = resources.files("rwgen.reproduction")
    template = environment.from_string((folder / "index.html.j2").read_text(encoding="utf-8"))
    style = (folder / "page.css").read_text(encoding="utf-8")
    return template.render(
        paper=PAPER, setting=setting, figures=figures, facts=facts, full=full, style=style
    )


def duration(seconds: float) -> str:
    """Format seconds as s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _image(file: Path) -> str:
    return _data("image/png", file.read_bytes())


def _svg(chart: Chart, colours: Mapping[str, str]) -> str:
    return _data("image/svg+xml", draw_chart_svg(chart, colours))


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
