"""A client for exported networks served by TF Serving or `rwgen serve`, with NumPy arrays.

gRPC sends tensors in binary form, REST as JSON. The retries are here and not those of gRPC and
urllib3: gRPC makes none once a request is larger than 256 KiB or a response has begun.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rwgen.client.config import (
    ClientConfig,
    Outputs,
    ServedSignature,
    SignatureInput,
    as_batch,
    parse_url,
    signature_input,
    unknown_signature,
)
from rwgen.client.rest_transport import RestTransport
from rwgen.errors import InvalidInputError, ServerError

RETRIED = frozenset({"UNAVAILABLE", "CANCELLED"})
"""Codes after which a request is sent again. The server is overloaded, starting or ending, or the
connection was lost. CANCELLED is what gRPC itself answers to calls that reach a server as it ends;
this client cancels none."""

_JITTER = 0.2
_LEAST_SECONDS = 0.001
_Result = TypeVar("_Result")


class Transport(Protocol):
    """A protocol for talking to a server, which tries once."""

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
        timeout: float,
    ) -> Outputs:
        """Run a signature on input tensors by name; `outputs` are the names of its outputs."""

    def signatures(self, timeout: float) -> dict[str, ServedSignature]:
        """Return all signatures by name."""

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
        self._config, self._closed = config, threading.Event()
        self._known: Mapping[str, ServedSignature] = {}
        self._transport: Transport
        if served.scheme.startswith("grpc"):
            # Imports TensorFlow, which REST does not need.
            from rwgen.client.grpc_transport import GrpcTransport

            self._transport = GrpcTransport(served, config)
        else:
            self._transport = RestTransport(served, config)

    def predict(self, signature: str, images: NDArray[Any] | Sequence[Any]) -> Outputs:
        """Run a signature on a batch.

        The batch is sent in requests of `ClientConfig.images_per_request`. Another version may be
        loaded between two of them, unless the URL names one.

        Args:
            signature: name of the signature, such as `features`, see
                `rwgen.export.signatures.signature`.
            images: [batch, height, width, 3], RGB in 0..255, in the signature's dtype; or encoded
                images as [batch] `bytes` in an array of dtype object. A list is converted.

        Returns:
            {layer: [batch, ...]}, float32.

        Raises:
            InvalidInputError: there is no such signature, the dtype is wrong, the batch is empty,
                or a batch of several requests has outputs that are not one row for each image.
            ServerError: the server refuses a request, fails, or cannot be reached.
        """
        name, dtype, _ = self.input_of(signature)
        outputs = self.outputs_of(signature)
        batch = as_batch(signature, dtype, images)
        step = self._config.images_per_request or len(batch)
        answers = []
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            answer = self._request(signature, {name: part}, outputs)
            if step < len(batch):
                _check_rows(signature, answer, len(part))
            answers.append(answer)
        if len(answers) == 1:
            return answers[0]
        return {key: np.concatenate([answer[key] for answer in answers]) for key in answers[0]}

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype (object for strings) and shape (None for any size) of an input.

        Raises:
            InvalidInputError: there is no such signature, it does not have exactly one input, or
                the client is closed.
            ServerError: the server refuses the request, fails, or cannot be reached.
        """
        return signature_input(signature, self._signature(signature))

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs, which are layers in an export.

        Raises:
            InvalidInputError: there is no such signature, or the client is closed.
            ServerError: the server refuses the request, fails, or cannot be reached.
        """
        return self._signature(signature).outputs

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed.is_set()

    def close(self) -> None:
        """Close all connections. Requests in progress may fail."""
        self._closed.set()
        self._transport.close()

    def _request(
        self, signature: str, inputs: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> Outputs:
        def call(seconds: float) -> Outputs:
            return self._transport.predict(signature, inputs, outputs, seconds)

        return self._retried(call)

    def _signature(self, name: str) -> ServedSignature:
        """A signature; all are asked for again while none has this name."""
        self._check_open()
        known = self._known  # another thread may replace them
        if name not in known:
            self._known = known = self._retried(self._transport.signatures)
        if name not in known:
            raise unknown_signature(name, known)
        return known[name]

    def _retried(self, call: Callable[[float], _Result]) -> _Result:
        """Call a function with the seconds that are left, again while the server is unavailable."""
        end = time.monotonic() + self._config.timeout
        attempt = 1
        while True:
            self._check_open()
            try:
                return call(max(end - time.monotonic(), _LEAST_SECONDS))
            except ServerError as error:
                self._check_open()
                wait = self._config.first_wait * 2 ** (attempt - 1)
                wait *= random.uniform(1 - _JITTER, 1 + _JITTER)
                last = attempt >= self._config.max_attempts or time.monotonic() + wait >= end
                if last or error.code not in RETRIED:
                    raise
            attempt += 1
            self._closed.wait(wait)

    def _check_open(self) -> None:
        if self.closed:
            raise closed_client()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the client."""
        self.close()


def closed_client() -> InvalidInputError:
    """Return the error for the use of a closed client."""
    return InvalidInputError(
        "expected an open client. Received: one that was closed; create another one"
    )


def _check_rows(signature: str, outputs: Outputs, images: int) -> None:
    for name, value in outputs.items():
        if value.shape[:1] != (images,):
            raise InvalidInputError(
                f"{signature}: expected a row of {name} for each of {images} images. Received: "
                f"shape {value.shape}; ClientConfig(images_per_request=None) sends one request"
            )
