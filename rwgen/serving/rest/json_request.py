"""Decoding of REST bodies in TensorFlow Serving's row and columnar formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rwgen.serving.models.spec import DEFAULT_SIGNATURE, TensorInfo
from rwgen.serving.rest.json_document import parse_document, signature_name
from rwgen.serving.rest.json_values import format_error, is_base64, shown, to_array
from rwgen.serving.status import ServingError, invalid


@dataclass(frozen=True)
class JsonRequest:
    """A decoded request.

    Attributes:
        signature_name: name of the signature.
        row: whether the request, and therefore the response, is in row format.
        inputs: input arrays by name.
    """

    signature_name: str
    row: bool
    inputs: Mapping[str, NDArray[Any]]


def decode_request(
    body: bytes, inputs_of: Callable[[str], Mapping[str, TensorInfo]]
) -> JsonRequest:
    """Decode a request.

    Args:
        body: `{"signature_name": ..., "instances": [...]}`, or `inputs` in place of `instances`.
        inputs_of: returns the inputs of a signature by name, or raises `ServingError`.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
    """
    document = parse_document(body)
    name = signature_name(document)
    infos = inputs_of(name or DEFAULT_SIGNATURE)
    if not infos:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    reader = _Reader(infos)
    row = "instances" in document
    if row:
        inputs = reader.rows(_instances(document))
    elif "inputs" in document:
        inputs = reader.columns(document["inputs"])
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return JsonRequest(name or DEFAULT_SIGNATURE, row, inputs)


def _instances(document: dict[str, Any]) -> list[Any]:
    if "inputs" in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    instances = document["instances"]
    if not isinstance(instances, list):
        raise format_error(document, "Excepting 'instances' to be an list/array")
    if not instances:
        raise format_error(document, "No values in 'instances' array")
    return instances


class _Reader:
    def __init__(self, infos: Mapping[str, TensorInfo]) -> None:
        self._infos = infos

    def rows(self, instances: list[Any]) -> dict[str, NDArray[Any]]:
        """Decode one element per row: a value, or an object with the values of all inputs."""
        named = _is_object(instances[0])
        if not named and len(self._infos) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        try:
            if named:
                return {
                    name: self._array(name, [element[name] for element in instances])
                    for name in self._checked_names(instances)
                }
            (name,) = self._infos
            return {name: self._array(name, instances)}
        except ServingError as error:
            # Again and row by row, for the error of the first invalid row.
            check = self._check_named_row if named else self._check_row
            shapes: dict[str, tuple[int, ...]] = {}
            for position, element in enumerate(instances):
                check(position, element, shapes)
            raise error from None

    def columns(self, inputs: Any) -> dict[str, NDArray[Any]]:
        """Decode whole tensors: the single one, or an object with each of them by name.

        Other names in the object are ignored, as by TensorFlow Serving, but not those in rows.
        """
        if not _is_object(inputs):
            if len(self._infos) > 1:
                raise invalid(
                    "inputs is a plain value/list, but expecting an object as multiple input "
                    "tensors required as per tensorinfo_map"
                )
            return {name: self._array(name, inputs) for name in self._infos}
        for name in self._infos:
            if name not in inputs:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: self._array(name, inputs[name]) for name in self._infos}

    def _array(self, name: str, value: Any) -> NDArray[Any]:
        return to_array(value, self._infos[name].dtype)

    def _checked_names(self, instances: list[Any]) -> tuple[str, ...]:
        names = self._infos.keys()
        for element in instances:
            if not _is_object(element) or element.keys() != names:
                raise invalid(f"JSON object: keys must be equal to: {_listed(names)}")
        return tuple(names)

    def _check_row(self, position: int, element: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        if _is_object(element):
            raise invalid(f"Expecting value/list but got object at item {position} of input list")
        (name,) = self._infos
        try:
            self._check_item(name, element, shapes)
        except ServingError as error:
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. "
                f"Error: {error.code.name}: {error}"
            ) from None

    def _check_named_row(
        self, position: int, element: Any, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        if not _is_object(element):
            raise invalid(f"Expecting object but got list at item {position} of input list")
        for name, item in element.items():
            try:
                self._check_item(name, item, shapes)
            except ServingError as error:
                raise invalid(
                    f"Failed to process element: {position} key: {name} of 'instances' list. "
                    f"Error: {error.code.name}: {error}"
                ) from None
        if element.keys() != self._infos.keys():
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{shown(element)} keys must be equal to: {_listed(self._infos)}"
            )

    def _check_item(self, name: str, item: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        """Check the value of an input in one row, whose shape must be that of the first row."""
        if name not in self._infos:
            raise invalid(f"JSON object: does not have named input: {name}")
        shape = self._array(name, item).shape
        first = shapes.setdefault(name, shape)
        if math.prod(shape) != math.prod(first):
            raise invalid(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
        if shape != first:
            raise invalid(f"Expecting shape {_bracketed(first)} but got: {_bracketed(shape)}")


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _bracketed(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)
