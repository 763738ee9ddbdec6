"""Content encodings of request and response bodies: gzip or none."""

from __future__ import annotations

import gzip
import zlib

from starlette.datastructures import Headers

from rwgen.serving.admission import too_large
from rwgen.serving.status import invalid

COMPRESSED_FROM = 1024
"""Responses of at least this size are compressed for clients that accept it."""

_LEVEL = 1
"""Higher levels take several times as long, for a few percent of the size."""

_WINDOW = 16 + zlib.MAX_WBITS  # of the gzip format


def decompress(data: bytes, max_bytes: int) -> bytes:
    """Decompress a request body.

    Args:
        data: a body in gzip format.
        max_bytes: maximum size of the result.

    Raises:
        ServingError: INVALID_ARGUMENT for another format, RESOURCE_EXHAUSTED for a larger result.
    """
    decoder = zlib.decompressobj(_WINDOW)
    try:
        body = decoder.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise invalid(f"Failed to uncompress the gzipped body: {error}") from None
    if len(body) > max_bytes:
        raise too_large("The uncompressed request body", max_bytes)
    if not decoder.eof or decoder.unused_data:
        raise invalid("Failed to uncompress the gzipped body: its end is missing or in between")
    return body


def compress(data: bytes) -> bytes:
    """Return a response body in gzip format."""
    return gzip.compress(data, _LEVEL, mtime=0)


def accepts_gzip(headers: Headers) -> bool:
    """Return whether a client accepts responses in gzip format.

    Args:
        headers: headers of its request.
    """
    for choice in headers.get("accept-encoding", "").lower().replace(" ", "").split(","):
        coding, _, weight = choice.partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False
