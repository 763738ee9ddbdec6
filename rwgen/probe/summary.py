"""Results of a probe, layer by layer, and what they amount to; needs no TensorFlow."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerProbe:
    """How much of the photo one draw of the weights keeps in one layer.

    Attributes:
        layer: name of the layer.
        kind: its class.
        shape: shape of its output, without the batch axis.
        seed: seed of the weights and of the noise.
        psnr: PSNR of the reconstruction in decibels, None if there is no reconstruction.
        ssim: SSIM of the reconstruction.
        loss: final loss divided by the loss of the noise.
        reason: why the layer cannot be inverted, empty if it can.
    """

    layer: str
    kind: str
    shape: tuple[int | None, ...]
    seed: int
    psnr: float | None = None
    ssim: float | None = None
    loss: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class LayerSummary:
    """A layer over all seeds: medians, and the range of PSNR.

    Attributes:
        model: name of the architecture.
        layer: name of the layer.
        kind: its class.
        shape: shape of its output, without the batch axis.
        reduction: image side divided by the side of the layer's output, None if the output has no
            spatial axes.
        psnr: median in decibels, None if no seed could be inverted.
        psnr_range: smallest and largest.
        ssim: median.
        loss: median of the final loss divided by the loss of the noise.
        reason: why a seed could not be inverted, empty if all could.
    """

    model: str
    layer: str
    kind: str
    shape: tuple[int | None, ...]
    reduction: int | None
    psnr: float | None
    psnr_range: tuple[float, float] | None
    ssim: float | None
    loss: float | None
    reason: str


def summarize(model: str, image_side: int, probes: Iterable[LayerProbe]) -> list[LayerSummary]:
    """Summarize each layer over its seeds.

    Args:
        model: name of the architecture.
        image_side: side of the photo, in pixels.
        probes: all seeds of a layer, then those of the next.

    Returns:
        One row for each layer, in the order of the probes.
    """
    summaries = []
    for layer, group in itertools.groupby(probes, lambda probe: probe.layer):
        rows = list(group)
        values = [row.psnr for row in rows if row.psnr is not None]
        similarities = [row.ssim for row in rows if row.ssim is not None]
        losses = [row.loss for row in rows if row.loss is not None]
        shape = rows[0].shape
        side = shape[0] if len(shape) == 3 else None
        summaries.append(
            LayerSummary(
                model,
                layer,
                rows[0].kind,
                shape,
                round(image_side / side) if side else None,
                statistics.median(values) if values else None,
                (min(values), max(values)) if values else None,
                statistics.median(similarities) if similarities else None,
                statistics.median(losses) if losses else None,
                next((row.reason for row in rows if row.reason), ""),
            )
        )
    return summaries


def rank_models(summaries: Sequence[LayerSummary]) -> list[tuple[str, float]]:
    """Rank architectures by what they keep at the reductions that they share.

    Args:
        summaries: all layers of all architectures.

    Returns:
        Names with their mean PSNR in decibels, best first. The mean is over the best layer at each
        reduction that every architecture has. Empty if they share none.
    """
    best: dict[str, dict[int, float]] = {}
    for row in summaries:
        kept = best.setdefault(row.model, {})
        if row.reduction is not None and row.psnr is not None:
            kept[row.reduction] = max(row.psnr, kept.get(row.reduction, -math.inf))
    common = set.intersection(*(set(kept) for kept in best.values())) if best else set()
    if not common:
        return []
    means = [(name, statistics.fmean(kept[r] for r in common)) for name, kept in best.items()]
    return sorted(means, key=lambda item: -item[1])
