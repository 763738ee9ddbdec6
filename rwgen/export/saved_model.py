"""Export of networks as SavedModels for TF Serving, Keras and TensorFlow's C API.

`NAME/<version>/` contains `saved_model.pb`, a single copy of the weights, warm-up requests in
`assets.extra/`, and `manifest.json`, which records how it was made. A version appears complete or
not at all.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from rwgen.errors import OutputError
from rwgen.export.config import ExportConfig
from rwgen.export.manifest import Manifest, file_hashes, version_folders, write_manifest
from rwgen.export.signatures import input_spec, served_network, signature
from rwgen.export.warmup import write_warmup
from rwgen.network.features import layer_names
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import Recipe
from rwgen.network.vgg import weight_fingerprints

_PACKAGES = ("rwgen", "tensorflow", "keras")


def export_network(
    network: str | Recipe, directory: str | os.PathLike[str], config: ExportConfig | None = None
) -> Path:
    """Write a network as the next version of a SavedModel.

    Args:
        network: name of a shipped network, path of a recipe or weights, or a recipe.
        directory: folder of the model, created if missing. The model is named after it.
        config: layers, signatures and size; None means the defaults.

    Returns:
        The folder of the version, `directory/<version>`.

    Raises:
        InvalidInputError: the layers do not accept the image size.
        LayerError: a layer is unknown, or `gram` is requested for a dense layer.
        RecipeError: there is no such network.
        OutputError: the version could not be written; no part of it is left behind.
    """
    config = config or ExportConfig()
    recipe = network if isinstance(network, Recipe) else load_recipe(network)
    model, extractor, resize_to = served_network(recipe, config)
    module = tf.Module()
    # Tracking the Keras model instead would save every weight twice.
    module.weights = [variable.value for variable in model.variables]
    functions = {name: signature(name, extractor, resize_to) for name in config.signatures}
    inputs = {name: input_spec(function) for name, function in functions.items()}
    parent = Path(directory)
    name = parent.resolve().name
    with _next_version(parent) as folder:
        default = {"serving_default": functions[config.signatures[0]]}
        tf.saved_model.save(module, str(folder), default | functions)
        write_warmup(folder, name, inputs, resize_to)
        manifest = Manifest(
            name=name,
            recipe={**recipe.to_dict(), "weights_sha256": weight_fingerprints(model)},
            layers=layer_names(model, config.layers),
            signatures={name: _describe(function) for name, function in functions.items()},
            resize_to=resize_to,
            versions={package: importlib.metadata.version(package) for package in _PACKAGES},
            files=file_hashes(folder),
            per_image=tuple(default | functions),
        )
        write_manifest(folder, manifest)
        version = _publish(folder, parent)
    return version


@contextlib.contextmanager
def _next_version(parent: Path) -> Iterator[Path]:
    """Create a hidden folder, which servers ignore; it is removed unless it has been renamed."""
    folder = parent / f".rwgen-{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir(parents=True)
        yield folder
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"expected a writable folder. Received: {str(parent)!r} ({reason})"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, parent: Path) -> Path:
    """Rename the folder atomically to the next free version number."""
    while True:
        version = parent / str(max(version_folders(parent), default=0) + 1)
        try:
            folder.rename(version)
        except OSError:
            if not version.exists():
                raise
        else:
            return version


def _describe(function: Any) -> dict[str, Any]:
    spec = input_spec(function)
    return {
        "inputs": {spec.name: _tensor(spec)},
        "outputs": {name: _tensor(value) for name, value in function.structured_outputs.items()},
    }


def _tensor(spec: tf.TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
