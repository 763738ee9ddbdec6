"""TF Serving's gRPC interface, as a transport of `rwgen.client.client`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from rwgen.client.config import ClientConfig, Outputs, ServedModel, ServedSignature
from rwgen.errors import InvalidInputError, ServerError

_RECONNECT_MILLISECONDS = (100, 5_000)
"""Shortest and longest wait before gRPC connects again, during which calls fail at once. Its own
waits, of one second to two minutes, outlast all attempts."""


class GrpcTransport:
    """Sends tensors as protocol buffers, see `rwgen.client.client.Transport`."""

    def __init__(self, served: ServedModel, config: ClientConfig) -> None:
        """Create a channel, without sending anything yet.

        Raises:
            InvalidInputError: a certificate or key cannot be read.
        """
        self._served = served
        shortest, longest = _RECONNECT_MILLISECONDS
        channel_options = [
            # Features of large images exceed gRPC's default of 4 MiB.
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # Over all addresses of a name, such as the replicas behind a headless service.
            ("grpc.lb_policy_name", "round_robin"),
            ("grpc.initial_reconnect_backoff_ms", shortest),
            ("grpc.max_reconnect_backoff_ms", longest),
        ]
        if served.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(
                _read(config.root_certificates),
                _read(config.client_key),
                _read(config.client_certificate),
            )
            self._channel = grpc.secure_channel(served.address, credentials, channel_options)
        else:
            self._channel = grpc.insecure_channel(served.address, channel_options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
        timeout: float,
    ) -> Outputs:
        """Run a signature on input tensors by name."""
        del outputs  # the response names them
        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, tensor in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        response = _call(self._stub.Predict, request, timeout)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def signatures(self, timeout: float) -> dict[str, ServedSignature]:
        """Return all signatures by name."""
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        self._address(request.model_spec)
        request.metadata_field.append("signature_def")
        response = _call(self._stub.GetModelMetadata, request, timeout)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(definitions)
        return {
            name: ServedSignature(
                {key: (_dtype_name(t), _shape(t)) for key, t in definition.inputs.items()},
                tuple(definition.outputs),
            )
            for name, definition in definitions.signature_def.items()
        }

    def close(self) -> None:
        """Close all connections. Calls in progress fail with CANCELLED."""
        self._channel.close()

    def _address(self, spec: Any) -> None:
        spec.name = self._served.name
        if self._served.version is not None:
            spec.version.value = self._served.version
        if self._served.label is not None:
            spec.version_label = self._served.label


def _call(method: Any, request: Any, timeout: float) -> Any:
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise ServerError(error.code().name, error.details() or "") from None
    except ValueError as error:  # the channel was closed meanwhile
        raise ServerError("CANCELLED", str(error)) from None


def _dtype_name(tensor: Any) -> str:
    return str(types_pb2.DataType.Name(tensor.dtype))


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim)


def _read(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected readable certificates. Received: {path!r} ({reason})"
        ) from None
