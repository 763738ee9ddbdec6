"""A client of exported networks behind TF Serving or `rwgen serve`: NumPy in and out.

gRPC sends tensors as they are, REST as JSON. Only UNAVAILABLE, which a server says when it is full,
starting or about to end, is tried again; by gRPC's own retry policy and urllib3's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from rwgen.client.config import ClientConfig, Outputs, SignatureInput, parse_url
from rwgen.client.rest_transport import RestTransport
from rwgen.errors import InvalidInputError


class Transport(Protocol):
    """One way to a server."""

    def predict(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run a signature on named tensors."""

    def input_of(self, signature: str) -> SignatureInput:
        """Name, dtype and shape of a signature's one input."""

    def close(self) -> None:
        """Give the connections back."""


class FeaturesClient:
    """Features from a server.

    Calls may come from several threads. Close it, or use it in a `with` statement.
    """

    def __init__(self, url: str, config: ClientConfig | None = None) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: TF Serving's: http://HOST:8501/v1/models/NAME, or the same with https, with
                grpc://HOST:8500 or grpcs; /versions/N or /labels/L may follow.
            config: how the server is called; None means the defaults.

        Raises:
            InvalidInputError: not such a URL.
        """
        config = config or ClientConfig()
        served = parse_url(url)
        self._transport: Transport
        if served.scheme.startswith("grpc"):
            from rwgen.client.grpc_transport import (
                GrpcTransport,
            )  # imports TensorFlow, which http needs not

            self._transport = GrpcTransport(served, config)
        else:
            self._transport = RestTransport(served, config)

    def predict(self, signature: str, images: NDArray[Any]) -> Outputs:
        """Run a signature on a batch.

        Args:
            signature: such as `features`, see `rwgen.export.signatures.signature`.
            images: [batch, height, width, 3], RGB in 0..255, of the signature's dtype; or [batch]
                encoded images, `bytes` in an array of dtype object.

        Returns:
            {layer: [batch, ...]}, float32.

        Raises:
            ServerError: the server refuses, fails, or cannot be reached.
        """
        name, dtype, _ = self.input_of(signature)
        if images.dtype != dtype:
            raise InvalidInputError(
                f"expected images of dtype {dtype} for {signature}. Received: {images.dtype}"
            )
        return self._transport.predict(signature, {name: images})

    def input_of(self, signature: str) -> SignatureInput:
        """Name, dtype and shape of a signature's input; None is any size, strings are objects.

        Raises:
            InvalidInputError: the model has no such signature, or not with one input.
            ServerError: the server refuses, fails, or cannot be reached.
        """
        return self._transport.input_of(signature)

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
