"""What one layer adds to a loss term: values of the target, computed once, and a function of both.

Content is eq. 1, style eq. 5, which is a sum over regions (docs/math.md, "Regions").
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader
from rwgen.errors import InvalidInputError
from rwgen.synthesis.config import StyleConfig, TextureConfig
from rwgen.synthesis.guides import Guide, guided_gram
from rwgen.synthesis.losses import content_loss, gram_loss
from rwgen.synthesis.regions import Region
from rwgen.synthesis.weighting import feature_scale, style_factors, whitened_gram
from rwgen.synthesis.whitening import gram_whitening

Values = Mapping[str, Any]
"""Tensors that depend on the targets: for each term, by layer and name."""

MIN_POSITIONS = 1.5
"""Positions of a layer below which its features do not vary; see `Guide.positions`."""

LayerTerm = Callable[[tf.Tensor, Any], tf.Tensor]
"""Maps features of a layer and its values to what it adds to a loss term."""


def content_values(
    targets: Mapping[str, tf.Tensor],
    scales: Mapping[str, float],
    factors: Mapping[str, float],
    whitenings: Mapping[str, tf.Tensor],
    dtype: np.dtype[Any],
    weight: float = 1.0,
) -> dict[str, dict[str, tf.Tensor]]:
    """Values of `content_layer`, by layer.

    Args:
        targets: features to subtract, or nothing if differences from them are read.
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


def content_layer(features: tf.Tensor, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Equation 1 of a layer."""
    difference = features - values.get("target", 0.0)
    if "whitening" in values:
        difference = tf.tensordot(difference, values["whitening"], 1)
    return values["factor"] * _squared(values["gain"], content_loss(difference, 0.0)[0])


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
    """Values of `style_layer`, by layer: those of each region, weighted by its area.

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
    """Values of `_region_layer`, by layer: statistics of a mixture of the sources' features.

    Mean and covariance are those of a picture in which each source fills its share of the
    positions.
    A single target is within reach. A sum of losses with one target each is not, and its remainder
    drowns the content (docs/math.md, "Several styles").
    """
    shares = [source.share for source in region.sources]
    parts = [(styles[source.style], Guide(source.weights)) for source in region.sources]

    def moments(
        image: NDArray[Any], guide: Guide, name: str, features: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if config.shift_features and guide.positions(features) < MIN_POSITIONS:
            raise InvalidInputError(
                f"expected a larger image or region: features at {name} are compared with their "
                f"mean over its positions. Received: {image.shape[2]}x{image.shape[1]} pixels, a "
                "single position there"
            )
        scale = feature_scale(features)
        features /= tf.cast(scale, features.dtype)
        shift = guide.mean(features) * float(config.shift_features)
        return guide.gram(features - shift), shift, scale

    found = [
        read(
            tf.convert_to_tensor(image),
            {name: functools.partial(moments, image, guide, name) for name in names},
        )
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


def style_layer(features: tf.Tensor, values: Sequence[Values]) -> tf.Tensor:
    """Equation 5 of a layer, summed over regions (docs/math.md, "Regions")."""
    return tf.add_n([_region_layer(features, of_region) for of_region in values])


def _region_layer(features: tf.Tensor, values: Values) -> tf.Tensor:
    """Equation 5 of a layer in a region."""
    gram = guided_gram(features - values["shift"], values.get("guide"))
    gram = whitened_gram(_squared(values["gain"], gram), values.get("whitening"))
    return values["factor"] * gram_loss(gram, values["target"])[0]


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


def target_features(
    read: Reader, image: NDArray[Any], names: Sequence[str]
) -> tuple[dict[str, tf.Tensor], dict[str, float]]:
    """Features of an image, and the scales to divide them by, by layer."""

    def target(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return features, feature_scale(features)

    targets = read(tf.convert_to_tensor(image), dict.fromkeys(names, target))
    scales = {name: float(scale) for name, (_, scale) in targets.items()}
    return {name: features for name, (features, _) in targets.items()}, scales
