"""What the paths of the REST interface ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from rwgen.serving.models.manager import ModelSpec
from rwgen.serving.status import invalid

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
# Digits are 0 to 9 only, and letters may be of either case, as in TensorFlow Serving.
_POST = re.compile(_MODEL + ":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_GET = re.compile(_MODEL + "(/metadata)?", re.IGNORECASE | re.ASCII)

MAX_DIGITS = 20
"""Digits of a version at the most: Python would take its time for millions of them."""


@dataclass(frozen=True)
class Route:
    """What a request asks for.

    Attributes:
        action: `predict`, `classify`, `regress`, `status` or `metadata`.
        spec: of which model.
    """

    action: str
    spec: ModelSpec


def find_route(method: str, path: str) -> Route:
    """What a request asks for.

    Args:
        method: such as `GET`.
        path: as it was sent; only the names in it are unquoted, so that they cannot form a path.

    Raises:
        ServingError: INVALID_ARGUMENT, in TensorFlow Serving's words.
    """
    found = {"POST": _POST, "GET": _GET}.get(method)
    match = found.fullmatch(path) if found else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    name, digits, label, action = match.groups()
    if digits is not None and len(digits) > MAX_DIGITS:
        raise invalid(f"Failed to convert version: {digits} to numeric.")
    spec = ModelSpec(
        unquote(name),
        None if digits is None else int(digits),
        None if label is None else unquote(label),
    )
    if method == "GET":
        return Route("metadata" if action else "status", spec)
    return Route(action.lower(), spec)
