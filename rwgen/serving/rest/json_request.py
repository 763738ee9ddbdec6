"""Decoding of REST bodies in TensorFlow Serving's row and columnar formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.models.spec import DEFAULT_SIGNATURE, TensorInfo
from rwgen.serving.rest.json_values import (
    TEXT_ERRORS,
    dense_shape,
    format_error,
    is_base64,
    to_array,
)
from rwgen.serving.status import ServingError, invalid

# Python's messages, and those of RapidJSON, which TensorFlow Serving uses, for the same errors.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or closing bracket after an element.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# The group matches a surrogate that is not half of a pair.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", flags=re.DOTALL
)


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
    document = _parse(body)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise format_error(name, "'signature_name' key must be a string value")
    if "instances" in document and "inputs" in document:
        raise invalid("Not formatted correctly: expected only one of 'instances' and 'inputs' keys")
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    infos = inputs_of(name or DEFAULT_SIGNATURE)
    if not infos:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    reader = _Reader(infos)
    row = "instances" in document
    inputs = reader.rows(document["instances"]) if row else reader.columns(document["inputs"])
    return JsonRequest(name or DEFAULT_SIGNATURE, row, inputs)


def _parse(body: bytes) -> Any:
    # Like TensorFlow Serving's parser, this takes bytes that are not UTF-8 as part of a string.
    text = body.decode("utf-8-sig", TEXT_ERRORS)
    if not text.strip():
        raise invalid("JSON Parse error: The document is empty.")
    if _SURROGATE.search(text):
        for escape in _ESCAPE.finditer(text):
            if escape[1]:
                raise invalid(
                    "JSON Parse error: The surrogate pair in string is invalid. at offset: "
                    f"{escape.start()}"
                )
    try:
        return json.loads(text, object_pairs_hook=_first_wins)
    except json.JSONDecodeError as error:
        reason = _PARSE_ERRORS.get(error.msg, error.msg + ".")
        raise invalid(f"JSON Parse error: {reason} at offset: {error.pos}") from None
    except ValueError:  # Python does not parse integers of thousands of digits
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, in which the first of several values with the same name is the one found."""
    found = dict(pairs)
    if len(found) < len(pairs):
        found.update(reversed(pairs))
    return found


class _Reader:
    def __init__(self, infos: Mapping[str, TensorInfo]) -> None:
        self._infos = infos

    def rows(self, instances: Any) -> dict[str, NDArray[Any]]:
        """Decode one element per row: a value, or an object with the values of all inputs."""
        if not isinstance(instances, list) or not instances:
            raise format_error(instances, "Expecting 'instances' to be a list that is not empty")
        if _is_object(instances[0]):
            return self._named_rows(instances)
        if len(self._infos) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        for element in instances:
            if _is_object(element):
                raise format_error(element, "Expecting value/list but got object")
        return {name: self._stack(name, instances) for name in self._infos}

    def _named_rows(self, instances: list[Any]) -> dict[str, NDArray[Any]]:
        for position, element in enumerate(instances):
            if not _is_object(element):
                raise format_error(element, "Expecting object but got list at input")
            for name in element:
                if name not in self._infos:
                    raise invalid(f"JSON object: does not have named input: {name}")
            if element.keys() != self._infos.keys():
                raise invalid(
                    f"Failed to process element: {position} of 'instances' list. JSON object: "
                    f"keys must be equal to: {','.join(sorted(self._infos))}"
                )
        return {
            name: self._stack(name, [element[name] for element in instances])
            for name in self._infos
        }

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

    def _stack(self, name: str, items: list[Any]) -> NDArray[Any]:
        """Stack the values of one input in all rows, which must have the same shape."""
        try:
            return self._array(name, items)
        except ServingError:
            # Row by row, for an error that names the invalid row.
            arrays = [self._row(name, items, position) for position in range(len(items))]
            return np.stack(arrays)

    def _row(self, name: str, items: list[Any], position: int) -> NDArray[Any]:
        try:
            array = self._array(name, items[position])
            shape = dense_shape(items[0])
            if array.size != (size := int(np.prod(shape))):
                raise format_error(
                    items[position], f"Expecting tensor size: {size} but got: {array.size}"
                )
            if array.shape != shape:
                raise format_error(
                    items[position],
                    f"Expecting shape {_shown(shape)} but got: {_shown(array.shape)}",
                )
        except ServingError as error:
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. Error: {error}"
            ) from None
        return array


def _shown(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)
