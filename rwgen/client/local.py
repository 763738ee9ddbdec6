"""Features from a SavedModel or a network in this process, with the interface of the client."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.client.config import Outputs, SignatureInput, as_batch, unknown_signature
from rwgen.errors import InvalidInputError, reason_of
from rwgen.export.config import SIGNATURE_NAMES, ExportConfig, SignatureName
from rwgen.export.manifest import latest_version
from rwgen.export.signatures import input_spec, served_network, signature
from rwgen.network.lookup import load_recipe


class FeatureSource(Protocol):
    """A source of features, such as `rwgen.client.client.FeaturesClient`."""

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """Run a signature on a batch, see `rwgen.client.client.FeaturesClient.predict`."""

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's input."""

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""


class SavedModelSource:
    """An exported model that is run in this process."""

    def __init__(self, folder: str) -> None:
        """Load the latest version of a model.

        Raises:
            InvalidInputError: there is no version, or TensorFlow cannot load it.
        """
        version = latest_version(Path(folder))
        try:
            self._model = tf.saved_model.load(str(version))
        except Exception as error:  # damaged files raise almost any kind of error
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InvalidInputError(
                f"expected an intact SavedModel. Received: {str(version)!r} ({reason:.120}); "
                "rwgen inspect names the files that changed since the export"
            ) from None

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """Run a signature on a batch of images."""
        batch = as_batch(signature, self.input_of(signature)[1], images)
        return _run(self._model.signatures[signature], batch)

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's single input."""
        return _input_of(signature, self._model.signatures)

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""
        return _outputs_of(signature, self._model.signatures)


class NetworkSource:
    """A network built in this process, with the same signatures as an export of it."""

    def __init__(self, network: str, config: ExportConfig) -> None:
        """Build a network up to its deepest layer.

        Args:
            network: name or file of the network, see `rwgen.load_recipe`.
            config: layers and image size.

        Raises:
            InvalidInputError: there is no such network or layer, or the layers do not accept the
                size.
        """
        _, self._extractor, self._resize_to = served_network(load_recipe(network), config)
        self._functions: dict[str, Any] = {}

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """Run a signature on a batch of images."""
        batch = as_batch(signature, self.input_of(signature)[1], images)
        return _run(self._function(signature), batch)

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's single input."""
        return _input_of(signature, {signature: self._function(signature)})

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""
        return _outputs_of(signature, {signature: self._function(signature)})

    def _function(self, name: str) -> Any:
        wanted: SignatureName = "features" if name == "serving_default" else name  # type: ignore[assignment]
        if wanted not in SIGNATURE_NAMES:
            raise unknown_signature(name, SIGNATURE_NAMES)
        if name not in self._functions:
            self._functions[name] = signature(wanted, self._extractor, self._resize_to)
        return self._functions[name]


def _run(function: Any, images: NDArray[Any]) -> Outputs:
    spec = input_spec(function)
    tensor = tf.constant(images.tolist() if images.dtype == object else images, spec.dtype)
    try:
        outputs = function(**{spec.name: tensor})
    except tf.errors.InvalidArgumentError as error:
        reason = reason_of(error)
        if not reason.startswith("expected"):  # TensorFlow's own
            reason = (
                "expected images that the network accepts. "
                f"Received: shape {images.shape} ({reason})"
            )
        raise InvalidInputError(reason) from None
    results = {name: np.asarray(value) for name, value in outputs.items()}
    if any(value.size == 0 for value in results.values()):
        raise InvalidInputError(
            f"expected images large enough for all layers. Received: shape {images.shape}"
        )
    return results


def _input_of(name: str, functions: Any) -> SignatureInput:
    if name not in functions:
        raise unknown_signature(name, functions)
    spec = input_spec(functions[name])
    return spec.name, np.dtype(spec.dtype.as_numpy_dtype), tuple(spec.shape)


def _outputs_of(name: str, functions: Any) -> tuple[str, ...]:
    if name not in functions:
        raise unknown_signature(name, functions)
    return tuple(functions[name].structured_outputs)
