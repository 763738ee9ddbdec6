"""Paths of the REST interface."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.status import Code, ServingError, invalid

_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
# ASCII digits only, and letters of either case except for actions, as in TensorFlow Serving.
_POST = re.compile(f"(?i:/v1/models/([^/:]+){_VERSION}):(classify|regress|predict)", flags=re.ASCII)
_GET = re.compile(f"(?i:/v1/models(?:/([^/:]+))?{_VERSION}(/metadata)?)", flags=re.ASCII)

MAX_DIGITS = 20
"""Maximum number of digits of a version: parsing millions of digits would be slow."""


@dataclass(frozen=True)
class Route:
    """Action and model of a request.

    Attributes:
        action: `predict`, `classify`, `regress`, `status` or `metadata`.
        spec: the model.
    """

    action: str
    spec: ModelSpec


def check_prefix(path: str) -> None:
    """Check that a path belongs to the interface at all.

    Raises:
        ServingError: NOT_FOUND.
    """
    if not path.lower().startswith("/v1/"):
        raise ServingError(Code.NOT_FOUND, f"Not found: {path}")


def find_route(method: str, path: str) -> Route:
    """Parse the path of a request.

    Args:
        method: HTTP method, such as `GET`.
        path: path as sent, percent-encoded. Only the names in it are decoded, after splitting, so
            that an encoded slash cannot change the path.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message, or NOT_FOUND, see
            `check_prefix`.
    """
    check_prefix(path)
    found = {"POST": _POST, "GET": _GET}.get(method)
    match = found.fullmatch(path) if found else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    name, digits, label, action = match.groups()
    if name is None:
        raise invalid("Missing model name in request.")
    if digits is not None and len(digits) > MAX_DIGITS:
        raise invalid(f"Failed to convert version: {digits} to numeric.")
    spec = ModelSpec(
        unquote(name),
        None if digits is None else int(digits),
        None if label is None else unquote(label),
    )
    if method == "GET":
        # In capital letters, it is taken for the status.
        return Route("metadata" if action == "/metadata" else "status", spec)
    return Route(action, spec)
