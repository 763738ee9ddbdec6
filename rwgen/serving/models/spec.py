"""Names of models and versions in requests; signatures, their element types and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from rwgen.checks import is_count
from rwgen.serving.config import MAX_VERSION
from rwgen.serving.status import invalid

DEFAULT_SIGNATURE = "serving_default"
"""Signature of a request that names none."""


@dataclass(frozen=True)
class ModelSpec:
    """A model, and optionally one of its versions, as named in a request.

    Attributes:
        name: name of the model.
        version: version number, or None for the latest version or the one with the label.
        label: label of a version, or None.

    Raises:
        ServingError: INVALID_ARGUMENT, for an empty name or a version out of range.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        if not self.name:
            raise invalid("ModelSpec has no name specified.")
        if self.version is not None and not is_count(self.version, 0, MAX_VERSION):
            raise invalid(f"Failed to convert version: {self.version} to numeric.")


@dataclass(frozen=True)
class DType:
    """An element type.

    Attributes:
        number: enum value in TensorFlow's `types.proto`.
        name: name in TensorFlow's error messages.
        numpy: NumPy dtype; object (holding bytes) for strings.
        field: field of a TensorProto that lists values of this type.
    """

    number: int
    name: str
    numpy: np.dtype[Any]
    field: str


DTYPES = {
    number: DType(number, name, np.dtype(tf.as_dtype(number).as_numpy_dtype), field)
    for number, name, field in (
        (1, "float", "float_val"),
        (2, "double", "double_val"),
        (3, "int32", "int_val"),
        (4, "uint8", "int_val"),
        (5, "int16", "int_val"),
        (6, "int8", "int_val"),
        (7, "string", "string_val"),
        (8, "complex64", "scomplex_val"),
        (9, "int64", "int64_val"),
        (10, "bool", "bool_val"),
        (14, "bfloat16", "half_val"),
        (17, "uint16", "int_val"),
        (18, "complex128", "dcomplex_val"),
        (19, "half", "half_val"),
        (22, "uint32", "uint32_val"),
        (23, "uint64", "uint64_val"),
    )
}
"""Element types that requests and responses may contain, by number. JSON has no form for bfloat16
and the complex types."""

STRING = DTYPES[7]

MAX_RANK = 32
"""Maximum rank of a tensor."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Attributes:
        dtype: element type.
        shape: the shape that the model declares, with None for a dimension of any size; None for
            any shape at all. The model may accept others.
        tensor: name of the tensor in the graph.
    """

    dtype: DType
    shape: tuple[int | None, ...] | None
    tensor: str = ""


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature of a model.

    Attributes:
        name: key of the signature in the SavedModel.
        inputs: inputs by name.
        outputs: outputs by name.
        defaults: values of inputs that a request may omit.
        per_image: whether a row of the outputs depends on the same row of the inputs alone.
        method: name of the method that the signature declares, such as
            `tensorflow/serving/classify`.
    """

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    defaults: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    per_image: bool = False
    method: str = ""

    @property
    def has_batch(self) -> bool:
        """Whether dimension 0 of every input and output is a batch of any size."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(info.shape and info.shape[0] is None for info in tensors)

    def check_names(self, names: set[str]) -> None:
        """Check that a request has exactly the inputs of the signature.

        Raises:
            ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
        """
        missing = set(self.inputs) - set(self.defaults) - names
        extra = names - set(self.inputs)
        if extra and len(names) == len(self.inputs):
            raise invalid(
                f"input tensor alias not found in signature: {min(extra)}. "
                f"Inputs expected to be in the set {_listed(set(self.inputs))}."
            )
        if missing or extra:
            raise invalid(
                f"input size does not match signature: {len(names)}!={len(self.inputs)} "
                f"len({_listed(names)}) != len({_listed(set(self.inputs))}). "
                f"Sent extra: {_listed(extra)}. Missing but required: {_listed(missing)}."
            )

    def check_dtype(self, name: str, dtype_name: str) -> None:
        """Check the element type of an input.

        Raises:
            ServingError: INVALID_ARGUMENT.
        """
        expected = self.inputs[name].dtype.name
        if dtype_name != expected:
            raise invalid(f"Expected input {name} to be {expected} but {dtype_name} is provided.")

    def select_outputs(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the outputs that a request asks for; all if it names none.

        Raises:
            ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
        """
        for position, name in enumerate(wanted):
            if name not in self.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {_listed(set(self.outputs))}."
                )
            if name in wanted[:position]:
                raise invalid(f"duplicate output tensor alias: {name}")
        return wanted or tuple(self.outputs)


def dtype_name(number: int) -> str:
    """Return the name of an element type in error messages, including unsupported types."""
    return DTYPES[number].name if number in DTYPES else f"type {number}"


def _listed(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
