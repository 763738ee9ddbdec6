"""Features: a network cut at the deepest layer asked for."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from rwgen.errors import LayerError
from rwgen.network.architecture import ARCHITECTURES


def feature_extractor(model: keras.Model, layers: Sequence[str]) -> keras.Model:
    """A model that computes the outputs of some layers, and nothing that they do not need.

    Args:
        model: a Keras functional model, such as `RanVGG19()`. Its weights are shared.
        layers: layer names of the model; names of `keras.applications.VGG19` are understood
            where the model is a ranVGG.

    Returns:
        A functional model from the same input to a dictionary {name: output}, with the model's
        own layer names as keys, in the order asked for.

    Raises:
        LayerError: no layer is named, or one is unknown.
    """
    outputs = {name: model.get_layer(name).output for name in layer_names(model, layers)}
    return keras.Model(model.inputs[0], outputs, name=f"{model.name}_features")


def layer_names(model: keras.Model, layers: Sequence[str]) -> tuple[str, ...]:
    """The model's own names of `layers`, each once, in the order asked for.

    Raises:
        LayerError: no layer is named, or one is unknown.
    """
    if not layers:
        raise LayerError("expected at least one layer name. Received: none")
    return tuple(dict.fromkeys(_own_name(model, layer) for layer in layers))


def num_pools(model: keras.Model, layer: str) -> int:
    """Number of pooling layers between the input and a layer, itself included.

    Raises:
        LayerError: the layer is unknown.
    """
    pools = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)
    return sum(isinstance(below, pools) for below in feature_extractor(model, [layer]).layers)


def _own_name(model: keras.Model, layer: str) -> str:
    own = [item.name for item in model.layers]
    if layer in own:
        return layer
    for architecture in ARCHITECTURES.values():
        for spec in architecture.layers():
            if layer == spec.keras_name and spec.name in own:
                return spec.name
            if layer == spec.name and spec.keras_name in own:
                return spec.keras_name
    known = ", ".join(own[1:])
    raise LayerError(f"expected a layer of {model.name} ({known}). Received: {layer!r}")


def gram_matrix(features: tf.Tensor) -> tf.Tensor:
    """Correlations between channels, the mean over positions.

    The paper's G = F F^T is a sum over the M positions; dividing by M makes the matrices of
    images of different size comparable, and equation 6 is then the same with 1 / (4 N^2).

    Args:
        features: [batch, height, width, N].

    Returns:
        [batch, N, N], F F^T / M.
    """
    shape = tf.shape(features)
    channels = features.shape[-1]
    matrix = tf.reshape(features, [shape[0], shape[1] * shape[2], channels])
    positions = tf.cast(shape[1] * shape[2], features.dtype)
    return tf.matmul(matrix, matrix, transpose_a=True) / positions
