"""Objectives: targets computed once and frozen, image in, weighted loss terms out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.config import CONTENT_UNIT, TV_UNIT, StyleConfig, TextureConfig, Weighting
from rwgen.differences import difference_extractor
from rwgen.errors import LayerError
from rwgen.features import feature_extractor, layer_names
from rwgen.losses import content_loss, gram_loss, gram_matrix, total_variation
from rwgen.weighting import content_factors, feature_scales, style_factors

Objective = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Network input [1, height, width, 3] to scalar terms by name; the loss is their sum."""

_Term = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


def inversion_objective(
    network: keras.Model,
    image: NDArray[Any],
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    propagate_differences: bool = True,
) -> Objective:
    """Equation 1, summed over `layers`.

    Args:
        network: the network whose features are inverted.
        image: [1, height, width, 3], network input of x0.
        layers: layer names of the network.
        weighting: how equation 4 averages.
        propagate_differences: do so where the network allows it (`rwgen.differences`).

    Returns:
        An objective with the term `content`.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for this image.
    """
    names = layer_names(network, layers)
    extractor = feature_extractor(network, names)
    differences = difference_extractor(network, image, names) if propagate_differences else None
    read = differences or extractor
    term = _content_term(extractor, image, names, weighting, subtract=differences is None)

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"content": term(read(candidate))}

    return objective


def texture_objective(
    network: keras.Model, source: NDArray[Any], config: TextureConfig
) -> Objective:
    """Equation 5.

    Args:
        network: the network whose Gram matrices are matched.
        source: [1, height, width, 3], network input of x0, of any size.
        config: layers and weighting.

    Returns:
        An objective with the term `style`, for images of any size.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for this image.
    """
    names = _spatial_layers(network, config.layers)
    extractor = feature_extractor(network, names)
    term = _style_term(extractor, source, names, config)

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"style": term(extractor(candidate))}

    return objective


def style_objective(
    network: keras.Model,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    config: StyleConfig,
) -> Objective:
    """Equation 9.

    A term whose weight is zero is neither computed nor reported.

    Args:
        network: the network that gives content and style.
        content: [1, height, width, 3], network input of the content image.
        styles: the same of each style image, of any size.
        config: layers, weights and weighting.

    Returns:
        An objective with the terms `content`, `style` and `tv`, weighted as in the sum.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for an image, or the number of styles does
            not fit the configuration.
    """
    shares = config.blend(len(styles))
    content_names = layer_names(network, config.content_layers) if config.content_weight else ()
    style_names = _spatial_layers(network, config.style_layers) if config.style_weight else ()
    extractor = feature_extractor(network, (*content_names, *style_names))
    feature_terms: dict[str, list[tuple[float, _Term]]] = {}
    if content_names:
        term = _content_term(extractor, content, content_names, config.weighting)
        feature_terms["content"] = [(config.content_weight * CONTENT_UNIT, term)]
    if style_names:
        feature_terms["style"] = [
            (
                config.style_weight * share,
                _style_term(extractor, style, style_names, config),
            )
            for style, share in zip(styles, shares, strict=True)
            if share
        ]

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        features = extractor(candidate)
        terms = {
            name: tf.add_n([weight * term(features) for weight, term in parts])
            for name, parts in feature_terms.items()
        }
        if config.tv_weight:
            terms["tv"] = config.tv_weight * TV_UNIT * total_variation(candidate)[0]
        return terms

    return objective


def _spatial_layers(network: keras.Model, layers: Sequence[str]) -> tuple[str, ...]:
    """The model's own names of layers that have positions to correlate channels over."""
    names = layer_names(network, layers)
    for name in names:
        if len(network.get_layer(name).output.shape) != 4:
            raise LayerError(f"expected conv or pool layers for Gram matrices. Received: {name!r}")
    return names


def _content_term(
    extractor: keras.Model,
    image: NDArray[Any],
    names: Sequence[str],
    weighting: Weighting,
    *,
    subtract: bool = True,
) -> _Term:
    """Equation 1 of features, or of differences from the target's where nothing is subtracted."""
    targets, scales = target_features(extractor, image, names)
    factors = content_factors(extractor, image, names, weighting, scales)

    def term(features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        losses = []
        for name in names:
            target = targets[name] if subtract else 0.0
            losses.append(factors[name] * content_loss(features[name] / scales[name], target)[0])
        return tf.add_n(losses)

    return term


def _style_term(
    extractor: keras.Model,
    image: NDArray[Any],
    names: Sequence[str],
    config: StyleConfig | TextureConfig,
) -> _Term:
    features, scales = target_features(extractor, image, names)
    shifts = {
        name: tf.reduce_mean(value, axis=[1, 2], keepdims=True) * float(config.shift_features)
        for name, value in features.items()
    }
    targets = {name: gram_matrix(features[name] - shifts[name]) for name in names}
    factors = style_factors(extractor, image, names, config.weighting, scales, shifts)

    def term(features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        losses = []
        for name in names:
            gram = gram_matrix(features[name] / scales[name] - shifts[name])
            losses.append(factors[name] * gram_loss(gram, targets[name])[0])
        return tf.add_n(losses)

    return term


def target_features(
    extractor: keras.Model, image: NDArray[Any], names: Sequence[str]
) -> tuple[dict[str, tf.Tensor], dict[str, float]]:
    """Features of an image divided by their scales, and the scales."""
    outputs = extractor(tf.convert_to_tensor(image))
    features = {name: outputs[name] for name in names}
    scales = feature_scales(features)
    return {name: value / scales[name] for name, value in features.items()}, scales
