"""Errors of requests: one exception for REST and gRPC, with TensorFlow Serving's codes."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

MAX_MESSAGE = 1024
"""Maximum length of an error message: gRPC sends it in a header, whose size is limited."""


class Code(IntEnum):
    """The canonical status codes that gRPC and TensorFlow share."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_HTTP = {
    Code.OK: HTTPStatus.OK,
    Code.CANCELLED: 499,  # as in TensorFlow Serving: the client closed the request
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}


class ServingError(Exception):
    """An error that is reported to the client.

    Attributes:
        code: status code over gRPC.
        message: message for the client.
        http: status code over REST.
    """

    def __init__(self, code: Code, message: str, http: int | None = None) -> None:
        shown = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
        super().__init__(shown)
        self.code = code
        self.message = shown
        self.http = int(_HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR) if http is None else http)


def invalid(message: str) -> ServingError:
    """Return an INVALID_ARGUMENT error."""
    return ServingError(Code.INVALID_ARGUMENT, message)
