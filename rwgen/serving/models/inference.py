"""Classify, Regress and MultiInference: what they ask of signatures, and make of the outputs.

Their input is a list of `tf.train.Example` protos, which the model gets serialized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.serving.admission import check_inputs
from rwgen.serving.models.spec import DEFAULT_SIGNATURE, DTYPES, STRING, Signature, TensorInfo
from rwgen.serving.models.tensor_proto import STRING_BYTES
from rwgen.serving.status import Code, ServingError, invalid

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

_KINDS = {CLASSIFY: "classification", REGRESS: "regression"}
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"
_FLOAT = DTYPES[1]


@dataclass(frozen=True)
class Classification:
    """The classes of every example.

    Attributes:
        labels: `bytes` [examples, classes]; empty if the model returns scores only.
        scores: float32 [examples, classes]; 0 if the model returns labels only.
    """

    labels: NDArray[Any]
    scores: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Approximate size in bytes."""
        return self.labels.nbytes + self.scores.nbytes

    def texts(self) -> list[list[str]]:
        """Return the labels as text.

        Raises:
            ServingError: INVALID_ARGUMENT, for a label that is not UTF-8.
        """
        try:
            return [[label.decode() for label in row] for row in self.labels.tolist()]
        except UnicodeDecodeError:
            raise invalid("Failed to write class label: it is not UTF-8") from None


@dataclass(frozen=True)
class Regression:
    """A value for every example.

    Attributes:
        values: float32 [examples].
    """

    values: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.values.nbytes


@dataclass(frozen=True)
class Inference:
    """A signature that classifies or regresses.

    Attributes:
        method: `CLASSIFY` or `REGRESS`.
        signature: the signature.

    Raises:
        ServingError: the signature cannot, with TensorFlow Serving's message.
    """

    method: str
    signature: Signature

    def __post_init__(self) -> None:
        """Check the inputs and outputs.

        Like TensorFlow Serving by default, this accepts the right inputs and outputs whatever the
        declared method is: the exports of TensorFlow 2 only declare that of Predict.
        """
        try:
            check = _check_classify if self.method == CLASSIFY else _check_regress
            check(self.signature)
        except ServingError:
            if self.signature.method == self.method:
                raise
            raise invalid(
                f"Expected {_KINDS[self.method]} signature method_name to be {self.method}. "
                f"Was: {self.signature.method}"
            ) from None

    @property
    def input(self) -> TensorInfo:
        """The input, serialized examples."""
        return self.signature.inputs[_INPUTS]

    @property
    def outputs(self) -> dict[str, TensorInfo]:
        """The outputs that the method is about, by name."""
        names = (_CLASSES, _SCORES) if self.method == CLASSIFY else (_OUTPUTS,)
        outputs = self.signature.outputs
        return {name: outputs[name] for name in names if name in outputs}

    def result(
        self, tensors: Mapping[str, NDArray[Any]], count: int
    ) -> Classification | Regression:
        """Return the result, given what `joined` returned for this and perhaps other inferences.

        Args:
            tensors: values by name in the graph.
            count: number of examples.

        Raises:
            ServingError: an output has the wrong shape or element type.
        """
        outputs = {name: tensors[info.tensor] for name, info in self.outputs.items()}
        if self.method == REGRESS:
            return Regression(_values(outputs[_OUTPUTS], count))
        for name, dtype in ((_CLASSES, STRING), (_SCORES, _FLOAT)):
            if name in outputs:
                _check_classes(name, outputs[name], dtype.numpy, count)
        shape = next(iter(outputs.values())).shape
        labels = outputs.get(_CLASSES, np.full(shape, b"", object))
        scores = outputs.get(_SCORES, np.zeros(shape, np.float32))
        if labels.shape != scores.shape:
            raise invalid(
                "Tensors class and score should match in dim_size(1). Got "
                f"{labels.shape[1]} vs. {scores.shape[1]}"
            )
        return Classification(labels, scores)


def find_inference(method: str, name: str, signatures: Mapping[str, Signature]) -> Inference:
    """Return the inference that a Classify or Regress request asks for.

    Args:
        method: `CLASSIFY` or `REGRESS`.
        name: name of a signature; empty for the default one.
        signatures: all signatures of the model.

    Raises:
        ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, with TensorFlow Serving's message.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise invalid(f"No signature was found with the name: {name}")
    return Inference(method, signatures[name])


def find_inferences(tasks: Sequence[Any], signatures: Mapping[str, Signature]) -> list[Inference]:
    """Return the inferences that a MultiInference request asks for.

    Args:
        tasks: `InferenceTask` protos, at least one.
        signatures: all signatures of the model.

    Raises:
        ServingError: with TensorFlow Serving's code and message.
    """
    found: dict[str, Inference] = {}
    for task in tasks:
        spec = task.model_spec
        name = spec.signature_name or DEFAULT_SIGNATURE
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if spec.name != tasks[0].model_spec.name:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        if name in found:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if name not in signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _KINDS:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        found[name] = Inference(task.method_name, signatures[name])
    return list(found.values())


def joined(inferences: Sequence[Inference]) -> Signature:
    """Return the signature that computes all inferences in one run of the model.

    Returns:
        A signature whose inputs and outputs are called as in the graph. It has a single input.

    Raises:
        ServingError: INVALID_ARGUMENT, for different inputs.
    """
    inputs = {inference.input.tensor: inference.input for inference in inferences}
    if len(inputs) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")
    outputs = {info.tensor: info for inference in inferences for info in inference.outputs.values()}
    return Signature(
        " ".join((*inputs, *sorted(outputs))),
        inputs,
        dict(sorted(outputs.items())),
        per_image=all(inference.signature.per_image for inference in inferences),
    )


def serialized(message: Any) -> tuple[bytes, list[bytes]]:
    """Return the context and the examples of an `Input` proto, each serialized."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return b"", []
    listed = getattr(message, kind)
    context = listed.context if kind == "example_list_with_context" else tf.train.Example()
    return (
        context.SerializeToString(),
        [example.SerializeToString() for example in listed.examples],
    )


def example_array(
    context: bytes, examples: Sequence[bytes], max_bytes: int
) -> tuple[NDArray[Any], int]:
    """Return the input of the model.

    Args:
        context: serialized example whose features all others share.
        examples: serialized examples.
        max_bytes: maximum size of the input.

    Returns:
        The examples, each merged with the context, and the size in bytes that they count for.

    Raises:
        ServingError: INVALID_ARGUMENT for no examples, or RESOURCE_EXHAUSTED.
    """
    if not examples:
        raise invalid("Input is empty.")
    # Before the context is copied, perhaps many times.
    size = len(examples) * (STRING_BYTES + len(context)) + sum(map(len, examples))
    check_inputs(size, max_bytes)
    array = np.empty(len(examples), object)
    # Protos that follow each other are merged when they are parsed.
    array[:] = [context + example for example in examples]
    return array, size


def _check_classify(signature: Signature) -> None:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No classification inputs found in SignatureDef: {_shown(signature)}")
    if _CLASSES not in signature.outputs and _SCORES not in signature.outputs:
        raise _precondition(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: {_shown(signature)}'
        )


def _check_regress(signature: Signature) -> None:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No regression inputs found in SignatureDef: {_shown(signature)}")
    if _OUTPUTS not in signature.outputs:
        raise _precondition(f"No regression outputs found in SignatureDef: {_shown(signature)}")


def _precondition(message: str) -> ServingError:
    return ServingError(Code.FAILED_PRECONDITION, message)


def _shown(signature: Signature) -> str:
    return f"inputs {{{','.join(signature.inputs)}}} outputs {{{','.join(signature.outputs)}}}"


def _values(values: NDArray[Any], count: int) -> NDArray[Any]:
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + _shape(values)
        )
    if len(values) != count:
        raise invalid(
            f"Input batch size did not match output batch size: {count} vs. {len(values)}"
        )
    if values.dtype != _FLOAT.numpy:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
    return values.reshape(-1)


def _check_classes(name: str, values: NDArray[Any], dtype: np.dtype[Any], count: int) -> None:
    if values.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(values)}")
    if values.dtype != dtype:
        wanted = _type(np.empty(0, dtype))
        raise invalid(f"Expected {name} Tensor of {wanted}. Got: {_type(values)}")
    if len(values) != count:
        raise invalid(f"Expected {name} output batch size of {count}. Got: {len(values)}")


def _shape(values: NDArray[Any]) -> str:
    return "[" + ",".join(map(str, values.shape)) + "]"


def _type(values: NDArray[Any]) -> str:
    return f"DT_{DTYPES[tf.as_dtype(values.dtype).as_datatype_enum].name.upper()}"
