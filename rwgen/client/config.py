"""Settings of a client, the URLs it accepts, and the input of a served signature."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count, check_number
from rwgen.errors import InvalidInputError

Outputs = dict[str, NDArray[Any]]

SignatureInput = tuple[str, np.dtype[Any], tuple[int | None, ...]]
"""Name, dtype (object for strings) and shape (None for any size) of a signature's single input."""

MAX_CONNECTIONS = 32
"""Number of requests that a client keeps connections or threads for."""

_DTYPES = {"DT_UINT8": np.uint8, "DT_FLOAT": np.float32, "DT_STRING": object}
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,19})|/labels/([^/:]+))?/?")
_SCHEMES = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """Timeout, retries, sizes of requests and trust of a client.

    Attributes:
        timeout: seconds that a request may take, with all attempts and the waits between them.
        max_attempts: maximum number of attempts while the server is unavailable or the connection
            is lost, at least 1.
        first_wait: seconds before the second attempt; each further wait is twice as long. Each is
            up to a fifth shorter or longer, so that many clients do not return at once.
        images_per_request: number of images in a request. Larger batches are sent in several, one
            after the other, and only those without an answer are sent again. The default keeps
            images of 224x224 pixels within 32 MiB of JSON. None sends any batch in one request,
            which models need whose outputs for an image depend on the others.
        root_certificates: PEM file with the certificate authorities to trust for https and grpcs,
            or None for the system's.
        client_key: PEM file with the private key of `client_certificate`.
        client_certificate: PEM file with the certificate, and those of its authorities, that this
            client shows to servers that ask for one; None shows none.

    Raises:
        InvalidInputError: a field is out of range, or the key or its certificate is missing.
    """

    timeout: float = 60.0
    max_attempts: int = 5
    first_wait: float = 0.1
    images_per_request: int | None = 32
    root_certificates: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        check_number("timeout", self.timeout, exclusive=True, unit="seconds")
        check_number("first_wait", self.first_wait, exclusive=True, unit="seconds")
        check_count("max_attempts", self.max_attempts, 1)
        if self.images_per_request is not None:
            check_count("images_per_request", self.images_per_request, 1)
        if (self.client_key is None) != (self.client_certificate is None):
            given = "client_key" if self.client_certificate is None else "client_certificate"
            raise InvalidInputError(
                f"expected client_key and client_certificate, or neither. Received: {given} alone"
            )


@dataclass(frozen=True)
class ServedModel:
    """A served model, as its URL names it.

    Attributes:
        scheme: http, https, grpc or grpcs.
        address: HOST:PORT.
        name: name of the model.
        version: version number, or None for the server's choice.
        label: label of a version, or None.
    """

    scheme: str
    address: str
    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class ServedSignature:
    """A signature of a served model.

    Attributes:
        inputs: dtype (TF Serving's name) and shape of each input, by name.
        outputs: names of the outputs.
    """

    inputs: Mapping[str, tuple[str, tuple[int | None, ...]]]
    outputs: tuple[str, ...]


def parse_url(url: str) -> ServedModel:
    """Parse the URL of a served model.

    Raises:
        InvalidInputError: the URL does not have the form that `FeaturesClient` accepts.
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


def as_batch(
    signature: str, dtype: np.dtype[Any], images: NDArray[Any] | Sequence[Any]
) -> NDArray[Any]:
    """Return a batch of images for a signature as an array.

    Raises:
        InvalidInputError: the dtype is wrong, the batch is empty, or its images differ in shape.
    """
    if not isinstance(images, np.ndarray):
        given, images = images, np.empty(len(images), object)
        try:
            if dtype.hasobject:
                images[:] = given
            elif given:
                images = np.stack(given)
        except ValueError as error:
            raise InvalidInputError(f"expected images of one shape. Received: {error}") from None
    if images.ndim == 0 or len(images) == 0:
        raise InvalidInputError(
            f"expected a batch of at least one image for {signature}. Received: shape "
            f"{images.shape}"
        )
    if images.dtype != dtype:
        raise InvalidInputError(
            f"expected images of dtype {dtype} for {signature}. Received: {images.dtype}"
        )
    return images


def unknown_signature(signature: str, known: Iterable[str]) -> InvalidInputError:
    """Return the error for a signature that a model does not have."""
    names = ", ".join(sorted(name for name in known if not name.startswith("__")))
    return InvalidInputError(f"expected a signature of {names}. Received: {signature!r}")


def signature_input(signature: str, served: ServedSignature) -> SignatureInput:
    """Return the single input of a signature.

    Raises:
        InvalidInputError: it does not have exactly one input of a supported dtype.
    """
    if len(served.inputs) != 1:
        raise InvalidInputError(
            f"expected a signature with one input. Received: {signature!r}, which has "
            f"{len(served.inputs)}"
        )
    ((name, (dtype, shape)),) = served.inputs.items()
    if dtype not in _DTYPES:
        raise InvalidInputError(
            f"expected a signature that takes images. Received: {signature!r}, which takes {dtype}"
        )
    return name, np.dtype(_DTYPES[dtype]), shape
