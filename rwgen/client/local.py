"""Where features come from: a server, a SavedModel, or a network built here. All answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.client.config import Outputs, SignatureInput, unknown_signature
from rwgen.errors import InvalidInputError, reason_of
from rwgen.export.config import SIGNATURE_NAMES, ExportConfig, SignatureName
from rwgen.export.manifest import latest_version
from rwgen.export.signatures import input_spec, served_network, signature
from rwgen.network.lookup import load_recipe


class FeatureSource(Protocol):
    """What `rwgen.client.client.FeaturesClient` is, too."""

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """Run a signature on a batch, see `rwgen.client.client.FeaturesClient.predict`."""

    def input_of(self, signature: str) -> SignatureInput:
        """Name, dtype and shape of a signature's input."""


class SavedModelSource:
    """An exported model, run in this process."""

    def __init__(self, folder: str) -> None:
        """Load the latest version of a model.

        Raises:
            InvalidInputError: there is none, or TensorFlow cannot load it.
        """
        version = latest_version(Path(folder))
        try:
            self._model = tf.saved_model.load(str(version))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())
            raise InvalidInputError(
                f"expected a SavedModel. Received: {str(version)!r} ({reason:.300})"
            ) from None

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """See `FeatureSource`."""
        return _run(self._model.signatures[signature], images)

    def input_of(self, signature: str) -> SignatureInput:
        """See `FeatureSource`."""
        return _input_of(signature, self._model.signatures)


class NetworkSource:
    """A network built here, with the functions that an export of it would hold."""

    def __init__(self, network: str, config: ExportConfig) -> None:
        """Build a network up to its deepest layer.

        Args:
            network: a name or file, see `rwgen.load_recipe`.
            config: what an export of it would hold.

        Raises:
            InvalidInputError: there is no such network or layer, or the size does not suit it.
        """
        _, self._extractor, self._resize_to = served_network(load_recipe(network), config)
        self._functions: dict[str, Any] = {}

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """See `FeatureSource`."""
        return _run(self._function(signature), images)

    def input_of(self, signature: str) -> SignatureInput:
        """See `FeatureSource`."""
        return _input_of(signature, {signature: self._function(signature)})

    def _function(self, name: str) -> Any:
        wanted: SignatureName = "features" if name == "serving_default" else name  # type: ignore[assignment]
        if wanted not in SIGNATURE_NAMES:
            raise InvalidInputError(
                f"expected a signature of {', '.join(SIGNATURE_NAMES)}. Received: {name!r}"
            )
        if name not in self._functions:
            self._functions[name] = signature(wanted, self._extractor, self._resize_to)
        return self._functions[name]


def _run(function: Any, images: NDArray[Any]) -> Outputs:
    spec = input_spec(function)
    tensor = tf.constant(images.tolist() if images.dtype == object else images, spec.dtype)
    try:
        outputs = function(**{spec.name: tensor})
    except tf.errors.InvalidArgumentError as error:
        raise InvalidInputError(
            f"expected images for this network. Received: {reason_of(error)}"
        ) from None
    results = {name: np.asarray(value) for name, value in outputs.items()}
    if any(value.size == 0 for value in results.values()):
        raise InvalidInputError(
            f"expected images that are large enough for the layers. Received: {images.shape}"
        )
    return results


def _input_of(name: str, functions: Any) -> SignatureInput:
    if name not in functions:
        raise unknown_signature(name, functions)
    spec = input_spec(functions[name])
    return spec.name, np.dtype(spec.dtype.as_numpy_dtype), tuple(spec.shape)
