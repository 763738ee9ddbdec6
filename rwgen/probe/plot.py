"""Plot of what architectures keep, layer by layer."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from rwgen.palette import OKABE_ITO
from rwgen.probe.summary import LayerSummary

_COLOURS = (*OKABE_ITO, "#000000")
_MARKERS = "osD^vPX"


def plot_probe(summaries: Sequence[LayerSummary]) -> bytes:
    """Plot the PSNR of reconstructions against the resolution of the layer.

    Args:
        summaries: all layers; those without spatial axes or without PSNR are left out.

    Returns:
        A PNG of 200 dots per inch.
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(row.model for row in summaries))
    for number, name in enumerate(names):
        points = [
            (row.reduction * 1.03 ** (number - (len(names) - 1) / 2), row.psnr, row.psnr_range)
            for row in summaries
            if row.model == name and row.reduction and row.psnr is not None and row.psnr_range
        ]
        if not points:
            continue
        places, medians, ranges = zip(*points, strict=True)
        below = [middle - low for middle, (low, _) in zip(medians, ranges, strict=True)]
        above = [high - middle for middle, (_, high) in zip(medians, ranges, strict=True)]
        axes.errorbar(
            places,
            medians,
            yerr=(below, above),
            label=name,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            capsize=2,
            linewidth=1.2,
        )
    reductions = sorted({row.reduction for row in summaries if row.reduction})
    axes.set_xscale("log", base=2)
    axes.set_xticks(reductions, [f"1/{reduction}" for reduction in reductions])
    axes.minorticks_off()
    axes.set_xlabel("side of the layer, as a share of the image's")
    axes.set_ylabel("PSNR of the reconstruction, dB")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
