"""Weights rescaled so that every filter's mean activation is one.

Gatys, Ecker and Bethge ("A Neural Algorithm of Artistic Style", 2015) do so with trained networks,
so that all layers weigh alike. What layers compute stays the same up to one factor a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.network.features import feature_extractor
from rwgen.network.preprocess import network_input


def unit_activations(network: keras.Model, images: Sequence[NDArray[Any]]) -> keras.Model:
    """A network whose filters have a mean activation of one over some images and all positions.

    Args:
        network: a chain of convolutions with ReLU and of pooling layers, such as `RanVGG19()`.
        images: each [height, width, 3], RGB in 0..255, of any size; of each the mean counts alike.

    Returns:
        A model of the same layers. A filter that no image activates is left as it is.

    Raises:
        InvalidInputError: no images, or a network with other layers.
    """
    if not images:
        raise InvalidInputError("expected at least one image. Received: none")
    layers = network.layers[1:]
    for layer in layers:
        pool = isinstance(layer, keras.layers.AveragePooling2D | keras.layers.MaxPooling2D)
        if not pool and not _is_rectified(layer):
            raise InvalidInputError(
                "expected convolutions with ReLU and pools alone. "
                f"Received: {layer.name} ({type(layer).__name__})"
            )
    convolutions = [layer for layer in layers if _is_rectified(layer)]
    means = _mean_activations(network, [layer.name for layer in convolutions], images)
    copy = keras.models.clone_model(network)
    before: NDArray[Any] | float = 1.0
    for layer in convolutions:
        kernel, *bias = layer.get_weights()
        mean = np.where(means[layer.name] > 0, means[layer.name], 1).astype(kernel.dtype)
        kernel = kernel * np.reshape(before, (-1, 1)) / mean
        copy.get_layer(layer.name).set_weights([kernel, *(values / mean for values in bias)])
        before = mean
    return copy


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
