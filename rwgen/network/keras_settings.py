"""Keras' global settings, which a user may have changed, while networks are built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from rwgen.errors import InvalidInputError

BACKEND = "tensorflow"
"""The backend of Keras that rwgen computes with."""

DTYPE = "float32"
"""Dtype of networks, unless a caller asks for another one."""


def check_backend() -> None:
    """Check that Keras computes with TensorFlow.

    Raises:
        InvalidInputError: It does not. The backend is chosen when Keras is imported.
    """
    if keras.config.backend() != BACKEND:
        raise InvalidInputError(
            f"expected Keras with the backend {BACKEND}. Received: {keras.config.backend()}; set "
            f"the environment variable KERAS_BACKEND={BACKEND} before Keras is imported"
        )


def check_layers(model: keras.Model) -> None:
    """Check that a search can use a model that the caller built under settings of their own.

    Raises:
        InvalidInputError: A layer computes in half precision, for example because Keras' global
            dtype policy was `mixed_float16`, or has its channels first.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        received = None
        if layer.compute_dtype not in ("float32", "float64"):
            received = f"computes in {layer.compute_dtype}"
        elif getattr(layer, "data_format", "channels_last") != "channels_last":
            received = f"has {layer.data_format}"
        if received:
            raise InvalidInputError(
                "expected a network in float32 or float64 with channels last. Received: "
                f"{model.name}, whose layer {layer.name} {received}; build it under other settings "
                "of keras.config"
            )


@contextlib.contextmanager
def standard_settings() -> Iterator[None]:
    """Build layers in `DTYPE` with channels last, whatever the global settings of Keras are.

    Raises:
        InvalidInputError: Keras has another backend.
    """
    check_backend()
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    image_format = keras.config.image_data_format()
    keras.config.set_floatx(DTYPE)
    keras.config.set_dtype_policy(DTYPE)
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(image_format)
