"""One version of a model: loading, warm-up and execution."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from rwgen.errors import reason_of
from rwgen.export.warmup import WARMUP_FILE
from rwgen.serving.logs import log
from rwgen.serving.models.folders import MODEL_FILE
from rwgen.serving.models.spec import DEFAULT_SIGNATURE, DTYPES, Signature, TensorInfo
from rwgen.serving.models.tensor_proto import as_array, decode_inputs
from rwgen.serving.status import Code, ServingError, invalid

TAG = "serve"
"""Tag of the graph to serve."""

MAX_WARMUP_REQUESTS = 1000
"""Maximum number of warm-up requests; more are an error, as in TensorFlow Serving."""

MAX_WARMUP_BYTES = 2**31 - 1
"""Maximum size of the tensors of one warm-up request. They come with the model, so are trusted."""


class Servable:
    """A loaded version of a model.

    Args:
        path: folder of a SavedModel with the tag `serve`.
        name: name of the model.
        version: version number.

    Attributes:
        signature_defs: all SignatureDefs of the SavedModel by name.
        signatures: signatures that can be run, by name.

    Raises:
        ServingError: the version cannot be loaded, or a warm-up request fails.
    """

    def __init__(self, path: Path, name: str, version: int) -> None:
        self.name = name
        self.version = version
        try:
            self.signature_defs = _signature_defs(path)
            # The functions hold only weak references to the variables of the model.
            self._model: Any = tf.saved_model.load(str(path), tags=[TAG])
            self._functions: dict[str, Any] = dict(self._model.signatures)
        except ServingError:
            raise
        except Exception as error:
            raise as_serving_error(error) from error
        self.signatures = {
            key: _signature(key, self.signature_defs[key])
            for key in self._functions
            if key in self.signature_defs and _can_be_sent(self.signature_defs[key])
        }
        self._warm_up(path / WARMUP_FILE)

    def signature(self, name: str) -> Signature:
        """Return a signature; an empty name stands for the default one.

        Raises:
            ServingError: FAILED_PRECONDITION, with TensorFlow Serving's message.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServingError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        return self.signatures[name]

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a signature and return all of its outputs.

        Args:
            signature: name of the signature.
            inputs: all of its inputs, with the right dtypes and shapes.

        Raises:
            ServingError: with the code of TensorFlow's error.
        """
        try:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            outputs = self._functions[signature](**tensors)
            return {name: as_array(output.numpy()) for name, output in outputs.items()}
        except Exception as error:
            raise as_serving_error(error) from error

    def _warm_up(self, path: Path) -> None:
        """Replay the warm-up requests of the model, so that no client waits for the first run."""
        if not path.is_file():
            return
        start, count = time.monotonic(), 0
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                count += 1
                if count > MAX_WARMUP_REQUESTS:
                    raise invalid(f"more than {MAX_WARMUP_REQUESTS} warm-up requests")
                entry = prediction_log_pb2.PredictionLog.FromString(record)
                if entry.WhichOneof("log_type") == "predict_log":
                    self._replay(entry.predict_log.request)
        except Exception as error:
            failure = as_serving_error(error)
            raise ServingError(failure.code, f"warm-up request {count}: {failure}") from error
        log(
            logging.INFO,
            "warmed_up",
            model=self.name,
            version=self.version,
            requests=count,
            seconds=time.monotonic() - start,
        )

    def _replay(self, request: Any) -> None:
        signature = self.signature(request.model_spec.signature_name)
        signature.check_names(set(request.inputs))
        inputs, _ = decode_inputs(request.inputs, signature, MAX_WARMUP_BYTES)
        self.run(signature.name, {**signature.defaults, **inputs})


def as_serving_error(error: Exception) -> ServingError:
    """Convert an exception to a `ServingError`. TensorFlow's codes are those of gRPC."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), reason_of(error))
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow fails to decode an error message that quotes a string of the request.
        return invalid("The model refused a string that is not UTF-8")
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, "Not enough memory")
    text = " ".join(str(error).split())
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {text}")


def _signature_defs(path: Path) -> dict[str, Any]:
    try:
        model = saved_model_pb2.SavedModel.FromString((path / MODEL_FILE).read_bytes())
    except (OSError, DecodeError) as error:
        raise invalid(f"expected a SavedModel in {path}. Received: {error}") from None
    for graph in model.meta_graphs:
        if TAG in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise invalid(f"expected a SavedModel with the tag {TAG}. Received: none in {path}")


def _can_be_sent(definition: Any) -> bool:
    """Return whether requests and responses can represent all tensors of a signature."""
    tensors = (*definition.inputs.values(), *definition.outputs.values())
    return all(info.dtype in DTYPES for info in tensors)


def _signature(name: str, definition: Any) -> Signature:
    return Signature(
        name,
        {key: _tensor_info(info) for key, info in definition.inputs.items()},
        {key: _tensor_info(info) for key, info in definition.outputs.items()},
        {key: tf.make_ndarray(value) for key, value in definition.defaults.items()},
    )


def _tensor_info(info: Any) -> TensorInfo:
    shape = info.tensor_shape
    if shape.unknown_rank:
        return TensorInfo(DTYPES[info.dtype], None)
    sides = tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
    return TensorInfo(DTYPES[info.dtype], sides)
