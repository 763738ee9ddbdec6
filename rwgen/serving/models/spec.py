"""What a signature takes and gives: element types, shapes, and which requests may share a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rwgen.serving.status import invalid


@dataclass(frozen=True)
class DType:
    """An element type.

    Attributes:
        number: in TensorFlow's `types.proto`.
        name: in TensorFlow's messages.
        numpy: the same in NumPy; objects (bytes) for strings.
        field: of a TensorProto, where values are listed.
    """

    number: int
    name: str
    numpy: np.dtype[Any]
    field: str


DTYPES = {
    number: DType(number, name, np.dtype(numpy), field)
    for number, name, numpy, field in (
        (1, "float", "float32", "float_val"),
        (2, "double", "float64", "double_val"),
        (3, "int32", "int32", "int_val"),
        (4, "uint8", "uint8", "int_val"),
        (5, "int16", "int16", "int_val"),
        (6, "int8", "int8", "int_val"),
        (7, "string", "object", "string_val"),
        (9, "int64", "int64", "int64_val"),
        (10, "bool", "bool", "bool_val"),
        (17, "uint16", "uint16", "int_val"),
        (19, "half", "float16", "half_val"),
        (22, "uint32", "uint32", "uint32_val"),
        (23, "uint64", "uint64", "uint64_val"),
    )
}
"""The element types that can be sent, by number."""

STRING = DTYPES[7]

MAX_RANK = 32
"""Dimensions of a tensor at the most."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Attributes:
        dtype: the type of its elements.
        shape: None for a dimension that may have any size; None as a whole for any shape.
    """

    dtype: DType
    shape: tuple[int | None, ...] | None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor may have this shape."""
        return self.shape is None or (
            len(shape) == len(self.shape)
            and all(own in (None, side) for own, side in zip(self.shape, shape, strict=True))
        )


@dataclass(frozen=True)
class Signature:
    """What one signature of a model takes and gives.

    Attributes:
        name: its key in the SavedModel.
        inputs: by name.
        outputs: by name.
        defaults: values of inputs that a request may leave out.
    """

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    defaults: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    @property
    def batchable(self) -> bool:
        """Whether dimension 0 of every tensor is a batch of any size."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(info.shape and info.shape[0] is None for info in tensors)

    def check_names(self, names: set[str]) -> None:
        """Find out whether a request has the right inputs.

        Raises:
            ServingError: INVALID_ARGUMENT, in TensorFlow Serving's words.
        """
        missing = set(self.inputs) - set(self.defaults) - names
        extra = names - set(self.inputs)
        if missing or extra:
            raise invalid(
                f"input size does not match signature: {len(names)}!={len(self.inputs)} "
                f"len({_listed(names)}) != len({_listed(set(self.inputs))}). "
                f"Sent extra: {_listed(extra)}. Missing but required: {_listed(missing)}."
            )

    def check_input(self, name: str, dtype_name: str, shape: tuple[int, ...]) -> None:
        """Find out whether a tensor can be an input.

        Raises:
            ServingError: INVALID_ARGUMENT.
        """
        info = self.inputs[name]
        if dtype_name != info.dtype.name:
            raise invalid(
                f"Expected input {name} to be {info.dtype.name} but {dtype_name} is provided."
            )
        if not info.accepts(shape):
            raise invalid(
                f"Expected input {name} to have shape {shown_shape(info.shape)} but "
                f"{shown_shape(shape)} is provided."
            )

    def select_outputs(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The outputs that a request asks for; all where it names none.

        Raises:
            ServingError: INVALID_ARGUMENT, in TensorFlow Serving's words.
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


def shown_shape(shape: tuple[int | None, ...] | None) -> str:
    """A shape in messages, such as `[?,224,224,3]`."""
    if shape is None:
        return "<unknown>"
    return "[" + ",".join("?" if side is None else str(side) for side in shape) + "]"


def dtype_name(number: int) -> str:
    """The name of an element type in messages, also of one that cannot be sent."""
    return DTYPES[number].name if number in DTYPES else f"type {number}"


def _listed(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
