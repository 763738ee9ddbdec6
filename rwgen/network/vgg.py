"""ranVGG: a recipe becomes a Keras functional model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError, RecipeError
from rwgen.network.architecture import DENSE_INPUT_SIZE, INPUT_CHANNELS, KERNEL_SIZE, Architecture
from rwgen.network.initializers import SeededNormal, fingerprint
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import DEFAULT_NETWORK, PoolingKind, Recipe
from rwgen.network.trained import load_trained_weights


def RanVGG19(  # noqa: N802 - named like keras.applications.VGG19, which it stands in for
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: PoolingKind | None = None,
    recipe: Recipe | str | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A VGG-19 with random weights, where a project would use `keras.applications.VGG19`.

    The input is what `rwgen.preprocess_input` returns. Every layer is addressable by the paper's
    name: `model.get_layer("conv4_2").output`; `rwgen.feature_extractor` takes Keras' names too.

    Args:
        include_top: with the dense layers fc6, fc7, fc8; the image is then 256x256. fc8 gives
            1000 values without an activation.
        input_shape: (height, width, 3); None in place of a side, or of the whole, means any
            size of at least 32 pixels (256x256 with `include_top`).
        pooling: kind of the five pooling layers, `avg` or `max`; None takes the recipe's (`avg`
            where no recipe says otherwise). This is not the argument of the same name in
            `keras.applications`, which adds a global pool: add a
            `keras.layers.GlobalAveragePooling2D` for that.
        recipe: a `rwgen.Recipe`, the name of a shipped network, or the path of a recipe.
        seed: in place of the recipe's seed; the recipe's fingerprints then do not apply.
        name: the model's name; None makes one of the recipe's.

    Returns:
        A Keras functional model; its output is `pool5`, [batch, height/32, width/32, 512], or
        `fc8`, [batch, 1000], in Keras' default float type.

    Raises:
        InvalidInputError: an argument is not what it must be.
        RecipeError: the recipe is unknown, malformed, or its fingerprints do not match.
    """
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe or DEFAULT_NETWORK)
    if pooling is not None:
        chosen = dataclasses.replace(chosen, pooling=pooling)
    if seed is not None and seed != chosen.seed:
        chosen = dataclasses.replace(chosen, seed=seed, weights_sha256={})
    return build_network(chosen, include_top=include_top, input_shape=input_shape, name=name)


def build_network(
    recipe: Recipe,
    until: str | None = None,
    *,
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] | None = None,
    architecture: Architecture | None = None,
    dtype: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """The network of a recipe, up to a layer.

    Weights depend on the layer's name and not on what else is built, so a network cut short has
    the weights of the whole one.

    Args:
        recipe: what decides the weights.
        until: the last layer to build; None means the last one that `include_top` allows. A
            dense layer implies the image size 256x256.
        include_top: build the dense layers too, where `until` is None.
        input_shape: (height, width, 3), see `RanVGG19`.
        architecture: in place of the recipe's, such as a small one in tests.
        dtype: dtype of weights and computation; None is Keras' default.
        name: the model's name; None makes one of the recipe's.

    Returns:
        A Keras functional model, [batch, height, width, 3] to the last layer's output.

    Raises:
        InvalidInputError: `input_shape` does not suit the layers.
        LayerError: `until` is not a layer.
        RecipeError: weights do not have the recipe's fingerprint.
    """
    topology = architecture or recipe.topology
    if until is None:
        last_kind = ("conv", "pool", "dense") if include_top else ("conv", "pool")
        until = [spec.name for spec in topology.layers() if spec.kind in last_kind][-1]
    specs = topology.up_to(until)
    dense = specs[-1].kind == "dense"
    shape = _complete_shape(topology, specs[-1].name, input_shape, dense)
    last_dense = topology.layers()[-1].name

    inputs = tensor = keras.Input(shape, name="image", dtype=dtype)
    previous_kind = "conv"
    for spec in specs:
        common: dict[str, Any] = {"name": spec.name, "dtype": dtype}
        if spec.kind == "pool":
            pool = {"avg": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}
            layer = pool[recipe.pooling](2, strides=2, padding="valid", **common)
        else:
            common |= {
                "kernel_initializer": _initializer(recipe, spec.name, "kernel"),
                "bias_initializer": _initializer(recipe, spec.name, "bias"),
                "activation": None if spec.name == last_dense and dense else "relu",
            }
            if spec.kind == "conv":
                layer = keras.layers.Conv2D(spec.units, KERNEL_SIZE, padding="same", **common)
            else:
                if previous_kind != "dense":
                    tensor = keras.layers.Flatten(name="flatten", dtype=dtype)(tensor)
                layer = keras.layers.Dense(spec.units, **common)
        tensor = layer(tensor)
        previous_kind = spec.kind
    model = keras.Model(inputs, tensor, name=name or _model_name(recipe.name))
    if recipe.weights is not None:
        _set_weights(model, load_trained_weights(recipe, specs))
    _verify(model, recipe)
    return model


def weight_fingerprints(model: keras.Model) -> dict[str, str]:
    """Fingerprint of kernel and bias of every layer that has them, in forward order."""
    return {
        layer.name: fingerprint(*(np.asarray(value) for value in layer.get_weights()))
        for layer in model.layers
        if layer.weights
    }


def _model_name(name: str) -> str:
    """A name that TensorFlow takes as a scope."""
    return "network_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def _set_weights(model: keras.Model, weights: Mapping[str, Sequence[NDArray[Any]]]) -> None:
    for name, values in weights.items():
        layer = model.get_layer(name)
        expected = [tuple(variable.shape) for variable in layer.weights]
        received = [value.shape for value in values]
        if received != expected:
            raise RecipeError(
                f"expected trained weights of {name} of shapes {expected}. Received: {received}"
            )
        layer.set_weights(values)


def _initializer(recipe: Recipe, layer: str, variable: str) -> SeededNormal:
    candidate = recipe.candidates.get(layer, 0)
    if variable == "kernel":
        return SeededNormal(recipe.kernel_stddev, recipe.seed, layer, variable, candidate)
    positive = recipe.bias_distribution == "half_normal"
    return SeededNormal(recipe.bias_stddev, recipe.seed, layer, variable, candidate, positive)


def _complete_shape(
    topology: Architecture,
    until: str,
    shape: tuple[int | None, int | None, int] | None,
    dense: bool,
) -> tuple[int | None, int | None, int]:
    size = DENSE_INPUT_SIZE if dense else None
    if shape is None:
        return (size, size, INPUT_CHANNELS)
    if len(shape) != 3 or shape[2] != INPUT_CHANNELS:
        raise InvalidInputError(
            f"expected an input_shape (height, width, {INPUT_CHANNELS}). Received: {shape}"
        )
    height, width = (size if side is None else side for side in shape[:2])
    # A side that is left open passes the check as any size that the layers accept.
    minimum = topology.minimum_side([until])
    sides = [minimum if side is None else side for side in (height, width)]
    topology.check_image_size([until], sides, "an input_shape")
    return (height, width, INPUT_CHANNELS)


def _verify(model: keras.Model, recipe: Recipe) -> None:
    for layer in model.layers:
        expected = recipe.weights_sha256.get(layer.name)
        if expected is None or not layer.weights:
            continue
        received = fingerprint(*(np.asarray(value) for value in layer.get_weights()))
        if received != expected:
            raise RecipeError(
                f"expected weights of {layer.name} with the SHA-256 {expected} of the recipe "
                f"{recipe.name}. Received: {received}; the recipe was changed or belongs to "
                "another version of rwgen"
            )
