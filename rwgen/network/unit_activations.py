"""Normalization of weights so that the mean activation of every filter is one.

Gatys, Ecker and Bethge ("A Neural Algorithm of Artistic Style", 2015) normalize trained networks in
this way, so that all layers have the same influence. The output of each filter changes only by a
constant factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.network.features import POOLS, feature_extractor
from rwgen.network.preprocess import network_input


def unit_activations(network: keras.Model, images: Sequence[NDArray[Any]]) -> keras.Model:
    """Rescale a network so that each filter has a mean activation of one over some images.

    Args:
        network: Convolutions with ReLU and pooling layers, each with one input, such as
            `RanVGG19()`. Not modified.
        images: Images [height, width, 3] of any size, RGB in 0..255. Each has the same weight in
            the mean, whatever its size.

    Returns:
        A model with the same layers and rescaled weights. Filters that no image activates are
        unchanged.

    Raises:
        InvalidInputError: `images` is empty, or the network has other layers.
    """
    if not images:
        raise InvalidInputError("expected at least one image. Received: none")
    layers = network.layers[1:]
    for layer in layers:
        if not isinstance(layer, POOLS) and not _is_rectified(layer):
            raise InvalidInputError(
                "expected only convolutions with ReLU and pooling layers. "
                f"Received: {layer.name} ({type(layer).__name__})"
            )
    convolutions = [layer for layer in layers if _is_rectified(layer)]
    means = _mean_activations(network, [layer.name for layer in convolutions], images)
    copy = keras.models.clone_model(network)
    scales: dict[str, NDArray[Any]] = {}
    for layer in convolutions:
        kernel, *bias = layer.get_weights()
        mean = np.where(means[layer.name] > 0, means[layer.name], 1).astype(kernel.dtype)
        kernel = kernel * np.reshape(scales.get(_convolution_before(layer), 1.0), (-1, 1)) / mean
        copy.get_layer(layer.name).set_weights([kernel, *(values / mean for values in bias)])
        scales[layer.name] = mean
    return copy


def _convolution_before(layer: keras.layers.Layer) -> str:
    """Name of the convolution whose features a layer receives, or of the input."""
    before = layer.input._keras_history.operation
    while isinstance(before, POOLS):
        before = before.input._keras_history.operation
    name: str = before.name
    return name


def _is_rectified(layer: keras.layers.Layer) -> bool:
    rectified = getattr(layer, "activation", None) is keras.activations.relu
    return isinstance(layer, keras.layers.Conv2D) and layer.groups == 1 and rectified


def _mean_activations(
    network: keras.Model, names: Sequence[str], images: Sequence[NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    extractor = feature_extractor(network, names)
    total = {name: np.zeros(network.get_layer(name).filters) for name in names}
    for image in images:
        features = extractor(network_input(image, network.inputs[0].dtype))
        for name, values in features.items():
            wide = tf.cast(values, tf.float64)
            total[name] += tf.reduce_mean(wide, axis=(0, 1, 2)).numpy() / len(images)
    return total
