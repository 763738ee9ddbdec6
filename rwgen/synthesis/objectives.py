"""Objectives: targets computed once and frozen, image in, weighted loss terms out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, ReaderFactory, Reading, plain_reader
from rwgen.errors import LayerError
from rwgen.network.features import feature_extractor, gram_matrix, layer_names
from rwgen.synthesis.config import CONTENT_UNIT, TV_UNIT, StyleConfig, TextureConfig, Weighting
from rwgen.synthesis.differences import difference_extractor
from rwgen.synthesis.losses import content_loss, gram_loss, total_variation
from rwgen.synthesis.weighting import content_factors, feature_scale, style_factors
from rwgen.synthesis.whitening import Perturbation, whitening_matrices

Objective = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Network input [1, height, width, 3] to scalar terms by name; the loss is their sum."""

_Term = dict[str, Reading]
"""For each layer, its share of a term."""


def inversion_objective(
    network: keras.Model,
    image: NDArray[Any],
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    reader_of: ReaderFactory = plain_reader,
    propagate_differences: bool = True,
    perturbation: Perturbation | None = None,
) -> Objective:
    """Equation 1, summed over `layers`.

    Args:
        network: the network whose features are inverted.
        image: [1, height, width, 3], network input of x0.
        layers: layer names of the network.
        weighting: how equation 4 averages.
        reader_of: whether features are kept or computed again, see `rwgen.compute.readers`.
        propagate_differences: do so where the network allows it and features are kept, see
            `rwgen.synthesis.differences`.
        perturbation: gives images near x0 by which the features are whitened, see
            `rwgen.synthesis.whitening`; None leaves them as they are.

    Returns:
        An objective with the term `content`.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for this image.
    """
    names = layer_names(network, layers)
    read = reader_of(feature_extractor(network, names))
    # Differences need the target's features at every layer, so all are kept anyway.
    possible = propagate_differences and reader_of is plain_reader
    differences = difference_extractor(network, image, names) if possible else None
    targets, scales = target_features(read, image, names)
    factors = content_factors(read, image, names, weighting, scales)
    read_candidate = plain_reader(differences) if differences else read
    subtract = differences is None
    whitenings: dict[str, tf.Tensor] = {}
    if perturbation:
        unscaled = {name: target * scales[name] for name, target in targets.items()}
        whitenings = whitening_matrices(read_candidate, unscaled, perturbation, subtract=subtract)
    term = _content_term(targets, scales, factors, whitenings, subtract=subtract)

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"content": tf.add_n(list(read_candidate(candidate, term).values()))}

    return objective


def texture_objective(
    network: keras.Model,
    source: NDArray[Any],
    config: TextureConfig,
    reader_of: ReaderFactory = plain_reader,
) -> Objective:
    """Equation 5.

    Args:
        network: the network whose Gram matrices are matched.
        source: [1, height, width, 3], network input of x0, of any size.
        config: layers and weighting.
        reader_of: whether features are kept or computed again, see `rwgen.compute.readers`.

    Returns:
        An objective with the term `style`, for images of any size.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for this image.
    """
    names = _spatial_layers(network, config.layers)
    read = reader_of(feature_extractor(network, names))
    term = _style_term(read, [source], [1.0], names, config)

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"style": tf.add_n(list(read(candidate, term).values()))}

    return objective


def style_objective(
    network: keras.Model,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    config: StyleConfig,
    reader_of: ReaderFactory = plain_reader,
) -> Objective:
    """Equation 9.

    A term whose weight is zero is neither computed nor reported.

    Args:
        network: the network that gives content and style.
        content: [1, height, width, 3], network input of the content image.
        styles: the same of each style image, of any size.
        config: layers, weights and weighting.
        reader_of: whether features are kept or computed again, see `rwgen.compute.readers`.

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
    read = reader_of(feature_extractor(network, (*content_names, *style_names)))
    # Of each term, the weighted shares of the layers. Every layer is read once.
    shares_of: dict[str, list[tuple[float, _Term]]] = {}
    if content_names:
        targets, scales = target_features(read, content, content_names)
        factors = content_factors(read, content, content_names, config.weighting, scales)
        term = _content_term(targets, scales, factors)
        shares_of["content"] = [(config.content_weight * CONTENT_UNIT, term)]
    if style_names:
        used = [number for number, share in enumerate(shares) if share]
        term = _style_term(
            read,
            [styles[number] for number in used],
            [shares[number] for number in used],
            style_names,
            config,
        )
        shares_of["style"] = [(config.style_weight, term)]

    def reading_of(layer: str) -> Reading:
        def reading(features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                name: tf.add_n([weight * term[layer](features) for weight, term in parts])
                for name, parts in shares_of.items()
                if layer in parts[0][1]
            }

        return reading

    readings = {name: reading_of(name) for name in dict.fromkeys((*content_names, *style_names))}

    def objective(candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        values = read(candidate, readings).values()
        terms = {
            name: tf.add_n([value[name] for value in values if name in value]) for name in shares_of
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
    targets: Mapping[str, tf.Tensor],
    scales: Mapping[str, float],
    factors: Mapping[str, float],
    whitenings: Mapping[str, tf.Tensor] | None = None,
    *,
    subtract: bool = True,
) -> _Term:
    """Equation 1 of features, or of differences from the target's where nothing is subtracted.

    Channels are mixed where a matrix says how.
    """

    def reading_of(name: str) -> Reading:
        target = targets[name] if subtract else 0.0
        mixing = (whitenings or {}).get(name)

        def reading(features: tf.Tensor) -> tf.Tensor:
            difference = features / scales[name] - target
            if mixing is not None:
                difference = tf.tensordot(difference, mixing, 1)
            return factors[name] * content_loss(difference, 0.0)[0]

        return reading

    return {name: reading_of(name) for name in targets}


def _style_term(
    read: Reader,
    images: Sequence[NDArray[Any]],
    shares: Sequence[float],
    names: Sequence[str],
    config: StyleConfig | TextureConfig,
) -> _Term:
    """Equation 5, whose target is a blend of images: what a mixture of their features would give.

    Mean and covariance are those of a picture that looks like each image over its share of the
    positions. One target is within reach; a sum of losses with a target each is not, and what is
    left of it drowns the content (docs/math.md, "Several styles").
    """

    def moments(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scale = feature_scale(features)
        features /= tf.cast(scale, features.dtype)
        shift = tf.reduce_mean(features, axis=[1, 2], keepdims=True) * float(config.shift_features)
        return gram_matrix(features - shift), shift, scale

    found = [read(tf.convert_to_tensor(image), dict.fromkeys(names, moments)) for image in images]
    targets = {name: _mixture([of_image[name] for of_image in found], shares) for name in names}
    shifts = {name: shift for name, (_, shift, _) in targets.items()}
    scales = {name: scale for name, (_, _, scale) in targets.items()}
    # The reciprocals are mean gradients, which add up.
    factors_of = [
        style_factors(read, image, names, config.weighting, scales, shifts) for image in images
    ]
    factors = {
        name: 1 / math.fsum(s / f[name] for s, f in zip(shares, factors_of, strict=True))
        for name in names
    }

    def reading_of(name: str) -> Reading:
        def reading(features: tf.Tensor) -> tf.Tensor:
            gram = gram_matrix(features / scales[name] - shifts[name])
            return factors[name] * gram_loss(gram, targets[name][0])[0]

        return reading

    return {name: reading_of(name) for name in names}


def _mixture(
    moments: Sequence[tuple[tf.Tensor, tf.Tensor, tf.Tensor]], shares: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor, float]:
    """Gram matrix about a shift, shift and scale of features of which each image gives a share.

    Args:
        moments: the same of each image, of features divided by the image's own scale.
        shares: of the images, which sum to 1.

    Returns:
        The same of the mixture, whose scale is the root mean square of the images'.
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
    """Features of an image divided by their scales, and the scales."""

    def target(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = feature_scale(features)
        return features / tf.cast(scale, features.dtype), scale

    targets = read(tf.convert_to_tensor(image), dict.fromkeys(names, target))
    scales = {name: float(scale) for name, (_, scale) in targets.items()}
    return {name: features for name, (features, _) in targets.items()}, scales
