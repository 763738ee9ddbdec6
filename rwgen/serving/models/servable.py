"""One version of a model: loading, warm-up and execution."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from rwgen.errors import InvalidInputError, reason_of
from rwgen.export.manifest import read_manifest
from rwgen.export.warmup import WARMUP_FILE
from rwgen.serving.logs import log
from rwgen.serving.models.folders import MODEL_FILES
from rwgen.serving.models.inference import (
    CLASSIFY,
    REGRESS,
    Inference,
    example_array,
    find_inference,
    find_inferences,
    joined,
    serialized,
)
from rwgen.serving.models.spec import DEFAULT_SIGNATURE, DTYPES, Signature, TensorInfo
from rwgen.serving.models.tensor_proto import as_array, decode_inputs
from rwgen.serving.status import Code, ServingError, invalid

TAG = "serve"
"""Tag of the graph to serve."""

MAX_WARMUP_REQUESTS = 1000
"""Maximum number of warm-up requests; more are an error, as in TensorFlow Serving."""

MAX_WARMUP_BYTES = 2**31 - 1
"""Maximum size of the tensors of one warm-up request. They come with the model, so are trusted."""

_WARMUP_METHODS = {"classify_log": CLASSIFY, "regress_log": REGRESS}

MAX_RUNS = 256
"""Maximum number of combinations of inputs and outputs that a session keeps prepared for runs.
MultiInference requests may ask for any combination."""


class Servable:
    """A loaded version of a model.

    A session runs it, as in TensorFlow Serving. So the shapes in a signature are only hints, and
    SavedModels of TensorFlow 1 can be served, of which `tf.saved_model.load` only makes functions
    in part.

    Args:
        path: folder of a SavedModel with the tag `serve`.
        name: name of the model.
        version: version number.
        threads: number of threads that run one operation, and number of operations that run
            concurrently; 0 means one per core.

    Attributes:
        signature_defs: all SignatureDefs of the SavedModel by name.
        signatures: signatures that can be run, by name.

    Raises:
        ServingError: the version cannot be loaded, or a warm-up request fails.
    """

    def __init__(
        self, path: Path, name: str, version: int, threads: tuple[int, int] = (0, 0)
    ) -> None:
        self.name = name
        self.version = version
        try:
            self.signature_defs = _signature_defs(path)
            self._session = _load(path, threads)
        except Exception as error:
            raise as_serving_error(error) from error
        per_image = _per_image(path)
        self.signatures = {
            key: _signature(key, definition, per_image=key in per_image)
            for key, definition in self.signature_defs.items()
            if _can_be_sent(definition)
        }
        self._runs: dict[tuple[tuple[str, ...], ...], Callable[..., list[Any]]] = {}
        self._making_run = threading.Lock()
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

    def run(
        self, signature: Signature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Run a signature and return all of its outputs.

        Args:
            signature: one of the signatures, or a combination of several.
            inputs: all of its inputs, with the right dtypes.

        Raises:
            ServingError: with the code of TensorFlow's error.
        """
        try:
            values = self._run_of(signature)(*(inputs[name] for name in signature.inputs))
            return {
                name: as_array(value) for name, value in zip(signature.outputs, values, strict=True)
            }
        except Exception as error:
            raise as_serving_error(error) from error

    def _run_of(self, signature: Signature) -> Callable[..., list[Any]]:
        """Return the function from the inputs of a signature to its outputs, both in its order."""
        feed = tuple(info.tensor for info in signature.inputs.values())
        fetch = tuple(info.tensor for info in signature.outputs.values())
        with self._making_run:
            if (feed, fetch) not in self._runs:
                if len(self._runs) >= MAX_RUNS:
                    self._runs.pop(next(iter(self._runs)))
                options = config_pb2.CallableOptions(feed=feed, fetch=fetch)
                # `make_callable`, which is public, checks the shapes of inputs.
                self._runs[feed, fetch] = self._session._make_callable_from_options(options)
            return self._runs[feed, fetch]

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
                self._replay(prediction_log_pb2.PredictionLog.FromString(record))
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

    def _replay(self, entry: Any) -> None:
        kind = entry.WhichOneof("log_type")
        if kind == "predict_log":
            request = entry.predict_log.request
            signature = self.signature(request.model_spec.signature_name)
            signature.check_names(set(request.inputs))
            inputs, _ = decode_inputs(request.inputs, signature, MAX_WARMUP_BYTES)
            self.run(signature, {**signature.defaults, **inputs})
        elif kind in _WARMUP_METHODS:
            request = getattr(entry, kind).request
            name = request.model_spec.signature_name
            self._infer([find_inference(_WARMUP_METHODS[kind], name, self.signatures)], request)
        elif kind == "multi_inference_log":
            request = entry.multi_inference_log.request
            self._infer(find_inferences(request.tasks, self.signatures), request)

    def _infer(self, inferences: Sequence[Inference], request: Any) -> None:
        signature = joined(inferences)
        examples, _ = example_array(*serialized(request.input), MAX_WARMUP_BYTES)
        outputs = self.run(signature, dict.fromkeys(signature.inputs, examples))
        for inference in inferences:
            inference.result(outputs, len(examples))


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
    binary, text = (path / name for name in MODEL_FILES)
    model: Any = saved_model_pb2.SavedModel()
    try:
        if binary.is_file():
            model.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse(text.read_bytes(), model)
    except (OSError, DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid(f"expected a SavedModel in {path}. Received: {error}") from None
    for graph in model.meta_graphs:
        if TAG in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise invalid(f"expected a SavedModel with the tag {TAG}. Received: none in {path}")


def _load(path: Path, threads: tuple[int, int]) -> Any:
    """Return a session with the variables and tables of a SavedModel."""
    with tf.Graph().as_default(), _no_deprecation_notices():
        # A model may have been exported for a device that this machine does not have.
        config = tf.compat.v1.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=threads[0],
            inter_op_parallelism_threads=threads[1],
        )
        session = tf.compat.v1.Session(config=config)
        tf.compat.v1.saved_model.load(session, [TAG], str(path))
        return session


@contextlib.contextmanager
def _no_deprecation_notices() -> Iterator[None]:
    """Keep TensorFlow from recommending `tf.saved_model.load`, which makes no session."""

    def is_other(record: logging.LogRecord) -> bool:
        return "is deprecated" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _can_be_sent(definition: Any) -> bool:
    """Return whether requests and responses can represent all tensors of a signature."""
    tensors = (*definition.inputs.values(), *definition.outputs.values())
    # A sparse tensor consists of several, and has no name of its own.
    return all(info.name and _base_dtype(info) in DTYPES for info in tensors)


def _base_dtype(info: Any) -> int:
    """Return the number of an element type, which for variables of TensorFlow 1 is a reference."""
    try:
        return int(tf.as_dtype(info.dtype).base_dtype.as_datatype_enum)
    except TypeError:  # no element type at all, such as that of an operation without outputs
        return 0


def _per_image(path: Path) -> tuple[str, ...]:
    """Return the signatures that the manifest of an export declares to be per image."""
    try:
        return read_manifest(path).per_image
    except InvalidInputError:  # not an export of rwgen
        return ()


def _signature(name: str, definition: Any, *, per_image: bool) -> Signature:
    return Signature(
        name,
        {key: _tensor_info(info) for key, info in definition.inputs.items()},
        {key: _tensor_info(info) for key, info in definition.outputs.items()},
        {key: tf.make_ndarray(value) for key, value in definition.defaults.items()},
        per_image,
        definition.method_name,
    )


def _tensor_info(info: Any) -> TensorInfo:
    shape, dtype = info.tensor_shape, DTYPES[_base_dtype(info)]
    if shape.unknown_rank:
        return TensorInfo(dtype, None, info.name)
    sides = tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
    return TensorInfo(dtype, sides, info.name)
