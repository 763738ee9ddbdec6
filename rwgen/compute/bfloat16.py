"""Networks that compute in bfloat16."""

from __future__ import annotations

import keras


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy whose layers compute in bfloat16, with the weights as they are.

    Args:
        model: a functional model of float32; its current weights are copied.

    Returns:
        A model of the same input; its outputs are bfloat16.
    """
    copy = keras.models.clone_model(model, clone_function=_in_bfloat16)
    copy.set_weights(model.get_weights())
    return copy


def _in_bfloat16(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if not isinstance(layer, keras.layers.InputLayer):
        config["dtype"] = "mixed_bfloat16"
    if layer.weights:
        # They are set afterwards; drawing them would take longer.
        config |= {"kernel_initializer": "zeros", "bias_initializer": "zeros", "trainable": False}
    return type(layer).from_config(config)
