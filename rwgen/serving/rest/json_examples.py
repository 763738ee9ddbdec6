"""Decoding of the REST bodies of Classify and Regress, and encoding of their results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rwgen.serving.models.inference import Classification, Regression
from rwgen.serving.rest.json_document import parse_document, signature_name
from rwgen.serving.rest.json_response import decimals
from rwgen.serving.rest.json_values import (
    TEXT_ERRORS,
    format_error,
    from_base64,
    is_base64,
    shown,
    type_name,
)
from rwgen.serving.status import invalid

_MAX_FLOAT = float(np.finfo(np.float32).max)
_MAX_INT64, _MAX_UINT64 = 2**63 - 1, 2**64 - 1


@dataclass(frozen=True)
class ExamplesRequest:
    """A decoded request.

    Attributes:
        signature_name: name of the signature; empty for the default one.
        context: serialized `tf.train.Example` whose features all examples share.
        examples: serialized examples.
    """

    signature_name: str
    context: bytes
    examples: list[bytes]


def decode_examples(body: bytes) -> ExamplesRequest:
    """Decode a request.

    Args:
        body: `{"signature_name": ..., "context": {...}, "examples": [{...}, ...]}`. A context and
            an example consist of features by name: a value or a list of values of one type.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
    """
    document = parse_document(body)
    name = signature_name(document)
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        # TensorFlow Serving says so for Regress too.
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    return ExamplesRequest(name, context, list(map(_example, examples)))


def encode_result(result: Classification | Regression) -> bytes:
    """Encode a response.

    Returns:
        JSON in UTF-8: a value for each example of a regression; a list of `[label, score]` pairs
        for each example of a classification.

    Raises:
        ServingError: INVALID_ARGUMENT, for a label that is not UTF-8.
    """
    if isinstance(result, Regression):
        return ('{"results": [' + ", ".join(decimals(result.values)) + "]}").encode()
    rows = []
    for labels, scores in zip(result.texts(), result.scores, strict=True):
        pairs = zip(map(json.dumps, labels), decimals(scores), strict=True)
        rows.append("[" + ", ".join(f"[{label}, {score}]" for label, score in pairs) + "]")
    return ('{"results": [' + ", ".join(rows) + "]}").encode()


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError:
            raise invalid(f"Feature: {shown(name)} has a name that is not UTF-8") from None
        _fill(feature, name, content if isinstance(content, list) else [content])
    return bytes(example.SerializeToString())


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    """Add values to a feature. The first one decides about its type; no values, about none."""
    kind = None
    converted = []
    for value in values:
        of, convert = _conversion(name, value)
        if kind not in (None, of):
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {kind}")
        kind = of
        converted.append(convert(value))
    if kind is not None:
        getattr(feature, f"{kind}_list").value.extend(converted)


def _conversion(name: str, value: Any) -> tuple[str, Callable[[Any], Any]]:
    """Return the type of the feature that a value belongs to, and its conversion."""
    if isinstance(value, str):
        return "bytes", lambda text: text.encode(errors=TEXT_ERRORS)
    if is_base64(value):
        return "bytes", from_base64
    if isinstance(value, bool):
        return "int64", int
    # An integer that is too large for 64 bits is parsed as a float.
    if isinstance(value, int) and -_MAX_INT64 - 1 <= value <= _MAX_UINT64:
        return "int64", lambda number: _int64(name, number)
    if isinstance(value, int | float):
        return "float", _float
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _int64(name: str, value: int) -> int:
    if value > _MAX_INT64:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    return value


def _float(value: float) -> float:
    number = float(value)
    if _MAX_FLOAT < abs(number) < float("inf"):
        raise invalid(
            f"Cannot convert JSON value: {shown(number)} to float without loss of precision."
        )
    return number
