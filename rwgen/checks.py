"""The one way to refuse a value: the field, what was expected, and what was received."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection
from typing import Any

from rwgen.errors import InvalidInputError, RwgenError

_REPR = reprlib.Repr()  # short, whatever a value holds and however deep it is nested
_REPR.maxstring = _REPR.maxother = 60


def unexpected(
    key: str, expected: str, received: object, error: type[RwgenError] = InvalidInputError
) -> RwgenError:
    """The error for a field: what was expected there, and a short form of what was received."""
    return error(f"{key}: expected {expected}. Received: {_REPR.repr(received)}")


def is_count(value: object, least: int = 0, most: int | None = None) -> bool:
    """Whether a value is an integer from `least` to `most`; a bool is not."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return number and value >= least and (most is None or value <= most)  # type: ignore[operator]


def is_number(value: object, least: float = 0.0, most: float = math.inf) -> bool:
    """Whether a value is a finite integer or float from `least` to `most`; a bool is not."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # NaN fails the comparison; an integer beyond every float passes none with a finite bound.
    return least <= value <= most and abs(value) < math.inf


def check_count(
    key: str,
    value: object,
    least: int = 0,
    most: int | None = None,
    error: type[RwgenError] = InvalidInputError,
) -> None:
    """Refuse anything but an integer from `least` to `most`.

    Raises:
        InvalidInputError: or `error`.
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
    """Refuse anything but a finite number from `least` to `most`.

    Args:
        key: name of the field.
        value: what it holds.
        least: smallest accepted value.
        most: largest accepted value.
        exclusive: refuse `least` itself too.
        unit: what is counted, for the message.
        error: kind of error.

    Raises:
        InvalidInputError: or `error`.
    """
    if not is_number(value, least, most) or (exclusive and value == least):
        span = f"{'above' if exclusive else 'from'} {least:g}"
        span += f" to {most:g}" if most < math.inf else ""
        article = "a finite number" if unit == "number" else unit
        raise unexpected(key, f"{article} {span}", value, error)


def check_choice(
    key: str,
    value: object,
    choices: Collection[str],
    error: type[RwgenError] = InvalidInputError,
) -> None:
    """Refuse anything but one of some texts.

    Raises:
        InvalidInputError: or `error`.
    """
    if not isinstance(value, str) or value not in choices:
        raise unexpected(key, f"one of {', '.join(choices)}", value, error)


def check_layers(key: str, layers: Any) -> None:
    """Refuse anything but a tuple of texts, at least one.

    Raises:
        InvalidInputError: not such a tuple.
    """
    if (
        not isinstance(layers, tuple)
        or not layers
        or not all(isinstance(layer, str) for layer in layers)
    ):
        raise unexpected(key, "a tuple of layer names", layers)
