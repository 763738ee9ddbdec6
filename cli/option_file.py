"""Options of a command from a file: named as on the command line, paths relative to the file."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InvalidInputError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected a TOML file. Received: {str(path)!r} ({reason})"
        ) from None


def option_values(
    command: Any,
    values: Mapping[str, Any],
    folder: Path,
    *,
    separator: str | None = None,
    unresolved: Collection[str] = (),
) -> dict[str, Any]:
    """Turn named values into those of a command's parameters, as its parser takes them.

    Args:
        command: a `typer.core.TyperCommand`.
        values: by names of options without leading dashes, with `-` or `_`, or of arguments.
        folder: what paths are relative to.
        separator: what separates the texts of an option or argument that takes several; None if
            they are lists.
        unresolved: parameters whose paths are left as they are.

    Returns:
        Values by parameter name, for the context's `default_map`.

    Raises:
        InvalidInputError: a name is unknown or occurs twice, or a value has a wrong form. The
            parser checks the rest.
    """
    parameters = {name: item for item in command.params for name in _names(item)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        parameter = parameters.get(key.strip().removeprefix("--").replace("-", "_").lower())
        if parameter is None:
            raise InvalidInputError(
                f"expected options of rwgen {command.name}. Received: {key!r:.60}; see "
                f"rwgen {command.name} --help"
            )
        if parameter.name in found:
            raise InvalidInputError(f"expected every option once. Received: {key!r:.60} again")
        place = Path() if parameter.name in unresolved else folder
        found[parameter.name] = _value(parameter, key, value, place, separator)
    return found


def takes_several(parameter: Any) -> bool:
    """Whether a parameter has a list of values."""
    return bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1


def _names(parameter: Any) -> set[str]:
    names = {parameter.name, *(name.removeprefix("--") for name in parameter.opts)}
    if parameter.param_type_name == "argument":
        names.add(str(parameter.metavar).lower())
    return {name.replace("-", "_") for name in names if not name.startswith("-")}


def _value(parameter: Any, key: str, value: Any, folder: Path, separator: str | None) -> Any:
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool | str):
            raise InvalidInputError(f"{key}: expected true or false. Received: {value!r:.60}")
        return value
    if not takes_several(parameter):
        return _text(parameter, key, value, folder)
    if separator is not None and isinstance(value, str):
        value = [part.strip() for part in value.split(separator)]
    items = value if isinstance(value, list) else [value]
    return [_text(parameter, key, item, folder) for item in items]


def _text(parameter: Any, key: str, value: Any, folder: Path) -> str:
    """One value as on the command line; a path is taken relative to the folder."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInputError(f"{key}: expected a text or a number. Received: {value!r:.60}")
    text = str(value)
    choices = str(parameter.metavar or "").split("|")
    is_argument = parameter.param_type_name == "argument"  # arguments are images
    if text and (is_argument or choices[-1].startswith(("FILE", "FOLDER"))):
        path = folder / text
        # An option such as NAME|FILE may mean something else.
        with contextlib.suppress(OSError):  # a name that is too long
            if len(choices) == 1 or path.exists():
                return str(path)
    return text
