"""Objectives: targets are computed once; an image maps to its weighted loss terms.

What depends on the targets, such as Gram matrices and weighting factors, is kept apart from the
function of the image that takes it. So a search whose objective has other targets and the same
structure can use a function that is already traced and compiled (`rwgen.synthesis.reuse`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.plan import ComputePlan
from rwgen.compute.readers import Reader, Reading, plain_reader
from rwgen.errors import InvalidInputError, LayerError
from rwgen.network.features import feature_extractor, layer_names
from rwgen.network.vgg import weight_fingerprints
from rwgen.optimize.checkpoint import fingerprint
from rwgen.synthesis.config import CONTENT_UNIT, TV_UNIT, StyleConfig, TextureConfig, Weighting
from rwgen.synthesis.differences import difference_extractor
from rwgen.synthesis.guides import Guide, guided_gram
from rwgen.synthesis.holes import (
    hole_shares,
    positions_inside,
    positions_outside,
    selecting_reader,
)
from rwgen.synthesis.losses import content_loss, gram_loss, total_variation
from rwgen.synthesis.regions import Region, whole
from rwgen.synthesis.weighting import (
    content_factors,
    feature_scale,
    style_factors,
    whitened_gram,
)
from rwgen.synthesis.whitening import (
    SHRINKAGE,
    Perturbation,
    change_moments,
    gram_whitening,
    inverse_root,
    whitening_matrices,
)

Values = Mapping[str, Any]
"""Tensors that depend on the targets: for each term, by layer and name."""

MIN_POSITIONS = 1.5
"""Positions of a layer below which its features do not vary; see `Guide.positions`."""


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


_LayerTerm = Callable[[tf.Tensor, Any], tf.Tensor]
"""Maps features of a layer and its values to what it adds to a loss term."""


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
        unscaled = {name: target * scales[name] for name, target in targets.items()}
        whitenings = whitening_matrices(read_candidate, unscaled, perturbation, subtract=subtract)
    values: dict[str, Any] = {
        "content": _content_values(
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
        return _summed(reader, candidate, {"content": (names, _content_layer)}, values)

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
    features = [
        {name: value * (own[name] / scales[name]) for name, value in targets.items()}
        for targets, own in found
    ]
    targets = {name: (1 - share) * features[0][name] + share * features[1][name] for name in names}
    factors = content_factors(read, images[0], names, weighting, scales)
    moments: dict[str, NDArray[np.float64]] = {}
    for each, perturbation in zip(features, perturbations, strict=False):
        unscaled = {name: value * scales[name] for name, value in each.items()}
        changes = change_moments(read, unscaled, perturbation, subtract=True)
        moments = {name: value + moments.get(name, 0) for name, value in changes.items()}
    whitenings = {
        name: tf.constant(inverse_root(value, SHRINKAGE), targets[name].dtype)
        for name, value in moments.items()
    }
    values = {
        "content": _content_values(targets, scales, factors, whitenings, np.dtype(images[0].dtype))
    }

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        return _summed(read, candidate, {"content": (names, _content_layer)}, values)

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
    values = {"style": _style_values(read, images, whole(shares), names, config, 1.0, {})}
    if result_network is not None:
        read = plan.reader(feature_extractor(result_network, names))

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        return _summed(read, candidate, {"style": (names, _style_layer)}, values)

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
            its content, see `rwgen.synthesis.holes.fitting_piece`; None means all positions of
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
        "style": _style_values(
            selecting_reader(read, example), [target], whole([1.0]), names, config, 1.0, {}
        ),
    }
    if result_network is not None:
        read = plan.reader(feature_extractor(result_network, names))
    selected = selecting_reader(read, inside)
    is_hole = tf.constant(hole[np.newaxis, ..., np.newaxis])

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        whole_image = tf.where(is_hole, candidate, values["pixels"])
        return _summed(selected, whole_image, {"style": (names, _style_layer)}, values)

    structure = (names, config.whiten_gram, fingerprint(hole))
    return Objective(terms, values, (structure, _weights_of(result_network)))


def style_objective(
    network: keras.Model,
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    config: StyleConfig,
    plan: ComputePlan | None = None,
    regions: Sequence[Region] | None = None,
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

    Returns:
        An objective with the terms `content`, `style` and `tv`, weighted as in the sum.

    Raises:
        LayerError: a layer is unknown.
        InvalidInputError: no weighting factor exists for an image, a style image is so small that a
            layer has a single position, or the number of styles does not match the configuration.
    """
    regions = regions or whole(config.blend(len(styles)))
    content_names = layer_names(network, config.content_layers) if config.content_weight else ()
    style_names = _spatial_layers(network, config.style_layers) if config.style_weight else ()
    extractor = feature_extractor(network, (*content_names, *style_names))
    read = (plan or ComputePlan()).reader(extractor)
    dtype = np.dtype(content.dtype)
    values: dict[str, Any] = {}
    if content_names:
        targets, scales = target_features(read, content, content_names)
        factors = content_factors(read, content, content_names, config.weighting, scales)
        weight = config.content_weight * CONTENT_UNIT
        values["content"] = _content_values(targets, scales, factors, {}, dtype, weight)
    if style_names:
        outputs = extractor.compute_output_shape(content.shape)
        sizes = {name: outputs[name][1:3] for name in style_names}
        values["style"] = _style_values(
            read, styles, regions, style_names, config, config.style_weight, sizes
        )
    if config.tv_weight:
        values["tv"] = tf.constant(config.tv_weight * TV_UNIT, dtype)

    def terms(candidate: tf.Tensor, values: Values) -> dict[str, tf.Tensor]:
        parts: dict[str, tuple[Sequence[str], _LayerTerm]] = {
            "content": (content_names, _content_layer),
            "style": (style_names, _style_layer),
        }
        used = {name: part for name, part in parts.items() if name in values}
        found = _summed(read, candidate, used, values)
        if "tv" in values:
            found["tv"] = values["tv"] * total_variation(candidate)[0]
        return found

    structure = (
        *(content_names, style_names, config.whiten_gram),
        *(config.tv_weight > 0, tuple(region.weights is None for region in regions)),
    )
    return Objective(terms, values, structure)


def _weights_of(network: keras.Model | None) -> Hashable:
    """Fingerprints of the weights of a copy, which do not follow those of its original."""
    return None if network is None else tuple(weight_fingerprints(network).items())


def _summed(
    read: Reader,
    candidate: tf.Tensor,
    terms: Mapping[str, tuple[Sequence[str], _LayerTerm]],
    values: Values,
) -> dict[str, tf.Tensor]:
    """Terms of features: each is a sum over its layers. Every layer is read once."""

    def reading_of(layer: str) -> Reading:
        def reading(features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                name: term(features, values[name][layer])
                for name, (layers, term) in terms.items()
                if layer in layers
            }

        return reading

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


def _content_values(
    targets: Mapping[str, tf.Tensor],
    scales: Mapping[str, float],
    factors: Mapping[str, float],
    whitenings: Mapping[str, tf.Tensor],
    dtype: np.dtype[Any],
    weight: float = 1.0,
) -> dict[str, dict[str, tf.Tensor]]:
    """Values of `_content_layer`, by layer.

    Args:
        targets: features to subtract, or nothing if differences from them are read.
        scales: divisor of each layer's features.
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


def _content_layer(features: tf.Tensor, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Equation 1 of a layer."""
    difference = features * values["gain"]
    if "target" in values:
        difference -= values["target"]
    if "whitening" in values:
        difference = tf.tensordot(difference, values["whitening"], 1)
    return values["factor"] * content_loss(difference, 0.0)[0]


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


def _style_values(
    read: Reader,
    styles: Sequence[NDArray[Any]],
    regions: Sequence[Region],
    names: Sequence[str],
    config: StyleConfig | TextureConfig,
    weight: float,
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, list[dict[str, tf.Tensor]]]:
    """Values of `_style_layer`, by layer: those of each region, weighted by its area.

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
            "shift": shifts[name],
            "target": target,
        }
        if name in whitenings:
            values[name]["whitening"] = whitenings[name]
        if region.weights is not None:
            guide = Guide(region.weights).weights_at(sizes[name])
            values[name]["guide"] = tf.constant(guide, target.dtype)
    return values


def _style_layer(features: tf.Tensor, values: Sequence[Values]) -> tf.Tensor:
    """Equation 5 of a layer, summed over regions (docs/math.md, "Regions")."""
    return tf.add_n([_region_layer(features, of_region) for of_region in values])


def _region_layer(features: tf.Tensor, values: Values) -> tf.Tensor:
    """Equation 5 of a layer in a region."""
    gram = guided_gram(features * values["gain"] - values["shift"], values.get("guide"))
    gram = whitened_gram(gram, values.get("whitening"))
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
    """Features of an image divided by their scales, and the scales, by layer."""

    def target(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = feature_scale(features)
        # As `_content_layer` computes it: the loss of the target itself is exactly zero.
        return features * (1 / tf.cast(scale, features.dtype)), scale

    targets = read(tf.convert_to_tensor(image), dict.fromkeys(names, target))
    scales = {name: float(scale) for name, (_, scale) in targets.items()}
    return {name: features for name, (features, _) in targets.items()}, scales
