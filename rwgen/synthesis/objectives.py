"""Objectives: targets are computed once; an image maps to its weighted loss terms.

What depends on the targets, such as Gram matrices and weighting factors, is kept apart from the
function of the image that takes it. So a search whose objective has other targets and the same
structure can use a function that is already traced and compiled (`rwgen.synthesis.reuse`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.plan import ComputePlan
from rwgen.compute.readers import Reader, SumReading, Tile, plain_reader
from rwgen.errors import InvalidInputError, LayerError
from rwgen.network.features import feature_extractor, layer_names
from rwgen.network.vgg import weight_fingerprints
from rwgen.optimize.checkpoint import fingerprint
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import CONTENT_UNIT, TV_UNIT, StyleConfig, TextureConfig, Weighting
from rwgen.synthesis.differences import difference_extractor
from rwgen.synthesis.hold import Hold
from rwgen.synthesis.holes import (
    hole_shares,
    positions_inside,
    positions_outside,
    selecting_reader,
)
from rwgen.synthesis.layer_terms import (
    CONTENT_LAYER,
    STYLE_LAYER,
    LayerTerm,
    Values,
    content_values,
    feature_scales,
    style_values,
    target_features,
)
from rwgen.synthesis.losses import temporal_loss, total_variation
from rwgen.synthesis.regions import Region, whole
from rwgen.synthesis.style_targets import StyleTargets
from rwgen.synthesis.weighting import (
    content_factors,
)
from rwgen.synthesis.whitening import (
    SHRINKAGE,
    Perturbation,
    change_moments,
    inverse_root,
    whitening_matrices,
)


@dataclass(frozen=True)
class Objective:
    """Maps network input [1, height, width, 3] to scalar terms by name; the loss is their sum.

    Attributes:
        terms: does so, given `values`. It refers to layers of the network, never to the network
            itself.
        values: what depends on the targets.
        structure: what `terms` depends on besides its arguments, the network and the plan.
    """

    terms: Callable[[tf.Tensor, Values], dict[str, tf.Tensor]]
    values: Values
    structure: Hashable

    def __call__(self, candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        """The terms with the objective's own targets."""
        return self.terms(candidate, self.values)


def inversion_objective(
    network: keras.Model,
    image: NDArray[Any],
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    plan: ComputePlan | None = None,
    perturbation: Perturbation | None = None,
) -> Objective:
    """Equation 1, summed over `layers`.

    Args:
        network: the network whose features are inverted.
        image: [1, height, width, 3], network input of x0.
        layers: layer names of the network.
        weighting: how equation 4 averages.
        plan: how features are computed; None keeps them and propagates differences. Differences
            are propagated only in networks that allow it (`rwgen.synthesis.differences`).
        perturbation: draws images near x0 to whiten the features with
            (`rwgen.synthesis.whitening`); None does not whiten them.

    Returns:
        An objective with the term `content`.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for this image.
    """
    plan = plan or ComputePlan(propagate_differences=True)
    names = layer_names(network, layers)
    read = plan.reader(feature_extractor(network, names))
    differences = difference_extractor(network, image, names) if plan.uses_differences else None
    targets, scales = target_features(read, image, names)
    factors = content_factors(read, image, names, weighting, scales)
    read_candidate = plain_reader(differences) if differences else read
    subtract = differences is None
    whitenings: dict[str, tf.Tensor] = {}
    if perturbation:
        whitenings = whitening_matrices(read_candidate, targets, perturbation, subtract=subtract)
    values: dict[str, Any] = {
        "content": content_values(
            targets if subtract else {}, scales, factors, whitenings, np.dtype(image.dtype)
        )
    }
    if differences:
        values["differences"] = differences.values
    compute = differences.compute if differences else None

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        reader = read
        if compute:
            reader = plain_reader(lambda image: compute(image, values["differences"]))
        return _summed(reader, candidate, {"content": (names, CONTENT_LAYER)}, values)

    return Objective(terms, values, (names, subtract, bool(whitenings)))


def morphing_objective(
    network: keras.Model,
    images: Sequence[NDArray[Any]],
    share: float,
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    plan: ComputePlan | None = None,
    perturbations: Sequence[Perturbation] = (),
) -> Objective:
    """Equation 1, summed over `layers`, with features between those of two images.

    Args:
        network: the network whose features are blended.
        images: [1, height, width, 3], network input of two images.
        share: of the second image in the features, from 0 to 1.
        layers: layer names of the network.
        weighting: how equation 4 averages.
        plan: how features are computed; None keeps them. Differences cannot be propagated: the
            target's features are those of no image.
        perturbations: draws images near each image to whiten the features with, as in
            `inversion_objective`; none does not whiten them.

    Returns:
        An objective with the term `content`. The metric does not depend on `share`.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for the first image.
    """
    plan = plan or ComputePlan()
    names = layer_names(network, layers)
    read = plan.reader(feature_extractor(network, names))
    found = [target_features(read, image, names) for image in images]
    scales = found[0][1]
    features = [targets for targets, _ in found]
    targets = {name: (1 - share) * features[0][name] + share * features[1][name] for name in names}
    factors = content_factors(read, images[0], names, weighting, scales)
    moments: dict[str, NDArray[np.float64]] = {}
    for each, perturbation in zip(features, perturbations, strict=False):
        changes = change_moments(read, each, perturbation, subtract=True)
        moments = {name: value + moments.get(name, 0) for name, value in changes.items()}
    whitenings = {
        name: tf.constant(inverse_root(value, SHRINKAGE), targets[name].dtype)
        for name, value in moments.items()
    }
    values = {
        "content": content_values(targets, scales, factors, whitenings, np.dtype(images[0].dtype))
    }

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        return _summed(read, candidate, {"content": (names, CONTENT_LAYER)}, values)

    return Objective(terms, values, (names, bool(whitenings)))


def texture_objective(
    network: keras.Model,
    sources: NDArray[Any] | Sequence[NDArray[Any]],
    config: TextureConfig,
    plan: ComputePlan | None = None,
    result_network: keras.Model | None = None,
) -> Objective:
    """Equation 5.

    Args:
        network: the network whose Gram matrices are matched.
        sources: [1, height, width, 3], network input of x0, of any size; or several.
        config: layers, shares of the sources, and weighting.
        plan: how features are computed; None keeps them.
        result_network: a network with the same layers and weights that sees the result, such as
            one that sees it as a tile; None means `network`.

    Returns:
        An objective with the term `style`, for images of any size.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for a source, it is so small that a layer has
            a single position, or the number of sources does not match the configuration.
    """
    images = [sources] if isinstance(sources, np.ndarray) else sources
    shares = config.blend(len(images))
    names = _spatial_layers(network, config.layers)
    plan = plan or ComputePlan()
    read = plan.reader(feature_extractor(network, names))
    values = {"style": style_values(read, images, whole(shares), names, config, 1.0, {})}
    if result_network is not None:
        read = plan.reader(feature_extractor(result_network, names))

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        return _summed(read, candidate, {"style": (names, STYLE_LAYER)}, values)

    structure = (names, config.whiten_gram)
    return Objective(terms, values, (structure, _weights_of(result_network)))


def inpainting_objective(
    network: keras.Model,
    image: NDArray[Any],
    hole: NDArray[np.bool_],
    config: TextureConfig,
    plan: ComputePlan | None = None,
    result_network: keras.Model | None = None,
    piece: NDArray[Any] | None = None,
) -> Objective:
    """Equation 5 for the positions that see a hole.

    Their target is the Gram matrices of a piece that fits there, or of all positions outside.
    Pixels outside the hole are those of the image, whatever the candidate has there: its gradient
    is zero outside. Features at the hole's border see both, so the two sides must fit together.

    Args:
        network: the network whose Gram matrices are matched.
        image: [1, height, width, 3], network input. What is in its hole hardly counts.
        hole: [height, width], what to fill.
        config: layers and weighting.
        plan: how features are computed; None keeps them.
        result_network: see `texture_objective`.
        piece: [1, height, width, 3], network input of an image that shows at the hole what is like
            its content, see `rwgen.synthesis.pieces.fitting_piece`; None means all positions of
            `image` outside.

    Returns:
        An objective with the term `style`, for images of the same size.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: a layer has less than two positions for the target.
    """
    names = _spatial_layers(network, config.layers)
    plan = plan or ComputePlan()
    shares = hole_shares(network, names, hole)
    example = positions_outside(shares) if piece is None else positions_inside(shares)
    inside = positions_inside(
        hole_shares(network, names, hole, tileable=result_network is not None)
    )
    for name, positions in example.items():
        if len(positions) < 2:
            raise InvalidInputError(
                f"expected a hole that leaves enough of the image for {name}. Received: "
                f"{np.mean(hole):.1%} of {image.shape[2]}x{image.shape[1]} pixels; choose another "
                "hole, a larger image or layers nearer to the image"
            )
    read = plan.reader(feature_extractor(network, names))
    target = image if piece is None else piece
    values = {
        "pixels": tf.constant(image),
        "style": style_values(
            selecting_reader(read, example), [target], whole([1.0]), names, config, 1.0, {}
        ),
    }
    if result_network is not None:
        read = plan.reader(feature_extractor(result_network, names))
    selected = selecting_reader(read, inside)
    is_hole = tf.constant(hole[np.newaxis, ..., np.newaxis])

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        whole_image = tf.where(is_hole, candidate, values["pixels"])
        return _summed(selected, whole_image, {"style": (names, STYLE_LAYER)}, values)

    structure = (names, config.whiten_gram, fingerprint(hole))
    return Objective(terms, values, (structure, _weights_of(result_network)))


def style_objective(
    network: keras.Model,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    config: StyleConfig,
    plan: ComputePlan | None = None,
    regions: Sequence[Region] | None = None,
    hold: Hold | None = None,
    style_targets: StyleTargets | None = None,
) -> Objective:
    """Equation 9.

    A term whose weight is zero is neither computed nor reported.

    Args:
        network: the network of both content and style.
        content: [1, height, width, 3], network input of the content image.
        styles: the same of each style image, of any size.
        config: layers, weights and weighting.
        plan: how features are computed; None keeps them.
        regions: which styles go where; None means all of them everywhere, in the shares of the
            configuration.
        hold: what the image is held to; None means nothing.
        style_targets: keeps what is computed of the styles; None computes it anew.

    Returns:
        An objective with the terms `content`, `style`, `tv` and `temporal`, weighted as in the sum.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for an image, a style image is so small that a
            layer has a single position, or the number of styles does not match the configuration.
    """
    regions = regions or whole(config.blend(len(styles)))
    content_names = layer_names(network, config.content_layers) if config.content_weight else ()
    style_names = _spatial_layers(network, config.style_layers) if config.style_weight else ()
    extractor = feature_extractor(network, (*content_names, *style_names))
    plan = plan or ComputePlan()
    read = plan.reader(extractor)
    dtype = np.dtype(content.dtype)
    values: dict[str, Any] = {}
    if content_names:
        if plan.tile is None:
            targets, scales = target_features(read, content, content_names)
        else:
            targets, scales = {}, feature_scales(read, content, content_names)
            values["tiled content"] = tf.constant(content)
        factors = content_factors(read, content, content_names, config.weighting, scales)
        weight = config.content_weight * CONTENT_UNIT
        values["content"] = content_values(targets, scales, factors, {}, dtype, weight)
    if style_names:
        outputs = extractor.compute_output_shape(content.shape)
        sizes = {name: outputs[name][1:3] for name in style_names}
        compute = functools.partial(
            style_values, read, styles, regions, style_names, config, config.style_weight, sizes
        )
        if style_targets is None:
            values["style"] = compute()
        else:
            key = (
                *(plan, style_names, tuple(sizes.items()), tuple(region.key for region in regions)),
                # All settings but those of the search.
                dataclasses.replace(config, octaves=None, optimizer=OptimizerConfig()),
                tuple(fingerprint(style) for style in styles),
            )
            values["style"] = style_targets.get(key, compute)
    if config.tv_weight:
        values["tv"] = tf.constant(config.tv_weight * TV_UNIT, dtype)
    if hold is not None and hold.weight > 0:
        values["temporal"] = hold.values(content.shape[1:3], dtype)

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        parts: dict[str, tuple[Sequence[str], LayerTerm]] = {
            "content": (content_names, CONTENT_LAYER),
            "style": (style_names, STYLE_LAYER),
        }
        used = {name: part for name, part in parts.items() if name in values}
        reader = read
        if "tiled content" in values:
            reader = plan.reader(extractor, values["tiled content"])
        found = _summed(reader, candidate, used, values)
        if "tv" in values:
            found["tv"] = values["tv"] * total_variation(candidate)[0]
        if "temporal" in values:
            found["temporal"] = temporal_loss(candidate, **values["temporal"])[0]
        return found

    structure = (
        *(content_names, style_names, config.whiten_gram),
        *(config.tv_weight > 0, tuple(region.weights is None for region in regions)),
        "temporal" in values,
    )
    return Objective(terms, values, structure)


def _weights_of(network: keras.Model | None) -> Hashable:
    """Fingerprints of the weights of a copy, which do not follow those of its original."""
    return None if network is None else tuple(weight_fingerprints(network).items())


def _summed(
    read: Reader,
    candidate: tf.Tensor,
    terms: Mapping[str, tuple[Sequence[str], LayerTerm]],
    values: Values,
) -> dict[str, tf.Tensor]:
    """Terms of features: each is a sum over its layers. Every layer is read once."""

    def reading_of(layer: str) -> SumReading:
        used = {name: term for name, (layers, term) in terms.items() if layer in layers}

        def sums(features: tf.Tensor, tile: Tile) -> dict[str, Any]:
            return {
                name: term.sums(features, values[name][layer], tile) for name, term in used.items()
            }

        def losses(sums: Mapping[str, Any]) -> dict[str, tf.Tensor]:
            return {name: term.loss(sums[name], values[name][layer]) for name, term in used.items()}

        return SumReading(sums, losses)

    layers = dict.fromkeys(layer for layers, _ in terms.values() for layer in layers)
    found = read(candidate, {layer: reading_of(layer) for layer in layers}).values()
    return {name: tf.add_n([value[name] for value in found if name in value]) for name in terms}


def _spatial_layers(network: keras.Model, layers: Sequence[str]) -> tuple[str, ...]:
    """The model's own names of layers, which must have positions to correlate channels over."""
    names = layer_names(network, layers)
    for name in names:
        if len(network.get_layer(name).output.shape) != 4:
            raise LayerError(f"expected conv or pool layers for Gram matrices. Received: {name!r}")
    return names
