"""Copies of a network that compute the same by other layers."""

from __future__ import annotations

from collections.abc import Callable

import keras

Replacement = Callable[[keras.layers.Layer], type[keras.layers.Layer] | None]
"""The type that replaces a layer and takes its configuration, or None to keep it."""


def with_convolutions(model: keras.Model, replacement: Replacement) -> keras.Model:
    """Replace layers of a model by others of the same weights, which are not trained.

    Args:
        model: a functional model; its current weights are copied.
        replacement: chooses the layers.

    Returns:
        A model of the same inputs, outputs and names, or `model` itself if no layer is replaced.
    """
    if not any(map(replacement, model.layers)):
        return model

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            # They are set afterwards; drawing them would take longer.
            config |= {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
        kind = replacement(layer)
        if kind is None:
            return type(layer).from_config(config)
        return kind.from_config(config | {"trainable": False})

    copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy
