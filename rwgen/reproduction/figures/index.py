"""The figures that can be reproduced."""

from __future__ import annotations

from collections.abc import Sequence

from rwgen.errors import InvalidInputError
from rwgen.reproduction.figures.convergence import FIGURE_5
from rwgen.reproduction.figures.inversions import FIGURE_2, FIGURE_3, FIGURE_4, FIGURE_7
from rwgen.reproduction.figures.styles import FIGURE_9, FIGURE_10
from rwgen.reproduction.figures.textures import FIGURE_8
from rwgen.reproduction.figures.variation import FIGURE_6
from rwgen.reproduction.setting import Figure

FIGURES = {
    figure.number: figure
    for figure in (
        FIGURE_2,
        FIGURE_3,
        FIGURE_4,
        FIGURE_5,
        FIGURE_6,
        FIGURE_7,
        FIGURE_8,
        FIGURE_9,
        FIGURE_10,
    )
}
"""Figures by their number in the paper; its figure 1 is a diagram of the network."""


def choose_figures(numbers: Sequence[int] = ()) -> list[Figure]:
    """Return figures in the paper's order; all of them if no numbers are given.

    Raises:
        InvalidInputError: a figure does not exist.
    """
    unknown = sorted(set(numbers) - set(FIGURES))
    if unknown:
        raise InvalidInputError(
            f"expected figures among {', '.join(map(str, FIGURES))}. "
            f"Received: {', '.join(map(str, unknown))}"
        )
    return [figure for number, figure in FIGURES.items() if not numbers or number in numbers]
