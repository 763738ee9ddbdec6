"""Architectures to probe, by name or from a file."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path

import keras

from rwgen.errors import InvalidInputError
from rwgen.network.keras_settings import standard_settings
from rwgen.network.trained import load_keras_file

ALEXNET = "alexnet"
_RESCALING = (keras.layers.Rescaling, keras.layers.Normalization)


def model_names() -> tuple[str, ...]:
    """Names that `load_architecture` accepts: `keras.applications` in lower case, and alexnet."""
    return tuple(sorted((ALEXNET, *_applications())))


def load_architecture(name: str, size: int) -> keras.Model:
    """Build a model by its name in `keras.applications`, or load one from a Keras file.

    Models of `keras.applications` are built without classifier (`include_top=False`), and without
    built-in preprocessing where that is an option.

    Args:
        name: one of `model_names`, in any case and with or without underscores and hyphens, or the
            path of a `.keras` file.
        size: side of the images, in pixels.

    Returns:
        A functional model of images [batch, size, size, 3]. Its weights are arbitrary, see
        `rwgen.probe.reinitialize`.

    Raises:
        InvalidInputError: the name is unknown, the file cannot be read, the model is not functional
            or has another input, or it does not accept images of this size.
    """
    with standard_settings():
        model = load_keras_file(name) if Path(name).suffix == ".keras" else _build(name, size)
    _check_input(model, name)
    return _of_size(model, name, size)


def alexnet(input_shape: tuple[int | None, int | None, int] = (None, None, 3)) -> keras.Model:
    """Build the convolutions and pools of AlexNet in a single tower.

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NIPS 2012, without the split over two GPUs, local response normalization and the
    dense layers. All layers pad their edges ("same"), so that small images are possible.

    Args:
        input_shape: (height, width, 3); None for any side.

    Returns:
        A functional model with the layers conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5.
    """
    inputs = keras.Input(input_shape)
    features = inputs
    # Filters, kernel size, strides, and whether a pool follows (table of the paper's figure 2).
    rows = ((96, 11, 4, True), (256, 5, 1, True), (384, 3, 1, False), (384, 3, 1, False),
            (256, 3, 1, True))  # fmt: skip
    for number, (filters, kernel_size, strides, pooled) in enumerate(rows, start=1):
        features = keras.layers.Conv2D(
            filters, kernel_size, strides, "same", activation="relu", name=f"conv{number}"
        )(features)
        if pooled:
            features = keras.layers.MaxPooling2D(3, 2, "same", name=f"pool{number}")(features)
    return keras.Model(inputs, features, name=ALEXNET)


def _applications() -> dict[str, Callable[..., keras.Model]]:
    found = vars(keras.applications).items()
    return {name.lower(): value for name, value in found if inspect.isfunction(value)}


def _build(name: str, size: int) -> keras.Model:
    plain = name.lower().replace("_", "").replace("-", "")
    if plain == ALEXNET:
        return alexnet((size, size, 3))
    functions = _applications()
    if plain not in functions:
        near = difflib.get_close_matches(plain, model_names(), 3, 0.5)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise InvalidInputError(
            "expected a model of keras.applications, alexnet, or a .keras file. Received: "
            f"{name!r}{hint}"
        )
    function = functions[plain]
    options = {"weights": None, "include_top": False, "input_shape": (size, size, 3)}
    if "include_preprocessing" in inspect.signature(function).parameters:
        options["include_preprocessing"] = False
    try:
        return function(**options)
    except ValueError as error:  # Keras: a minimum size
        message = " ".join(str(error).split())
        raise InvalidInputError(
            f"expected a size that {name} accepts. Received: {size} ({message})"
        ) from None


def _of_size(model: keras.Model, name: str, size: int) -> keras.Model:
    sides = model.inputs[0].shape[1:3]
    if any(side not in (None, size) for side in sides):
        wanted = "x".join("any" if side is None else str(side) for side in sides)
        raise InvalidInputError(
            f"expected images of the size that {name} accepts, {wanted} pixels. Received: {size}x"
            f"{size}"
        )
    if None not in sides:
        return model
    try:
        return keras.models.clone_model(model, input_tensors=keras.Input((size, size, 3)))
    except ValueError as error:  # Keras: the input of some layer would be empty
        message = " ".join(str(error).split())
        raise InvalidInputError(
            f"expected a size that {name} accepts. Received: {size} ({message})"
        ) from None


def _check_input(model: keras.Model, name: str) -> None:
    inputs = getattr(model, "inputs", None)
    if not inputs or len(inputs) != 1 or not hasattr(model, "get_layer"):
        raise InvalidInputError(
            f"expected a functional or sequential model with one input. Received: {name}"
        )
    shape = tuple(inputs[0].shape)
    if len(shape) != 4 or shape[-1] != 3:
        raise InvalidInputError(
            f"expected a model of images [batch, height, width, 3]. Received: {name}, which takes "
            f"{shape}"
        )
    if any(isinstance(layer, _RESCALING) for layer in model.layers):
        raise InvalidInputError(
            "expected a model whose input is RGB in 0..1 minus the mean, as returned by "
            f"rwgen.preprocess_input. Received: {name}, which rescales its input itself"
        )
