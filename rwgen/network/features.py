"""Feature extraction, and Gram matrices of features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from rwgen.errors import LayerError
from rwgen.network.architecture import MAX_CONVOLUTIONS, VGG19, Architecture
from rwgen.network.keras_settings import check_backend
from rwgen.network.pooling import BinomialPooling2D

POOLS = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D, BinomialPooling2D)
"""Layers that halve an image."""


def feature_extractor(model: keras.Model, layers: str | Sequence[str]) -> keras.Model:
    """Create a model that computes the outputs of some layers, and nothing beyond them.

    Args:
        model: Keras functional model, such as `RanVGG19()`. The weights are shared with it.
        layers: Names of layers of the model, or one name. A ranVGG also accepts the names of
            `keras.applications.VGG19`, and Keras' VGG-19 those of the paper.

    Returns:
        A functional model from the same input to a dictionary {name: output}. The keys are the
        layer names of `model`, in the given order without duplicates.

    Raises:
        LayerError: `layers` is empty or contains an unknown name.
        InvalidInputError: Keras has another backend than TensorFlow.
    """
    check_backend()
    outputs = {name: model.get_layer(name).output for name in layer_names(model, layers)}
    return keras.Model(model.inputs[0], outputs, name=f"{model.name}_features")


def layer_names(model: keras.Model, layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return the model's names of `layers` or of one layer, in the given order without duplicates.

    Raises:
        LayerError: `layers` is empty or contains an unknown name.
    """
    if isinstance(layers, str):
        layers = (layers,)
    if not layers:
        raise LayerError("expected at least one layer name. Received: none")
    return tuple(dict.fromkeys(_own_name(model, layer) for layer in layers))


def num_pools(model: keras.Model, layer: str) -> int:
    """Number of pooling layers between the input and a layer, itself included.

    Raises:
        LayerError: the layer is unknown.
    """
    return sum(isinstance(below, POOLS) for below in feature_extractor(model, [layer]).layers)


def _own_name(model: keras.Model, layer: str) -> str:
    own = [item.name for item in model.layers]
    for name in (layer, *_aliases(layer, own)):
        if name in own:
            return name
    known = ", ".join(own[1:])
    raise LayerError(f"expected a layer of {model.name} ({known}). Received: {layer!r}")


def _aliases(layer: str, own: Iterable[str]) -> list[str]:
    """Return the names of a layer in the paper and in Keras, in a VGG with the layers `own`."""
    numbers = [re.match(r"(?:conv|pool|block)(\d{1,2})(?!\d)", name) for name in own]
    count = max((int(number[1]) for number in numbers if number), default=0)
    # Only the number of blocks matters here: dense layers are numbered from it.
    vgg = Architecture("vgg", ((1, MAX_CONVOLUTIONS),) * count, VGG19.dense_units)
    pairs = [(spec.name, spec.keras_name) for spec in vgg.layers()]
    return [name for pair in pairs if layer in pair for name in pair]


def gram_matrix(features: tf.Tensor) -> tf.Tensor:
    """Compute Gram matrices, the correlations between channels averaged over positions.

    The paper's G = F F^T is a sum over the M positions. Dividing by M makes images of different
    sizes comparable; equation 6 then has the factor 1 / (4 N^2).

    Args:
        features: Tensor [batch, height, width, N].

    Returns:
        Tensor [batch, N, N], F F^T / M.
    """
    shape = tf.shape(features)
    channels = features.shape[-1]
    matrix = tf.reshape(features, [shape[0], shape[1] * shape[2], channels])
    positions = tf.cast(shape[1] * shape[2], features.dtype)
    return tf.matmul(matrix, matrix, transpose_a=True) / positions
