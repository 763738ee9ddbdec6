"""How close two images are to networks with other seeds than the one that made them.

All networks are VGG-19s without biases, so an image with half the contrast around the mean color
has features half as large, in every layer.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.metrics.config import HELD_OUT_LAYERS, HELD_OUT_SEEDS
from rwgen.network.architecture import VGG19
from rwgen.network.features import feature_extractor, gram_matrix
from rwgen.network.lookup import load_recipe
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import ZERO_BIAS_NETWORK
from rwgen.network.vgg import build_network


class HeldOutNetworks:
    """Networks that judge images; built once, for any number of images."""

    def __init__(
        self, layers: Sequence[str] = HELD_OUT_LAYERS, seeds: Sequence[int] = HELD_OUT_SEEDS
    ) -> None:
        """Build the networks.

        Args:
            layers: conv or pool layers whose features are compared.
            seeds: seeds of the weights, one network each.

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
        """Distance between the Gram matrices of two images.

        Args:
            image: [height, width, 3], RGB in 0..255.
            source: the same, of any size.
            shift_features: subtract each image's mean features first, so that covariances are
                compared.

        Returns:
            The median over networks of the mean over layers of ||G(image) - G(source)||^2 divided
            by ||G(source)||^2.

        Raises:
            InvalidInputError: an image is too small for the layers, or the source has Gram
                matrices of zeros.
        """
        return self.gram_distance_from(source, shift_features=shift_features)(image)

    def gram_distance_from(
        self, source: NDArray[Any], *, shift_features: bool = True
    ) -> Callable[[NDArray[Any]], float]:
        """Function of an image that returns its `gram_distance` from one source.

        The Gram matrices of the source are computed once, here.

        Raises:
            InvalidInputError: the source is too small for the layers, or has Gram matrices of
                zeros.
        """
        return self._distance_from(source, lambda x: _gram(x, shift_features), np.asarray)

    def content_distance(self, image: NDArray[Any], content: NDArray[Any]) -> float:
        """Distance between the features of two images, position by position.

        The mean over positions is subtracted from the features of each image, because a uniform
        change of color does not change the content.

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
        return self.content_distance_from(content)(image)

    def content_distance_from(self, content: NDArray[Any]) -> Callable[[NDArray[Any]], float]:
        """Function of an image that returns its `content_distance` from one content.

        The features of the content are computed once, here.

        Raises:
            InvalidInputError: the content is too small for the layers, or has the same features
                everywhere.
        """
        # Features are kept as float32 and shifted in float64 for each image: half the memory.
        distance = self._distance_from(content, np.asarray, _shifted)

        def checked(image: NDArray[Any]) -> float:
            if image.shape != content.shape:
                raise InvalidInputError(
                    "expected two images of the same shape. Received: "
                    f"{image.shape} and {content.shape}"
                )
            return distance(image)

        return checked

    def _distance_from(
        self,
        source: NDArray[Any],
        keep: Callable[[tf.Tensor], NDArray[Any]],
        compare: Callable[[NDArray[Any]], NDArray[np.float64]],
    ) -> Callable[[NDArray[Any]], float]:
        """Median over networks of the mean over layers of a relative squared distance.

        Args:
            source: the image that distances are measured from.
            keep: what to keep of the source's features in a layer.
            compare: what of that is compared.
        """
        VGG19.check_image_size(self._layers, source.shape, "a source")
        kept = [
            {name: keep(features) for name, features in extractor(network_input(source)).items()}
            for extractor in self._extractors
        ]
        for name, values in itertools.chain.from_iterable(layers.items() for layers in kept):
            if not compare(values).any():
                raise InvalidInputError(
                    f"expected an image whose features vary at {name}. Received: a uniform one of "
                    f"{source.shape[1]}x{source.shape[0]} pixels"
                )

        def distance(image: NDArray[Any]) -> float:
            VGG19.check_image_size(self._layers, image.shape, "an image")
            distances = []
            for extractor, expected in zip(self._extractors, kept, strict=True):
                found = extractor(network_input(image))
                shares = []
                for name, values in expected.items():
                    wanted = compare(values)
                    difference = compare(keep(found[name])) - wanted
                    shares.append(np.sum(difference**2) / np.sum(wanted**2))
                distances.append(np.mean(shares))
            return float(np.median(distances))

        return distance


def gram_distance(
    image: NDArray[Any],
    source: NDArray[Any],
    *,
    layers: Sequence[str] = HELD_OUT_LAYERS,
    seeds: Sequence[int] = HELD_OUT_SEEDS,
    networks: HeldOutNetworks | None = None,
) -> float:
    """Distance between covariances of features under networks that made neither image.

    Args:
        image: [height, width, 3], RGB in 0..255.
        source: the same, of any size.
        layers: conv or pool layers of a VGG-19 without biases.
        seeds: seeds of its weights, one network each.
        networks: networks already built, for several calls; they replace `layers` and `seeds`.
            None builds them.

    Returns:
        The median over networks of the mean over layers of ||G(image) - G(source)||^2 divided by
        ||G(source)||^2, where G is the Gram matrix of features minus their means.

    Raises:
        InvalidInputError: an image is too small for the layers, or the source has the same
            features everywhere.
        LayerError: a layer is unknown.
    """
    return (networks or HeldOutNetworks(layers, seeds)).gram_distance(image, source)


def _shifted(features: tf.Tensor) -> NDArray[np.float64]:
    values = tf.cast(features, tf.float64)
    shifted: NDArray[np.float64] = (values - tf.reduce_mean(values, [1, 2], keepdims=True)).numpy()
    return shifted


def _gram(features: tf.Tensor, shift_features: bool) -> NDArray[np.float64]:
    values = _shifted(features) if shift_features else tf.cast(features, tf.float64)
    matrix: NDArray[np.float64] = gram_matrix(values).numpy()
    return matrix
