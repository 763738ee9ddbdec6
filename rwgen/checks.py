"""Validation of arguments and fields: `field: expected X. Received: Y`, always one line."""

from __future__ import annotations

import math
import numbers
import re
import reprlib
import sys
from collections.abc import Collection
from typing import Any

from rwgen.errors import InvalidInputError, RwgenError

_MAX_CHARACTERS = 100

# Bounds the time as well as the length, whatever the size and depth of a value.
_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxother = 60


def unexpected(
    key: str, expected: str, received: object, error: type[RwgenError] = InvalidInputError
) -> RwgenError:
    """Return, without raising it, the error for an invalid field.

    Args:
        key: Name of the field.
        expected: Description of the accepted values.
        received: The invalid value. The message shows at most about 100 characters of it.
        error: Class of the error.
    """
    return error(f"{key}: expected {expected}. Received: {_short_repr(received)}")


def plain(value: Any) -> Any:
    """Return the number of Python that a scalar of NumPy stands for, and other values unchanged.

    `is_count` and `is_number` refuse NumPy's scalars, which JSON cannot hold.
    """
    return value.item() if isinstance(value, numbers.Number) and hasattr(value, "item") else value


def normalize_fields(settings: Any, layers: Collection[str] = ()) -> None:
    """Give the fields of a frozen dataclass the types that they are declared with.

    NumPy's scalars become numbers of Python, and lists and arrays tuples.

    Args:
        settings: The dataclass, from its `__post_init__`.
        layers: Names of fields that are tuples of layer names, where one name is accepted too.
    """
    for key, value in list(vars(settings).items()):
        if key in layers and isinstance(value, str):
            value = (value,)
        elif isinstance(value, list) or (hasattr(value, "tolist") and hasattr(value, "__len__")):
            value = tuple(map(plain, value))
        object.__setattr__(settings, key, plain(value))


def is_count(value: object, least: int = 0, most: int | None = None) -> bool:
    """Return whether a value is an `int`, not a `bool`, from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value >= least and (most is None or value <= most)


def is_number(value: object, least: float = 0.0, most: float = math.inf) -> bool:
    """Return whether a value is a finite `int` or `float`, not a `bool`, from `least` to `most`.

    Integers too large for a `float` are not finite in this sense.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # NaN fails every comparison, and integers are compared with floats exactly.
    return least <= value <= most and abs(value) <= sys.float_info.max


def check_count(
    key: str,
    value: object,
    least: int = 0,
    most: int | None = None,
    error: type[RwgenError] = InvalidInputError,
) -> None:
    """Check that a value is an integer from `least` to `most`.

    Raises:
        InvalidInputError: It is not. `error` replaces the class.
    """
    if not is_count(value, least, most):
        span = f"from {least}" if most is None else f"from {least} to {most}"
        raise unexpected(key, f"an integer {span}", value, error)


def check_number(
    key: str,
    value: object,
    least: float = 0.0,
    most: float = math.inf,
    *,
    exclusive: bool = False,
    unit: str = "number",
    error: type[RwgenError] = InvalidInputError,
) -> None:
    """Check that a value is a finite number from `least` to `most`.

    Args:
        key: Name of the field.
        value: Value of the field.
        least: Smallest accepted value.
        most: Largest accepted value.
        exclusive: Whether to refuse `least` itself too.
        unit: Unit for the message, such as `seconds`.
        error: Class of the error.

    Raises:
        InvalidInputError: It is not. `error` replaces the class.
    """
    if not is_number(value, least, most) or (exclusive and value == least):
        noun = "a finite number" if unit == "number" else unit
        span = f"above {least:g}" if exclusive else f"from {least:g}"
        if most < math.inf:
            span += f" and at most {most:g}" if exclusive else f" to {most:g}"
        raise unexpected(key, f"{noun} {span}", value, error)


def check_choice(
    key: str,
    value: object,
    choices: Collection[str],
    error: type[RwgenError] = InvalidInputError,
) -> None:
    """Check that a value is one of several strings.

    Raises:
        InvalidInputError: It is not. `error` replaces the class.
    """
    if not isinstance(value, str) or value not in choices:
        raise unexpected(key, f"one of {', '.join(choices)}", value, error)


def check_layers(key: str, layers: Any) -> None:
    """Check that a value is a non-empty tuple of strings.

    Raises:
        InvalidInputError: It is not.
    """
    names = isinstance(layers, tuple) and all(isinstance(layer, str) for layer in layers)
    if not names or not layers:
        raise unexpected(key, "a tuple of layer names", layers)


def _short_repr(value: object) -> str:
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of more digits than Python converts
        text = f"<{type(value).__name__}>"
    line = re.sub(r"\s*\n\s*", " ", text)  # arrays are shown in several lines
    return line if len(line) <= _MAX_CHARACTERS else f"{line[: _MAX_CHARACTERS - 3]}..."
