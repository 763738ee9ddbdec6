"""Encoding of responses as JSON, in TensorFlow Serving's row and columnar formats."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.status import invalid

BYTES_SUFFIX = "_bytes"
"""String outputs whose names have this suffix are written in base64."""

_FEW_DIGITS = 6

EXPONENT_FROM = 1e6
"""From here on, TensorFlow Serving writes numbers that need at most six digits with an exponent."""


def encode_response(outputs: Mapping[str, NDArray[Any]], *, row: bool) -> bytes:
    """Encode a response.

    Args:
        outputs: output arrays by name, at least one. float16 is written as float32.
        row: whether to use the row format (`predictions`, one element per row) rather than the
            columnar format (`outputs`).

    Returns:
        JSON in UTF-8, with NaN, Infinity and -Infinity for numbers that are not finite.

    Raises:
        ServingError: INVALID_ARGUMENT, for outputs without a common batch size in row format,
            strings that are not UTF-8, or element types that JSON cannot represent.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if row:
        return ('{"predictions": ' + _rows(outputs) + "}").encode()
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return ('{"outputs": ' + _nested(_texts(name, array), array.shape) + "}").encode()
    columns = (
        f"{json.dumps(name)}: {_nested(_texts(name, array), array.shape)}"
        for name, array in outputs.items()
    )
    return ('{"outputs": {' + ", ".join(columns) + "}}").encode()


def _rows(outputs: Mapping[str, NDArray[Any]]) -> str:
    batch: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    if not batch:
        return "[]"
    columns = {name: _row_texts(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        (rows,) = columns.values()
        return "[" + ", ".join(rows) + "]"
    keys = [json.dumps(name) for name in columns]
    objects = (
        "{" + ", ".join(f"{key}: {text}" for key, text in zip(keys, texts, strict=True)) + "}"
        for texts in zip(*columns.values(), strict=True)
    )
    return "[" + ", ".join(objects) + "]"


def _row_texts(name: str, array: NDArray[Any]) -> list[str]:
    texts, shape = _texts(name, array), array.shape[1:]
    size = array.size // len(array)
    return [_nested(texts[start * size : (start + 1) * size], shape) for start in range(len(array))]


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    """Join the texts of the elements with the brackets and commas of a shape."""
    if 0 in shape:
        return json.dumps(np.empty(shape).tolist())
    for side in reversed(shape):
        texts = [
            "[" + ", ".join(texts[start : start + side]) + "]"
            for start in range(0, len(texts), side)
        ]
    return texts[0]


def _texts(name: str, array: NDArray[Any]) -> list[str]:
    """Return the JSON text of every element, in order."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "O":
        return _strings(name, flat.tolist())
    if flat.dtype.kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if flat.dtype.kind == "f":
        return decimals(flat.astype(np.float32) if flat.dtype.itemsize == 2 else flat)
    if flat.dtype.kind in "iu":
        return list(map(str, flat.tolist()))
    raise invalid(f"Failed to write JSON value for tensor type: {flat.dtype}")


def decimals(flat: NDArray[Any]) -> list[str]:
    """Return the JSON text of every element of a vector of float32 or float64.

    As printed by TensorFlow Serving: with six digits, or with all digits that any number of the
    type needs if six are too few.
    """
    # NumPy writes the fewest digits that parse to the same number.
    texts: list[str] = flat.astype(str).tolist()
    values, most = flat.tolist(), 9 if flat.dtype.itemsize == 4 else 17
    for position, text in enumerate(texts):
        if len(text) > _FEW_DIGITS + 1 and _count_digits(text) > _FEW_DIGITS:
            texts[position] = f"{values[position]:.{most}g}"
    with np.errstate(invalid="ignore"):
        unlike = ~(np.abs(flat) < EXPONENT_FROM)
    for position in np.flatnonzero(unlike).tolist():
        texts[position] = _large(flat[position], most)
    return texts


def _count_digits(text: str) -> int:
    return len(text.partition("e")[0].lstrip("-0.").replace(".", "").rstrip("0"))


def _large(value: Any, most: int) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.{_FEW_DIGITS}g}"
    if type(value)(text) != value:
        text = f"{value:.{most}g}"
    return text if "e" in text or "." in text else text + ".0"


def _strings(name: str, values: list[bytes]) -> list[str]:
    if name.endswith(BYTES_SUFFIX):
        return ['{"b64": "' + base64.b64encode(value).decode() + '"}' for value in values]
    try:
        return [json.dumps(value.decode()) for value in values]
    except UnicodeDecodeError:
        raise invalid(
            f"Tensor name: {name} has a string that is not UTF-8, which is only allowed for "
            f"names ending in {BYTES_SUFFIX}"
        ) from None
