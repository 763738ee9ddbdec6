"""Conversion of JSON values to arrays, with TensorFlow Serving's rules and error messages.

NumPy converts numbers all at once. Strings, and values that NumPy and TensorFlow Serving treat
differently, are converted one by one, which also finds the first invalid value.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import is_count
from rwgen.serving.models.spec import MAX_RANK, STRING, DType
from rwgen.serving.status import Code, ServingError, invalid

MAX_SHOWN = 120
"""Maximum number of characters of a JSON value in an error message."""

_WHITE_SPACE = b" \t\n\v\f\r"

TEXT_ERRORS = "surrogateescape"
"""Representation of bytes that are not UTF-8 in a `str`, for `bytes.decode` and `str.encode`."""

_MAX_FLOAT = int(np.finfo(np.float64).max)

_KINDS: dict[str, set[type]] = {"f": {int, float}, "b": {bool}, "i": {int}, "u": {int}}
_TYPES = {dict: "Object", list: "Array", str: "String", type(None): "Null"}


def to_array(value: Any, dtype: DType) -> NDArray[Any]:
    """Convert a JSON value to an array.

    Args:
        value: a number, string, boolean or `b64` object, or nested lists of them.
        dtype: required element type.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for an element type without a form in
            JSON, with TensorFlow Serving's message.
    """
    if dtype is not STRING and dtype.numpy.kind not in _KINDS:
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {dtype.name}"
        )
    array = _at_once(value, dtype)
    if array is not None:
        return array
    shape = dense_shape(value)
    values: list[Any] = []
    _collect(value, 0, shape, dtype, values)
    array = np.empty(len(values), dtype.numpy)
    array[:] = values
    return array.reshape(shape)


def dense_shape(value: Any) -> tuple[int, ...]:
    """Return the shape of nested lists, judged by their first elements.

    Raises:
        ServingError: INVALID_ARGUMENT, for more than `MAX_RANK` dimensions.
    """
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > MAX_RANK:
            raise invalid(f"JSON Value: expected at most {MAX_RANK} dimensions")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def is_base64(value: Any) -> bool:
    """Return whether a value is an object that represents bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def format_error(value: Any, *words: object) -> ServingError:
    """Return an error about a value, which is shown abbreviated."""
    return invalid(" ".join(["JSON Value:", shown(value), *map(str, words)]))


def _at_once(value: Any, dtype: DType) -> NDArray[Any] | None:
    """Convert a value by NumPy; None if it is ragged or has elements of another type."""
    # dtype object: otherwise every string would be padded to the length of the longest.
    array = np.array(value, dtype=object)
    if array.ndim > MAX_RANK:
        return None
    types: set[type] = set(map(type, array.reshape(-1).tolist()))
    kind = dtype.numpy.kind
    wanted = _KINDS.get(kind)
    if wanted is None or not types <= wanted:
        return None
    try:
        with np.errstate(over="ignore"):
            return array.astype(dtype.numpy)
    except OverflowError:
        return None


def _collect(
    value: Any, level: int, shape: tuple[int, ...], dtype: DType, values: list[Any]
) -> None:
    """Append the elements of nested lists, which must have this shape."""
    rank = len(shape)
    if not isinstance(value, list):
        # The elements of a dense tensor are all at the innermost level.
        if level != rank:
            raise format_error(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}",
            )
        values.append(_element(value, dtype))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _collect(item, level + 1, shape, dtype, values)


def _element(value: Any, dtype: DType) -> Any:
    if dtype is STRING:
        if isinstance(value, dict):
            return from_base64(value)
        if isinstance(value, str):
            return value.encode(errors=TEXT_ERRORS)
    elif dtype.numpy.kind == "b":
        if isinstance(value, bool):
            return value
    elif dtype.numpy.kind == "f":
        # Unlike `is_number`, JSON here has NaN and infinities.
        if isinstance(value, float) or is_count(value, -_MAX_FLOAT, _MAX_FLOAT):
            return float(value)
    elif is_count(value, int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max)):
        return value
    raise _type_error(value, dtype)


def from_base64(value: dict[str, Any]) -> bytes:
    """Decode an object that represents bytes, by the rules of Abseil's `Base64Unescape`.

    White space is skipped, since many encoders break lines, and padding may be missing.
    """
    if not is_base64(value):
        raise format_error(value, "not formatted correctly for base64 data")
    try:
        text = value["b64"].encode("ascii").translate(None, _WHITE_SPACE)
        digits = text.rstrip(b"=.")
        padding = -len(digits) % 4
        if len(text) - len(digits) in (0, padding):
            return base64.b64decode(digits + b"=" * padding, validate=True)
    except ValueError:  # also of digits that are none
        pass
    raise invalid("Unable to base64 decode")


def _type_error(value: Any, dtype: DType) -> ServingError:
    return format_error(value, f"Type: {type_name(value)} is not of expected type: {dtype.name}")


def type_name(value: Any) -> str:
    """Return the name of a value's type in error messages."""
    if isinstance(value, bool):
        return str(value)  # RapidJSON has a type for each
    return _TYPES.get(type(value), "Number")


def shown(value: Any) -> str:
    """Return a value as it appears in error messages, abbreviated."""
    if isinstance(value, str):
        value = value[:MAX_SHOWN]
    elif isinstance(value, int) and abs(value) >= 10**20:
        return "a number of many digits"
    elif isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    # Incrementally: a value may be large, or nested more deeply than the encoder can handle.
    text = ""
    encoder = json.JSONEncoder(indent=4, ensure_ascii=False)
    for piece in itertools.islice(encoder.iterencode(value), MAX_SHOWN):
        text += piece[:MAX_SHOWN]
        if len(text) > MAX_SHOWN:
            text = text[:MAX_SHOWN] + "..."
            break
    return text.encode(errors=TEXT_ERRORS).decode(errors="replace")
