"""Networks that see an image as a tile: repeated in both directions, without a border."""

from __future__ import annotations

import keras

from rwgen.errors import InvalidInputError
from rwgen.network.convolution import CircularConv2D, PaddedConv2D
from rwgen.network.features import POOLS
from rwgen.network.pooling import BinomialPooling2D, CircularBinomialPooling2D

_POINTWISE = (
    keras.layers.InputLayer,
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dropout,
    keras.layers.ReLU,
)
"""Layers that treat every position alike and see no other."""


def tiling_network(model: keras.Model) -> keras.Model:
    """A copy whose convolutions take what is beyond a border from the opposite one.

    It commutes with rolling an image by multiples of its stride, if both sides of the image are
    multiples of it too: then no pool cuts off a row or column.

    Args:
        model: a functional model of convolutions of stride 1 that keep the image size, 2x2 pools,
            and layers that see one position at a time; its current weights are copied.

    Returns:
        A model of the same inputs, outputs and names.

    Raises:
        InvalidInputError: it has another layer.
    """
    check_keeps_positions(model, "a tileable image")
    copy = keras.models.clone_model(model, clone_function=_wrapped)
    copy.set_weights(model.get_weights())
    return copy


def check_keeps_positions(model: keras.Model, purpose: str) -> None:
    """Refuse a network whose features do not lie on a grid of squares of pixels.

    Args:
        model: a functional model.
        purpose: what it is needed for, for the message.

    Raises:
        InvalidInputError: a layer is neither a convolution of stride 1 that keeps the image size,
            nor a 2x2 pool, nor one that sees one position at a time.
    """
    for layer in model.layers:
        if not _keeps_positions(layer):
            raise InvalidInputError(
                "expected a network of convolutions of stride 1 that keep the image size, and of "
                f"2x2 pools, for {purpose}. Received: {layer.name} of {model.name}"
            )


def keeps_positions(model: keras.Model) -> bool:
    """Whether `check_keeps_positions` accepts a network."""
    return all(map(_keeps_positions, model.layers))


def _keeps_positions(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, BinomialPooling2D):
        return True
    if isinstance(layer, POOLS):
        return (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "valid")
    if isinstance(layer, keras.layers.Conv2D):
        keeps_size = layer.padding == "same" or isinstance(layer, PaddedConv2D)
        is_odd = all(side % 2 for side in layer.kernel_size)
        return keeps_size and is_odd and layer.strides == layer.dilation_rate == (1, 1)
    return isinstance(layer, _POINTWISE)


def _wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, BinomialPooling2D):
        return CircularBinomialPooling2D.from_config(config)
    if not isinstance(layer, keras.layers.Conv2D):
        return type(layer).from_config(config)
    # Weights are set afterwards; drawing them would take longer.
    config |= {"kernel_initializer": "zeros", "bias_initializer": "zeros", "padding": "valid"}
    return CircularConv2D.from_config(config)
