"""Keras models of recipes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from rwgen.checks import plain, unexpected
from rwgen.errors import InvalidInputError, RecipeError
from rwgen.network.architecture import (
    DENSE_INPUT_SIZE,
    INPUT_CHANNELS,
    MAX_PARAMETERS,
    Architecture,
    LayerSpec,
)
from rwgen.network.convolution import SymmetricConv2D
from rwgen.network.initializers import SeededNormal, fingerprint
from rwgen.network.keras_settings import DTYPE, standard_settings
from rwgen.network.lookup import load_recipe
from rwgen.network.pooling import BinomialPooling2D
from rwgen.network.recipe import DEFAULT_NETWORK, PoolingKind, Recipe
from rwgen.network.trained import load_trained_weights

_INSTEAD = {
    "weights": "random weights have a seed=, and recipe='imagenet' or a file takes trained ones",
    "input_tensor": "call the model with the tensor: RanVGG19()(tensor)",
    "classes": "fc8 returns 1000 values; put another keras.layers.Dense on fc7 or pool5",
    "classifier_activation": "fc8 returns values without one; add keras.layers.Softmax",
}
"""What takes the place of arguments of `keras.applications.VGG19`."""


def RanVGG19(  # noqa: N802 - named like keras.applications.VGG19, which it replaces
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: PoolingKind | None = None,
    recipe: Recipe | str | None = None,
    seed: int | None = None,
    name: str | None = None,
    width: float | None = None,
    dtype: str | None = None,
    *,
    weights: None = None,
    input_tensor: None = None,
    classes: None = None,
    classifier_activation: None = None,
) -> keras.Model:
    """Instantiate a VGG-19 with random weights, as a replacement for `keras.applications.VGG19`.

    The model expects the output of `rwgen.preprocess_input`. Layers have the names of the paper,
    as in `model.get_layer("conv4_2")`; `rwgen.feature_extractor` also accepts Keras' names.

    Args:
        include_top: Whether to include the dense layers fc6, fc7 and fc8, which require images of
            256x256 pixels. fc8 returns 1000 values without an activation.
        input_shape: (height, width, 3). A height or width of None, or None for the whole, allows
            any size of at least 32 pixels, or 2^n with n blocks (only 256x256 with `include_top`).
        pooling: Kind of all pooling layers, `avg`, `max` or `binomial`; None means that of the
            recipe (by default `avg`). The argument of the same name in `keras.applications`
            differs: it adds a global pooling layer. Use `keras.layers.GlobalAveragePooling2D` for
            that.
        recipe: A `rwgen.Recipe`, the name of a shipped network, or the path of a recipe or of
            trained weights (`rwgen.load_recipe`); None means `ranvgg19`.
        seed: Seed that replaces that of the recipe. Its fingerprints are then not verified.
        name: Name of the model; None derives it from the recipe.
        width: Factor of the numbers of channels that replaces that of the recipe, above 0 and at
            most 4, like `alpha` of `keras.applications.MobileNet`. At 0.5, blocks have 32 to 256
            channels, fc6 and fc7 2048 features, and fc8 still 1000. If it changes any number, the
            recipe's candidates and fingerprints do not apply and are not used.
        dtype: Dtype of weights and computation, `float32` or `float64`, or a policy of Keras such
            as `mixed_float16`. None means `float32`, whatever the global policy is.
        weights: Only None, as are the following arguments of `keras.applications.VGG19`; other
            values raise an error that says what to use instead.
        input_tensor: See `weights`.
        classes: See `weights`.
        classifier_activation: See `weights`.

    Returns:
        A Keras functional model. Its output is `pool5`, [batch, height // 32, width // 32, 512]
        (512 times the width of the network), or `fc8`, [batch, 1000]. With other blocks in the
        recipe, it is the last pooling or dense layer.

    Raises:
        InvalidInputError: An argument is invalid.
        DownloadError: Keras cannot download the weights of `imagenet`.
        RecipeError: The recipe is unknown or malformed, its fingerprints do not match, or it has
            blocks or trained weights and a width is given.
    """
    given = {
        "weights": weights,
        "input_tensor": input_tensor,
        "classes": classes,
        "classifier_activation": classifier_activation,
    }
    for key, value in given.items():
        if value is not None:
            raise unexpected(key, f"None; {_INSTEAD[key]}", value)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe or DEFAULT_NETWORK)
    if pooling is not None:
        chosen = dataclasses.replace(chosen, pooling=pooling)
    if width is not None:
        chosen = chosen.with_width(width)
    seed = plain(seed)
    if seed is not None and seed != chosen.seed:
        chosen = dataclasses.replace(chosen, seed=seed, weights_sha256={})
    return build_network(
        chosen, include_top=include_top, input_shape=input_shape, dtype=dtype, name=name
    )


def build_network(
    recipe: Recipe | str,
    until: str | None = None,
    *,
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] | None = None,
    architecture: Architecture | None = None,
    dtype: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build the network of a recipe up to a layer.

    The weights of a layer do not depend on which other layers are built, so a truncated network
    has the weights of the whole one.

    Args:
        recipe: Recipe that determines the weights, or a name or file as for `rwgen.load_recipe`.
        until: Name of the last layer to build; None means the last one that `include_top`
            allows. Dense layers require images of 256x256 pixels.
        include_top: Whether to include the dense layers if `until` is None.
        input_shape: (height, width, 3) as for `RanVGG19`.
        architecture: Architecture that replaces that of the recipe, such as a small one in tests.
        dtype: See `RanVGG19`.
        name: Name of the model; None derives it from the recipe.

    Returns:
        A Keras functional model from [batch, height, width, 3] to the output of the last layer, or,
        for a pyramid, to {layer: output} of the last convolution of each block.

    Raises:
        InvalidInputError: `input_shape` does not fit the layers, or the weights would not be
            float32 or float64.
        LayerError: `until` is not a layer.
        DownloadError: Keras cannot download the weights of `imagenet`.
        RecipeError: Weights cannot be loaded or do not match the fingerprints of the recipe, or
            there are more than `rwgen.network.architecture.MAX_PARAMETERS`.
    """
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    topology = architecture or recipe.topology
    layers = topology.layers()
    if until is None:
        until = [spec.name for spec in layers if include_top or spec.kind != "dense"][-1]
    specs = topology.up_to(until)
    parameters = sum(topology.num_parameters(spec.name) for spec in specs)
    if parameters > MAX_PARAMETERS:
        raise RecipeError(
            f"expected at most {MAX_PARAMETERS:,} parameters up to {specs[-1].name} of the network "
            f"{recipe.name}. Received: {parameters:,}"
        )
    shape = _complete_shape(topology, specs[-1], input_shape)
    with standard_settings():
        return _build(recipe, specs, topology, shape, dtype or DTYPE, name)


def _build(
    recipe: Recipe,
    specs: tuple[LayerSpec, ...],
    topology: Architecture,
    shape: tuple[int | None, int | None, int],
    dtype: str,
    name: str | None,
) -> keras.Model:
    """Build some layers of a recipe under Keras' standard settings."""
    policy = keras.dtype_policies.get(dtype)
    if policy.variable_dtype not in ("float32", "float64"):
        raise unexpected("dtype", "float32, float64 or mixed precision", dtype)
    trained = load_trained_weights(recipe, specs) if recipe.weights is not None else {}

    layers = topology.layers()
    inputs = tensor = image = keras.Input(shape, name="image", dtype=policy.variable_dtype)
    ends: dict[int, tuple[str, Any]] = {}  # last convolution of each block
    for spec in specs:
        common: dict[str, Any] = {"name": spec.name, "dtype": dtype}
        if spec.kind == "pool":
            layer = _pool(recipe.pooling, common)
            if topology.pyramid:
                tensor = image
        else:
            common |= {
                "kernel_initializer": _kernel_initializer(recipe, spec.name, topology),
                "bias_initializer": _bias_initializer(recipe, spec.name),
                "activation": None if spec.kind == "dense" and spec == layers[-1] else "relu",
            }
            if spec.kind == "conv" and recipe.padding == "symmetric":
                layer = SymmetricConv2D(spec.units, topology.kernel_size, **common)
            elif spec.kind == "conv":
                layer = keras.layers.Conv2D(
                    spec.units, topology.kernel_size, padding="same", **common
                )
            else:
                if len(tensor.shape) > 2:
                    tensor = keras.layers.Flatten(name="flatten", dtype=dtype)(tensor)
                layer = keras.layers.Dense(spec.units, **common)
        tensor = layer(tensor)
        if spec.kind == "pool":
            image = tensor
        else:
            ends[spec.num_pools] = (spec.name, tensor)
    outputs = tensor
    if topology.pyramid:  # no block is part of another
        outputs = dict(ends.values())
        if specs[-1].kind == "pool":
            outputs[specs[-1].name] = tensor
    model = keras.Model(inputs, outputs, name=name or _model_name(recipe.name))
    _set_weights(model, trained)
    _verify(model, recipe)
    return model


def _pool(kind: PoolingKind, common: dict[str, Any]) -> keras.layers.Layer:
    if kind == "binomial":
        return BinomialPooling2D(**common)
    pool = {"avg": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}[kind]
    return pool(2, strides=2, padding="valid", **common)


def weight_fingerprints(model: keras.Model) -> dict[str, str]:
    """Return the fingerprints of all layers with weights, in forward order.

    Args:
        model: Keras model, such as `RanVGG19()`.

    Returns:
        Dictionary {layer name: SHA-256 of kernel and bias, 64 hexadecimal digits}.
    """
    layers = [layer for layer in model.layers if layer.weights]
    return {layer.name: fingerprint(*layer.get_weights()) for layer in layers}


def _model_name(name: str) -> str:
    """Return a name that is a valid TensorFlow scope."""
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


def _kernel_initializer(recipe: Recipe, layer: str, topology: Architecture) -> SeededNormal:
    stddev = recipe.layer_stddev(layer, topology)
    return SeededNormal(stddev, recipe.seed, layer, "kernel", recipe.candidates.get(layer, 0))


def _bias_initializer(recipe: Recipe, layer: str) -> SeededNormal:
    positive = recipe.bias_distribution == "half_normal"
    candidate = recipe.candidates.get(layer, 0)
    return SeededNormal(recipe.bias_stddev, recipe.seed, layer, "bias", candidate, positive)


def _complete_shape(
    topology: Architecture,
    last: LayerSpec,
    shape: tuple[int | None, int | None, int] | None,
) -> tuple[int | None, int | None, int]:
    size = DENSE_INPUT_SIZE if last.kind == "dense" else None
    if shape is None:
        return (size, size, INPUT_CHANNELS)
    if len(shape) != 3 or shape[2] != INPUT_CHANNELS:
        raise InvalidInputError(
            f"expected an input_shape (height, width, {INPUT_CHANNELS}). Received: {shape}"
        )
    height, width = (size if side is None else side for side in shape[:2])
    # A side of None is checked as the smallest size that the layers accept.
    minimum = topology.minimum_side([last.name])
    sides = [minimum if side is None else side for side in (height, width)]
    topology.check_image_size([last.name], sides, "an input_shape")
    return (height, width, INPUT_CHANNELS)


def _verify(model: keras.Model, recipe: Recipe) -> None:
    for layer in model.layers:
        expected = recipe.weights_sha256.get(layer.name)
        if expected is None:
            continue
        received = fingerprint(*layer.get_weights())
        if received != expected:
            raise RecipeError(
                f"expected weights of {layer.name} with the SHA-256 {expected} of the recipe "
                f"{recipe.name}. Received: {received}; the recipe was changed or belongs to "
                "another version of rwgen"
            )
