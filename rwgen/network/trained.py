"""Trained weights in place of random ones: those that Keras publishes, or those in a file.

With them anyone can make the paper's comparison between an untrained and a trained VGG.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.errors import RecipeError
from rwgen.network.architecture import LayerSpec
from rwgen.network.preprocess import PIXEL_RANGE
from rwgen.network.recipe import IMAGENET, Recipe


def load_trained_weights(recipe: Recipe, specs: tuple[LayerSpec, ...]) -> dict[str, list[Any]]:
    """Kernels and biases of layers, for the network input of `rwgen.preprocess_input`.

    A file holds Keras' VGG-19, `keras.applications.VGG19().save_weights(FILE)` or the file that
    Keras downloads, or is a model (`.keras`) with convolutions called as Keras or as the paper
    calls them. Where they have Keras' names they are for its input, blue first and in 0..255, and
    are turned into the same function of rwgen's; with the paper's names they stay as they are.

    Args:
        recipe: says where the weights come from.
        specs: the layers.

    Returns:
        [kernel, bias] of each layer that is no pool, by the paper's name.

    Raises:
        RecipeError: the weights cannot be had, or are not those of such layers.
    """
    source = str(recipe.weights)
    model = _published() if source == IMAGENET else _from_file(source, recipe.weights_file_sha256)
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    found = {}
    for spec in (spec for spec in specs if spec.kind != "pool"):
        for name in (spec.keras_name, spec.name):
            if name in layers:
                weights = layers[name]
                break
        else:
            hint = "; a trained dense layer is for another image size" * (spec.kind == "dense")
            raise RecipeError(
                f"expected weights of {spec.name} ({spec.keras_name}) in {source!r}. "
                f"Received: {', '.join(layers) or 'none'}{hint}"
            )
        if name == specs[0].keras_name:
            weights = [_for_rgb_in_0_to_1(weights[0]), *weights[1:]]
        found[spec.name] = weights
    return found


def _for_rgb_in_0_to_1(kernel: NDArray[Any]) -> NDArray[Any]:
    """A first kernel for red first and 0..1, of one for blue first and 0..255."""
    turned: NDArray[Any] = kernel[:, :, ::-1] * np.asarray(PIXEL_RANGE, kernel.dtype)
    return turned


def _published() -> keras.Model:
    try:
        return keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras itself raises nothing narrower when a download fails
        raise RecipeError(
            "expected the weights that Keras downloads once. Received: "
            f"{_one_line(error)}; fetch vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 "
            "elsewhere and name that file as the network"
        ) from None


def _from_file(path: str, sha256: str | None) -> keras.Model:
    try:
        data = Path(path).read_bytes()
        received = hashlib.sha256(data).hexdigest()
        if sha256 not in (None, received):
            raise RecipeError(
                f"expected weights with the SHA-256 {sha256} in {path!r}. Received: {received}; "
                "the file was changed"
            )
        if path.endswith(".keras"):
            return keras.models.load_model(path, compile=False)
    except RecipeError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise _unreadable(path, error) from None
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
        f"expected weights of a VGG-19, as Keras saves them, in {path!r}. "
        f"Received: {_one_line(error)}"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
