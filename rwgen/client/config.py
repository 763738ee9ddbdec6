"""What a client of a server is told, and what it learns of a model."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError

Outputs = dict[str, NDArray[Any]]

SignatureInput = tuple[str, np.dtype[Any], tuple[int | None, ...]]
"""Name, dtype and shape of a signature's one input: strings are objects, None is any size."""

_DTYPES = {"DT_UINT8": np.uint8, "DT_FLOAT": np.float32, "DT_STRING": object}
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,19})|/labels/([^/:]+))?/?")
_SCHEMES = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """How a server is called.

    Attributes:
        timeout: seconds that a call may take, attempts and waits included with gRPC; each attempt
            with REST.
        max_attempts: calls at the most while the server is unavailable, from 1 to 5 (gRPC's limit).
        first_wait: seconds before the second attempt; each wait is twice as long as the one before.
        root_certificates: PEM file of the authorities to trust for https and grpcs; None means
            the system's.
    """

    timeout: float = 60.0
    max_attempts: int = 5
    first_wait: float = 0.1
    root_certificates: str | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        if not self.timeout > 0:
            raise InvalidInputError(f"timeout: expected seconds above 0. Received: {self.timeout}")
        if not self.first_wait > 0:
            raise InvalidInputError(
                f"first_wait: expected seconds above 0. Received: {self.first_wait}"
            )
        if self.max_attempts not in range(1, 6):
            raise InvalidInputError(
                f"max_attempts: expected 1 to 5. Received: {self.max_attempts!r}"
            )


@dataclass(frozen=True)
class ServedModel:
    """What a URL names.

    Attributes:
        scheme: http, https, grpc or grpcs.
        address: HOST:PORT.
        name: of the model.
        version: its number, None for the server's choice.
        label: of a version, None for none.
    """

    scheme: str
    address: str
    name: str
    version: int | None = None
    label: str | None = None


def parse_url(url: str) -> ServedModel:
    """What a URL of a model names.

    Raises:
        InvalidInputError: it is not of the form that `FeaturesClient` takes.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        match = _PATH.fullmatch(parts.path)
        if parts.scheme not in _SCHEMES or not parts.hostname or not match or parts.query:
            raise ValueError
        default_port = {"http": 80, "https": 443}.get(parts.scheme, 8500)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{host}:{parts.port or default_port}"
    except ValueError:
        raise InvalidInputError(
            "expected a server's URL such as http://localhost:8501/v1/models/NAME or "
            f"grpc://localhost:8500/v1/models/NAME. Received: {url!r}"
        ) from None
    name, version, label = match.groups()
    unquote = urllib.parse.unquote
    return ServedModel(
        parts.scheme,
        address,
        unquote(name),
        int(version) if version else None,
        unquote(label) if label else None,
    )


def unknown_signature(signature: str, known: Iterable[str]) -> InvalidInputError:
    """The error for a signature that a model does not have."""
    names = ", ".join(sorted(name for name in known if not name.startswith("__")))
    return InvalidInputError(f"expected a signature of {names}. Received: {signature!r}")


def signature_input(
    signature: str, inputs: Mapping[str, Mapping[str, tuple[str, tuple[int | None, ...]]]]
) -> SignatureInput:
    """The one input of a signature.

    Args:
        signature: its name.
        inputs: for every signature of a model, TF Serving's name of the dtype and the shape of
            each input.

    Raises:
        InvalidInputError: there is no such signature, or not one input of a known dtype.
    """
    if signature not in inputs:
        raise unknown_signature(signature, inputs)
    if len(inputs[signature]) != 1:
        raise InvalidInputError(
            f"expected a signature with one input. Received: {signature!r}, which has "
            f"{len(inputs[signature])}"
        )
    ((name, (dtype, shape)),) = inputs[signature].items()
    if dtype not in _DTYPES:
        raise InvalidInputError(
            f"expected a signature of images. Received: {signature!r}, which takes {dtype}"
        )
    return name, np.dtype(_DTYPES[dtype]), shape
