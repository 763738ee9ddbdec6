"""Feature extraction, and Gram matrices of features."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from rwgen.errors import LayerError
from rwgen.network.architecture import ARCHITECTURES


def feature_extractor(model: keras.Model, layers: Sequence[str]) -> keras.Model:
    """Create a model that computes the outputs of some layers, and nothing beyond them.

    Args:
        model: Keras functional model, such as `RanVGG19()`. The weights are shared with it.
        layers: Names of layers of the model. A ranVGG also accepts the names of
            `keras.applications.VGG19`, and Keras' VGG-19 those of the paper.

    Returns:
        A functional model from the same input to a dictionary {name: output}. The keys are the
        layer names of `model`, in the given order without duplicates.

    Raises:
        LayerError: `layers` is empty or contains an unknown name.
    """
    outputs = {name: model.get_layer(name).output for name in layer_names(model, layers)}
    return keras.Model(model.inputs[0], outputs, name=f"{model.name}_features")


def layer_names(model: keras.Model, layers: Sequence[str]) -> tuple[str, ...]:
    """Return the model's names of `layers`, in the given order without duplicates.

    Raises:
        LayerError: `layers` is empty or contains an unknown name.
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
    names = [layer]
    for architecture in ARCHITECTURES.values():
        for spec in architecture.layers():
            if layer in (spec.name, spec.keras_name):
                names += [spec.name, spec.keras_name]
    for name in names:
        if name in own:
            return name
    known = ", ".join(own[1:])
    raise LayerError(f"expected a layer of {model.name} ({known}). Received: {layer!r}")


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
