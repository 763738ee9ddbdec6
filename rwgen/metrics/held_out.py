"""How close two images are to networks of other seeds than made them.

All networks are VGG-19s without biases, so an image of half the contrast around the mean colour
has features half as large, in every layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.metrics.config import HELD_OUT_SEEDS
from rwgen.network.architecture import VGG19
from rwgen.network.features import feature_extractor, gram_matrix
from rwgen.network.lookup import load_recipe
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import ZERO_BIAS_NETWORK
from rwgen.network.vgg import build_network
from rwgen.synthesis.config import TextureConfig


class HeldOutNetworks:
    """Networks that judge images; made once, for any number of images."""

    def __init__(self, layers: Sequence[str], seeds: Sequence[int] = HELD_OUT_SEEDS) -> None:
        """Build the networks.

        Args:
            layers: conv or pool layers whose features are compared.
            seeds: of the weights, one network each.

        Raises:
            LayerError: a layer is unknown.
        """
        recipe = load_recipe(ZERO_BIAS_NETWORK)
        deepest = VGG19.deepest(layers).name
        self._layers = tuple(layers)
        self._extractors = []
        for seed in seeds:
            judge = dataclasses.replace(recipe, seed=seed, weights_sha256={})
            self._extractors.append(feature_extractor(build_network(judge, deepest), layers))

    def gram_distance(
        self, image: NDArray[Any], source: NDArray[Any], *, shift_features: bool = True
    ) -> float:
        """How far apart the Gram matrices of two images are.

        Args:
            image: [height, width, 3], RGB in 0..255.
            source: the same of any size.
            shift_features: subtract each image's own mean features first, so that covariances are
                compared.

        Returns:
            The median over networks of the mean over layers of ||G(image) - G(source)||^2 divided
            by ||G(source)||^2.

        Raises:
            InvalidInputError: an image is too small for the layers, or the source has Gram
                matrices of zeros.
        """
        return self._distance(image, source, lambda x: _gram(x, shift_features))

    def content_distance(self, image: NDArray[Any], content: NDArray[Any]) -> float:
        """How far apart the features of two images are, position by position.

        From the features of both images their own means over positions are subtracted, because a
        change of colour everywhere moves nothing of a scene.

        Args:
            image: [height, width, 3], RGB in 0..255.
            content: the same shape.

        Returns:
            The median over networks of the mean over layers of ||F(image) - F(content)||^2 divided
            by ||F(content)||^2: the share of the content's variance that is lost or wrong. 1 for
            an image that keeps nothing and adds nothing, more for one that adds something else.

        Raises:
            InvalidInputError: the shapes differ, an image is too small for the layers, or the
                content has the same features everywhere.
        """
        if image.shape != content.shape:
            raise InvalidInputError(
                f"expected two images of one shape. Received: {image.shape} and {content.shape}"
            )
        return self._distance(image, content, _shifted)

    def _distance(
        self,
        image: NDArray[Any],
        source: NDArray[Any],
        statistic: Callable[[tf.Tensor], NDArray[np.float64]],
    ) -> float:
        """The median over networks of the mean over layers of a relative squared distance."""
        VGG19.check_image_size(self._layers, image.shape, "an image")
        VGG19.check_image_size(self._layers, source.shape, "a source")
        distances = []
        for extractor in self._extractors:
            found, expected = (extractor(network_input(x)) for x in (image, source))
            shares = []
            for name, features in expected.items():
                wanted = statistic(features)
                scale = np.sum(wanted**2)
                if scale == 0:
                    raise InvalidInputError(
                        f"expected an image whose features differ at {name}. Received: one of "
                        f"{source.shape[1]}x{source.shape[0]} pixels where all are alike"
                    )
                shares.append(np.sum((statistic(found[name]) - wanted) ** 2) / scale)
            distances.append(np.mean(shares))
        return float(np.median(distances))


def gram_distance(
    image: NDArray[Any],
    source: NDArray[Any],
    *,
    layers: Sequence[str] = TextureConfig().layers,
    seeds: Sequence[int] = HELD_OUT_SEEDS,
) -> float:
    """How far apart the covariances of features are under networks that made neither image.

    Builds the networks; for several images, `HeldOutNetworks` builds them once.

    Args:
        image: [height, width, 3], RGB in 0..255.
        source: the same of any size.
        layers: conv or pool layers of a VGG-19 without biases.
        seeds: of its weights, one network each.

    Returns:
        The median over networks of the mean over layers of ||G(image) - G(source)||^2 divided by
        ||G(source)||^2, where G is of features less their means.

    Raises:
        InvalidInputError: an image is too small for the layers, or the source has the same
            features everywhere.
        LayerError: a layer is unknown.
    """
    return HeldOutNetworks(layers, seeds).gram_distance(image, source)


def _shifted(features: tf.Tensor) -> NDArray[np.float64]:
    values = tf.cast(features, tf.float64)
    shifted: NDArray[np.float64] = (values - tf.reduce_mean(values, [1, 2], keepdims=True)).numpy()
    return shifted


def _gram(features: tf.Tensor, shift_features: bool) -> NDArray[np.float64]:
    values = _shifted(features) if shift_features else tf.cast(features, tf.float64)
    matrix: NDArray[np.float64] = gram_matrix(values).numpy()
    return matrix
