"""Chart of the losses of a search."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from rwgen.palette import OKABE_ITO


class Chart(Figure):
    """A figure that a notebook displays, whichever backend Matplotlib has."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def loss_chart(curves: Mapping[str, Sequence[float]]) -> Chart:
    """Plot losses by iteration.

    Args:
        curves: Numbers of equal count by name: `iteration`, and losses.

    Returns:
        A figure with a logarithmic axis of losses.
    """
    figure = Chart(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, color in zip(curves, ("", "#000000", *OKABE_ITO), strict=False):
        if name != "iteration":
            axes.plot(curves["iteration"], curves[name], label=name, color=color, linewidth=1.5)
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)
    return figure
