"""What the layers of an untrained architecture keep of a photo, by inverting it from each.

The paper's outlook: what a network keeps before training is a matter of its architecture.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen import metrics
from rwgen.errors import InvalidInputError, RwgenError
from rwgen.network.features import feature_extractor
from rwgen.network.preprocess import network_input
from rwgen.noise import white_noise
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import StopReason
from rwgen.probe.config import ProbeConfig
from rwgen.probe.reinitialize import reinitialize
from rwgen.synthesis.config import InversionConfig
from rwgen.synthesis.tasks import invert

_SAME = 1e-6
"""Features whose difference is under this share of the largest are the same: float32's rounding."""


@dataclass(frozen=True)
class LayerProbe:
    """What one draw of the weights keeps of the photo in one layer.

    Attributes:
        layer: its name.
        kind: its class.
        shape: of its output, without the batch.
        seed: of the weights and of the noise.
        psnr: of the reconstruction, in decibels; None where there is none.
        ssim: of the reconstruction.
        loss: what is left of the loss of the noise.
        reason: why the layer cannot be inverted, empty where it can.
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
        shape: of its output, without the batch.
        reduction: how many times smaller its sides are than the image's; None without positions.
        psnr: median, in decibels; None where no seed could be inverted.
        psnr_range: smallest and largest.
        ssim: median.
        loss: median share of the loss that is left.
        reason: why a seed cannot be inverted, empty where all can.
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


def probed_layers(model: keras.Model, layers: Sequence[str] = ()) -> tuple[keras.layers.Layer, ...]:
    """The layers that a probe inverts.

    Args:
        model: functional or sequential.
        layers: names; empty means the last layer of each height and width, those that only pad
            left out, and the last of all.

    Returns:
        Layers of the model, in its order.

    Raises:
        InvalidInputError: a name is unknown.
    """
    own = {layer.name: layer for layer in model.layers[1:]}
    unknown = [name for name in layers if name not in own]
    if unknown:
        raise InvalidInputError(
            f"expected layers of {model.name}. Received: {', '.join(unknown)}; it has "
            f"{', '.join(own)}"
        )
    if layers:
        return tuple(layer for name, layer in own.items() if name in layers)
    last: dict[Any, keras.layers.Layer] = {}
    for layer in own.values():
        if isinstance(layer, keras.layers.ZeroPadding2D):
            continue
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4:
            last[tuple(shape[1:3])] = layer
        else:
            last["flat"] = layer
    chosen = {id(layer) for layer in last.values()}
    return tuple(layer for layer in own.values() if id(layer) in chosen)


def probe_layer(
    model: keras.Model, layer: str, image: NDArray[Any], seed: int, config: ProbeConfig
) -> LayerProbe:
    """Draw a model's weights, and invert a photo from one of its layers.

    The search moves frequencies in a box and takes equation 1 as it is, for all layers alike.

    Args:
        model: see `rwgen.probe.reinitialize.reinitialize`; its weights are replaced.
        layer: name of a layer.
        image: [height, width, 3], RGB in 0..255, of a size that the model takes.
        seed: of the weights and of the noise.
        config: iterations and biases.

    Returns:
        PSNR, SSIM and loss, or the reason why there are none.
    """
    reinitialize(model, seed, config.bias_stddev)
    found = model.get_layer(layer)
    output = found.output
    kind = type(found).__name__
    shape = tuple(getattr(output, "shape", (None,)))[1:]
    reason = _obstacle(model, layer, image, seed)
    if reason:
        return LayerProbe(layer, kind, shape, seed, reason=reason)
    inversion = InversionConfig(
        seed=seed,
        octaves=0,
        parameterization="fourier-box",
        whiten_features=False,
        optimizer=OptimizerConfig(max_iterations=config.max_iterations),
    )
    try:
        solution = invert(image, layer, network=model, config=inversion)
    except RwgenError as error:
        return LayerProbe(layer, kind, shape, seed, reason=str(error))
    if solution.iterations == 0 and solution.stop_reason is not StopReason.MAX_ITERATIONS:
        reason = "no change of the noise lowers its loss"
        return LayerProbe(layer, kind, shape, seed, reason=reason)
    pixels = np.rint(solution.image).clip(0, 255)
    return LayerProbe(
        layer,
        kind,
        shape,
        seed,
        metrics.psnr(image, pixels),
        metrics.ssim(image, pixels),
        solution.loss / solution.initial_loss,
    )


def summarize(model: str, image_side: int, probes: Iterable[LayerProbe]) -> list[LayerSummary]:
    """One row for each layer, in the order of the probes.

    Args:
        model: name of the architecture.
        image_side: of the photo, in pixels.
        probes: of all layers and seeds.
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
    """Architectures by what they keep at the reductions that all of them have.

    Args:
        summaries: of all layers of all architectures.

    Returns:
        Names and mean PSNR in decibels, the best first: of the best layer at each reduction that
        every architecture has. Empty where they have none in common.
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


def _obstacle(model: keras.Model, layer: str, image: NDArray[Any], seed: int) -> str:
    """Why a layer cannot be inverted, as far as its features tell; empty where nothing is known."""
    output = model.get_layer(layer).output
    if not isinstance(output, keras.KerasTensor):
        return "it has several outputs"
    if len(output.shape) not in (2, 4):
        return f"its output has {len(output.shape)} axes, not 2 or 4"
    if "float" not in output.dtype:
        return f"its output is of {output.dtype}, which has no gradient"
    extractor = feature_extractor(model, [layer])
    photo, noise = (
        np.asarray(next(iter(extractor(network_input(x)).values())))
        for x in (image, white_noise(seed, image.shape))
    )
    if not np.isfinite(photo).all():
        return "its features are not finite"
    if np.abs(photo - noise).max() <= _SAME * np.abs(photo).max():
        return "its features are the same for the photo and for noise"
    return ""
