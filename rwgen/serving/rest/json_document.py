"""Parsing of the JSON document in a REST body, with the errors of TensorFlow Serving's parser."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from rwgen.serving.rest.json_values import TEXT_ERRORS, format_error
from rwgen.serving.status import ServingError, invalid

# Python's messages, and those of RapidJSON, which TensorFlow Serving uses, for the same errors.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}

_DELIMITER = "Expecting ',' delimiter"
_MISSING_DELIMITER = {
    "{": "Missing a comma or } after an object member.",
    "[": "Missing a comma or ] after an array element.",
}
_MISSING_DIGITS = {
    ".": "Miss fraction part in number.",
    "e": "Miss exponent in number.",
    "E": "Miss exponent in number.",
}
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]', flags=re.DOTALL)

_TOO_BIG = "Number too big to be stored in double."
_WHITE_SPACE = " \t\n\r"

MAX_SCANNED = 1 << 16
"""Maximum number of characters in which the bracket is searched that an element belongs to."""

_LARGE_NUMBER = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{309}")
"""What a number contains that does not fit in a double."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# The group matches a surrogate that is not half of a pair.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", flags=re.DOTALL
)


def parse_document(body: bytes) -> dict[str, Any]:
    """Parse a body, which must be a JSON object.

    Bytes that are not UTF-8 become part of strings, see `TEXT_ERRORS`. Of several values with the
    same name, the first one counts.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
    """
    document = _parse(body)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """Return the name of the signature that a document asks for; empty for the default one.

    Raises:
        ServingError: INVALID_ARGUMENT, for another value than a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _parse(body: bytes) -> Any:
    # Like TensorFlow Serving's parser, this takes bytes that are not UTF-8 as part of a string.
    text = body.decode("utf-8-sig", TEXT_ERRORS)
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    if not text.strip(_WHITE_SPACE):
        raise _parse_error("The document is empty.", text, len(text))
    if _SURROGATE.search(text):
        for escape in _ESCAPE.finditer(text):
            if escape[1]:
                raise _parse_error("The surrogate pair in string is invalid.", text, escape.start())

    def check_size(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            raise _parse_error(_TOO_BIG, text, text.find(digits))
        return value

    def parse_int(digits: str) -> int:
        check_size(digits)
        return int(digits)

    # Not for all documents, because the hooks take time for every number.
    check = _LARGE_NUMBER.search(text) is not None
    try:
        return json.loads(
            text,
            parse_float=check_size if check else None,
            parse_int=parse_int if check else None,
            object_pairs_hook=_first_wins,
        )
    except json.JSONDecodeError as error:
        raise _parse_error(_reason(error, text), text, error.pos) from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None


def _parse_error(reason: str, text: str, position: int) -> ServingError:
    offset = len(text[:position].encode(errors=TEXT_ERRORS))
    return invalid(f"JSON Parse error: {reason} at offset: {offset}")


def _reason(error: json.JSONDecodeError, text: str) -> str:
    """Return RapidJSON's message for an error of Python's parser."""
    if error.msg != _DELIMITER:
        return _PARSE_ERRORS.get(error.msg, error.msg + ".")
    if text[error.pos : error.pos + 1] in _MISSING_DIGITS and text[error.pos - 1].isdigit():
        return _MISSING_DIGITS[text[error.pos]]
    if error.pos > MAX_SCANNED:
        return "Missing a comma or closing bracket after an element."
    # What comes before is well-formed.
    opened = []
    for token in _BRACKET.findall(text[: error.pos]):
        if token in ("[", "{"):
            opened.append(token)
        elif token in ("]", "}"):
            opened.pop()
    return _MISSING_DELIMITER[opened[-1]]


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, in which the first of several values with the same name is the one found."""
    found = dict(pairs)
    if len(found) < len(pairs):
        found.update(reversed(pairs))
    return found
