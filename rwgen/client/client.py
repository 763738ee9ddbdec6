"""A client for exported networks served by TF Serving or `rwgen serve`, with NumPy arrays.

gRPC sends tensors in binary form, REST as JSON. Calls are only retried if the server is
UNAVAILABLE: overloaded, starting or shutting down. gRPC's retry policy and urllib3 do the retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from rwgen.client.config import ClientConfig, Outputs, SignatureInput, as_batch, parse_url
from rwgen.client.rest_transport import RestTransport
from rwgen.errors import InvalidInputError


class Transport(Protocol):
    """A protocol for talking to a server."""

    def predict(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run a signature on input tensors by name."""

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's single input."""

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""

    def close(self) -> None:
        """Close all connections."""


class FeaturesClient:
    """Gets features from a server.

    A client can be shared between threads. Close it, or use it in a `with` statement.
    """

    def __init__(self, url: str, config: ClientConfig | None = None) -> None:
        """Create a client, without sending anything yet.

        Args:
            url: URL of a served model: http://HOST:8501/v1/models/NAME or
                grpc://HOST:8500/v1/models/NAME, or the same with https or grpcs, optionally
                followed by /versions/N or /labels/L.
            config: timeout, retries and certificates; None means the defaults.

        Raises:
            InvalidInputError: the URL has another form.
        """
        config = config or ClientConfig()
        served = parse_url(url)
        self._closed = False
        self._transport: Transport
        if served.scheme.startswith("grpc"):
            # Imports TensorFlow, which REST does not need.
            from rwgen.client.grpc_transport import GrpcTransport

            self._transport = GrpcTransport(served, config)
        else:
            self._transport = RestTransport(served, config)

    def predict(self, signature: str, images: NDArray[Any] | Sequence[Any]) -> Outputs:
        """Run a signature on a batch.

        Args:
            signature: name of the signature, such as `features`, see
                `rwgen.export.signatures.signature`.
            images: [batch, height, width, 3], RGB in 0..255, in the signature's dtype; or encoded
                images as [batch] `bytes` in an array of dtype object. A list is converted.

        Returns:
            {layer: [batch, ...]}, float32.

        Raises:
            InvalidInputError: there is no such signature, the dtype is wrong, or the batch is
                empty.
            ServerError: the server refuses the request, fails, or cannot be reached.
        """
        name, dtype, _ = self.input_of(signature)
        batch = as_batch(signature, dtype, images)
        return self._transport.predict(signature, {name: batch})

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype (object for strings) and shape (None for any size) of an input.

        Raises:
            InvalidInputError: there is no such signature, it does not have exactly one input, or
                the client is closed.
            ServerError: the server refuses the request, fails, or cannot be reached.
        """
        if self._closed:
            raise InvalidInputError(
                "expected an open client. Received: one that was closed; create another "
                "FeaturesClient"
            )
        return self._transport.input_of(signature)

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs, which are layers in an export.

        Raises:
            InvalidInputError: there is no such signature.
            ServerError: the server refuses the request, fails, or cannot be reached.
        """
        return self._transport.outputs_of(signature)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the client."""
        self.close()
