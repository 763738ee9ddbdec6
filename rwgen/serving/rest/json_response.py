"""Answers as JSON, in TensorFlow Serving's row format or its columnar one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.serving.status import invalid

BYTES_SUFFIX = "_bytes"
"""Outputs of strings whose names end like this are written in base64."""

EXPONENT_FROM = 1e6
"""Numbers that TensorFlow Serving writes with an exponent if six digits are enough for them."""


def encode_response(outputs: Mapping[str, NDArray[Any]], *, row: bool) -> bytes:
    """Write an answer.

    Args:
        outputs: by name, at least one. float16 is written as its value in float32.
        row: whether in row format: `predictions`, one element for each row, and not `outputs`.

    Returns:
        UTF-8, with NaN, Infinity and -Infinity where a number is none.

    Raises:
        ServingError: INVALID_ARGUMENT, for outputs without a common batch size in row format, or
            a text that is not UTF-8.
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
    """The elements' texts in the brackets of a shape."""
    if 0 in shape:
        return json.dumps(np.empty(shape).tolist())
    for side in reversed(shape):
        texts = [
            "[" + ", ".join(texts[start : start + side]) + "]"
            for start in range(0, len(texts), side)
        ]
    return texts[0]


def _texts(name: str, array: NDArray[Any]) -> list[str]:
    """The JSON text of every element, in order."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "O":
        return _strings(name, flat.tolist())
    if flat.dtype.kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if flat.dtype.kind == "f":
        return _decimals(flat.astype(np.float32) if flat.dtype.itemsize == 2 else flat)
    return list(map(str, flat.tolist()))


def _decimals(flat: NDArray[Any]) -> list[str]:
    # NumPy writes the fewest digits that give the same number, at once for all.
    texts: list[str] = flat.astype(str).tolist()
    with np.errstate(invalid="ignore"):
        unlike = ~(np.abs(flat) < EXPONENT_FROM)
    for position in np.flatnonzero(unlike).tolist():
        texts[position] = _large(flat[position])
    return texts


def _large(value: Any) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # As C++ prints them: so many digits if they are enough, else as many as are ever needed.
    few, most = (6, 9) if value.dtype.itemsize == 4 else (15, 17)
    text = f"{value:.{few}g}"
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
            f"Tensor name: {name} has text that is not UTF-8, which only an output whose name "
            f"ends in {BYTES_SUFFIX} may have"
        ) from None
