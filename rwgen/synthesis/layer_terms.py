"""What one layer adds to a loss term: values of the target, computed once, and a function of both.

Content is eq. 1, style eq. 5, which is a sum over regions (docs/math.md, "Regions").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, SumReading, Tile
from rwgen.errors import InvalidInputError
from rwgen.synthesis.config import StyleConfig, TextureConfig
from rwgen.synthesis.guides import Guide, guided_gram
from rwgen.synthesis.losses import content_loss, gram_loss
from rwgen.synthesis.regions import Region
from rwgen.synthesis.weighting import (
    feature_scale,
    mean_square,
    scale_of,
    style_factors,
    whitened_gram,
)
from rwgen.synthesis.whitening import gram_whitening

Values = Mapping[str, Any]
"""Tensors that depend on the targets: for each term, by layer and name."""

MIN_POSITIONS = 1.5
"""Positions of a layer below which its features do not vary; see `Guide.positions`."""


@dataclass(frozen=True)
class LayerTerm:
    """What a layer adds to a loss term.

    Attributes:
        sums: maps features of a tile, and the values of the layer, to sums over its positions.
        loss: maps the sums over all positions, and the values, to the loss.
    """

    sums: Callable[[tf.Tensor, Any, Tile], Any]
    loss: Callable[[Any, Any], tf.Tensor]


def content_values(
    targets: Mapping[str, tf.Tensor],
    scales: Mapping[str, float],
    factors: Mapping[str, float],
    whitenings: Mapping[str, tf.Tensor],
    dtype: np.dtype[Any],
    weight: float = 1.0,
) -> dict[str, dict[str, tf.Tensor]]:
    """Values of `CONTENT_LAYER`, by layer.

    Args:
        targets: features to subtract, or nothing if differences from them are read, or tiles have
            them.
        scales: divisor of each layer's features, the targets' too.
        factors: weighting factor of each layer.
        whitenings: matrix to multiply the channels of a layer by.
        dtype: of the network input.
        weight: of the term.
    """
    values = {}
    for name, scale in scales.items():
        values[name] = _scalars(scale, factors[name], weight, dtype)
        if name in targets:
            values[name]["target"] = targets[name]
        if name in whitenings:
            values[name]["whitening"] = whitenings[name]
    return values


def _content_sums(features: tf.Tensor, values: Values, tile: Tile) -> tf.Tensor:
    """The sum of eq. 1."""
    target = values.get("target", 0.0) if tile.other is None else tile.other
    difference = features - target
    if "whitening" in values:
        difference = tf.tensordot(difference, values["whitening"], 1)
    return content_loss(difference, 0.0)[0] * tile.share(features)


def _content_loss(loss: tf.Tensor, values: Values) -> tf.Tensor:
    return values["factor"] * _squared(values["gain"], loss)


CONTENT_LAYER = LayerTerm(_content_sums, _content_loss)
"""Equation 1 of a layer."""


def _squared(gain: tf.Tensor, moments: tf.Tensor) -> tf.Tensor:
    """Second moments of features times a gain, from those of the features.

    They are far fewer than the features, and the square of a gain could overflow.
    """
    return gain * (gain * moments)


def _scalars(
    scale: float, factor: float, weight: float, dtype: np.dtype[Any]
) -> dict[str, tf.Tensor]:
    """Reciprocal of a scale, and weight times factor, in the precision of the search."""
    with np.errstate(over="ignore"):
        gain = dtype.type(1) / dtype.type(scale)
        return {
            "gain": tf.constant(gain, dtype),
            "factor": tf.constant(dtype.type(weight) * dtype.type(factor), dtype),
        }


def style_values(
    read: Reader,
    styles: Sequence[NDArray[Any]],
    regions: Sequence[Region],
    names: Sequence[str],
    config: StyleConfig | TextureConfig,
    weight: float,
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, list[dict[str, tf.Tensor]]]:
    """Values of `STYLE_LAYER`, by layer: those of each region, weighted by its area.

    Args:
        read: reads features of the styles.
        styles: [1, height, width, 3], network input.
        regions: which styles go where.
        names: layers.
        config: shift, whitening and weighting.
        weight: of the term.
        sizes: (height, width) of each layer's features of the result, for regions that are a part
            of it.
    """
    values = [
        _region_values(read, styles, region, names, config, weight * region.area, sizes)
        for region in regions
    ]
    return {name: [of_region[name] for of_region in values] for name in names}


def _region_values(
    read: Reader,
    styles: Sequence[NDArray[Any]],
    region: Region,
    names: Sequence[str],
    config: StyleConfig | TextureConfig,
    weight: float,
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, dict[str, tf.Tensor]]:
    """Values of a region, by layer: statistics of a mixture of the sources' features.

    Mean and covariance are those of a picture in which each source fills its share of the
    positions.
    A single target is within reach. A sum of losses with one target each is not, and its remainder
    drowns the content (docs/math.md, "Several styles").
    """
    shares = [source.share for source in region.sources]
    parts = [(styles[source.style], Guide(source.weights)) for source in region.sources]

    found = [
        _moments(read, image, guide, names, shift_features=config.shift_features)
        for image, guide in parts
    ]
    targets = {name: _mixture([of_image[name] for of_image in found], shares) for name in names}
    shifts = {name: shift for name, (_, shift, _) in targets.items()}
    scales = {name: scale for name, (_, _, scale) in targets.items()}
    whitenings: dict[str, tf.Tensor] = {}
    if config.whiten_gram:
        whitenings = {name: gram_whitening(gram) for name, (gram, _, _) in targets.items()}
    # The reciprocals are mean gradients, which add up.
    factors_of = [
        style_factors(read, image, names, config.weighting, scales, shifts, whitenings, guide)
        for image, guide in parts
    ]
    factors = {
        name: 1 / math.fsum(s / f[name] for s, f in zip(shares, factors_of, strict=True))
        for name in names
    }

    values = {}
    for name in names:
        target = whitened_gram(targets[name][0], whitenings.get(name))
        values[name] = {
            **_scalars(scales[name], factors[name], weight, np.dtype(parts[0][0].dtype)),
            "shift": shifts[name] * scales[name],
            "target": target,
        }
        if name in whitenings:
            values[name]["whitening"] = whitenings[name]
        if region.weights is not None:
            guide = Guide(region.weights).weights_at(sizes[name])
            values[name]["guide"] = tf.constant(guide, target.dtype)
    return values


def _style_sums(features: tf.Tensor, values: Sequence[Values], tile: Tile) -> list[tf.Tensor]:
    """The Gram matrix of each region."""

    def gram(values: Values) -> tf.Tensor:
        guide = values.get("guide")
        weights = None if guide is None else tile.of(guide, features)
        return guided_gram(features - values["shift"], weights) * tile.share(features)

    return [gram(of_region) for of_region in values]


def _style_loss(grams: Sequence[tf.Tensor], values: Sequence[Values]) -> tf.Tensor:
    def loss(gram: tf.Tensor, values: Values) -> tf.Tensor:
        gram = whitened_gram(_squared(values["gain"], gram), values.get("whitening"))
        return values["factor"] * gram_loss(gram, values["target"])[0]

    return tf.add_n([loss(*pair) for pair in zip(grams, values, strict=True)])


STYLE_LAYER = LayerTerm(_style_sums, _style_loss)
"""Equation 5 of a layer, summed over regions (docs/math.md, "Regions")."""


def _moments(
    read: Reader,
    image: NDArray[Any],
    guide: Guide,
    names: Sequence[str],
    *,
    shift_features: bool,
) -> dict[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Gram matrix, shift and scale of an image's features, divided by the scale, by layer."""

    def first(name: str) -> SumReading:
        def sums(features: tf.Tensor, tile: Tile) -> tuple[tf.Tensor, tf.Tensor]:
            if shift_features and guide.positions(tile.size) < MIN_POSITIONS:
                raise InvalidInputError(
                    f"expected a larger image or region: features at {name} are compared with "
                    f"their mean over its positions. Received: {image.shape[2]}x{image.shape[1]} "
                    "pixels, a single position there"
                )
            return mean_square(features, tile), guide.mean(features, tile)

        return SumReading(sums, lambda found: (scale_of(found[0]), found[1]))

    def second(scale: tf.Tensor, shift: tf.Tensor) -> SumReading:
        def sums(features: tf.Tensor, tile: Tile) -> tf.Tensor:
            return guide.gram(features / tf.cast(scale, features.dtype) - shift, tile)

        return SumReading(sums, lambda gram: gram)

    pixels = tf.convert_to_tensor(image)
    scales, shifts = {}, {}
    for name, (scale, mean) in read(pixels, {name: first(name) for name in names}).items():
        scales[name] = scale
        shifts[name] = mean / tf.cast(scale, mean.dtype) * float(shift_features)
    grams = read(pixels, {name: second(scales[name], shifts[name]) for name in names})
    return {name: (grams[name], shifts[name], scales[name]) for name in names}


def _mixture(
    moments: Sequence[tuple[tf.Tensor, tf.Tensor, tf.Tensor]], shares: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor, float]:
    """Gram matrix, shift and scale of a mixture of features.

    Args:
        moments: Gram matrix, shift and scale of each image, of features divided by its scale.
        shares: share of each image; they sum to 1.

    Returns:
        The same of the mixture, whose scale is the root mean square of the images' scales.
    """
    own = [float(scale) for _, _, scale in moments]
    scale = math.sqrt(math.fsum(w * x**2 for w, x in zip(shares, own, strict=True)))
    shift = tf.add_n(
        [w * (x / scale) * m for w, x, (_, m, _) in zip(shares, own, moments, strict=True)]
    )
    grams = []
    for share, x, (gram, own_shift, _) in zip(shares, own, moments, strict=True):
        away = tf.reshape((x / scale) * own_shift - shift, [1, -1, 1])
        about = tf.matmul(away, away, transpose_b=True)
        grams.append(share * ((x / scale) ** 2 * gram + about))
    return tf.add_n(grams), shift, scale


def feature_scales(read: Reader, image: NDArray[Any], names: Sequence[str]) -> dict[str, float]:
    """The scales to divide an image's features by, by layer."""
    reading = SumReading(mean_square, scale_of)
    found = read(tf.convert_to_tensor(image), dict.fromkeys(names, reading))
    return {name: float(scale) for name, scale in found.items()}


def target_features(
    read: Reader, image: NDArray[Any], names: Sequence[str]
) -> tuple[dict[str, tf.Tensor], dict[str, float]]:
    """Features of an image, and the scales to divide them by, by layer."""

    def target(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return features, feature_scale(features)

    targets = read(tf.convert_to_tensor(image), dict.fromkeys(names, target))
    scales = {name: float(scale) for name, (_, scale) in targets.items()}
    return {name: features for name, (features, _) in targets.items()}, scales
