"""Trained weights instead of random ones: published by Keras, or from a file.

They allow comparing an untrained VGG with a trained one, as the paper does.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.errors import DownloadError, RecipeError
from rwgen.network.architecture import LayerSpec
from rwgen.network.preprocess import PIXEL_RANGE
from rwgen.network.recipe import IMAGENET, Recipe


def load_trained_weights(recipe: Recipe, specs: tuple[LayerSpec, ...]) -> dict[str, list[Any]]:
    """Load kernels and biases for network input as of `rwgen.preprocess_input`.

    A file contains the weights of Keras' VGG-19 (`keras.applications.VGG19().save_weights(FILE)`,
    or the file that Keras downloads), or a model (`.keras`) whose layers have the names of Keras
    or of the paper. Layers with Keras' names are meant for its input, BGR in 0..255, and are
    converted; layers with the paper's names are used unchanged.

    Args:
        recipe: Recipe that names the source of the weights.
        specs: Layers to load, from the first convolution on.

    Returns:
        Dictionary {name in the paper: [kernel, bias]} of all layers with weights.

    Raises:
        DownloadError: Keras cannot download the weights.
        RecipeError: The weights cannot be loaded, or those of a layer are missing or not finite.
    """
    source = str(recipe.weights)
    model = _published() if source == IMAGENET else _from_file(source, recipe.weights_file_sha256)
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    found = {}
    for spec in specs:
        if spec.kind == "pool":
            continue
        weights = layers.get(spec.keras_name) or layers.get(spec.name)
        if weights is None:
            hint = "; a trained dense layer is for another image size" * (spec.kind == "dense")
            raise RecipeError(
                f"expected weights of {spec.name} ({spec.keras_name}) in {source!r}. "
                f"Received: {', '.join(layers) or 'none'}{hint}"
            )
        if not all(np.isfinite(array).all() for array in weights):
            # Rectifiers turn NaN into zeros, which look like features.
            raise RecipeError(
                f"expected finite weights of {spec.name} ({spec.keras_name}) in {source!r}. "
                "Received: NaN or infinity"
            )
        if spec == specs[0] and spec.keras_name in layers:
            weights = [_for_rgb_in_0_to_1(weights[0]), *weights[1:]]
        found[spec.name] = weights
    return found


def load_keras_file(path: str) -> keras.Model:
    """Load a `.keras` file without compiling the model.

    Raises:
        RecipeError: The file cannot be read, is damaged, or holds something else.
    """
    try:
        with Path(path).open("rb") as file:
            if not zipfile.is_zipfile(file):  # Keras would say that there is no such file
                raise ValueError("it is damaged, or no .keras file")
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a damaged file may raise anything
        raise RecipeError(
            f"expected a model saved by Keras. Received: {path!r} ({_one_line(error)})"
        ) from None


def _for_rgb_in_0_to_1(kernel: NDArray[Any]) -> NDArray[Any]:
    """Convert the first kernel from BGR input in 0..255 to RGB input in 0..1."""
    converted: NDArray[Any] = kernel[:, :, ::-1] * np.asarray(PIXEL_RANGE, kernel.dtype)
    return converted


def _published() -> keras.Model:
    try:
        return keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises plain exceptions when a download fails
        raise DownloadError(
            "expected the weights that Keras downloads once. Received: "
            f"{_one_line(error)}; download vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 "
            "elsewhere and pass that file as the network"
        ) from None


def _from_file(path: str, sha256: str | None) -> keras.Model:
    try:
        received = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
        raise _unreadable(path, error) from None
    if sha256 not in (None, received):
        raise RecipeError(
            f"expected weights with the SHA-256 {sha256} in {path!r}. Received: {received}; "
            "the file was changed"
        )
    if path.endswith(".keras"):
        return load_keras_file(path)
    reasons = []
    for include_top in (False, True):
        model = keras.applications.VGG19(include_top=include_top, weights=None)
        try:
            model.load_weights(path)
        except Exception as error:  # as above
            reasons.append(error)
        else:
            return model
    raise _unreadable(path, reasons[0])


def _unreadable(path: str, error: Exception) -> RecipeError:
    return RecipeError(
        f"expected weights of a VGG-19, as saved by Keras, in {path!r}. "
        f"Received: {_one_line(error)}"
    )


def _one_line(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())[:200]
