"""TF Serving's gRPC interface, as a transport of `rwgen.client.client`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from rwgen.client.config import ClientConfig, Outputs, ServedModel, SignatureInput, signature_input
from rwgen.errors import InvalidInputError, ServerError

_METHOD = {"service": "tensorflow.serving.PredictionService"}


class GrpcTransport:
    """Sends tensors as protocol buffers, see `rwgen.client.client.Transport`."""

    def __init__(self, served: ServedModel, config: ClientConfig) -> None:
        """Create a channel, without sending anything yet.

        Raises:
            InvalidInputError: the root certificates cannot be read.
        """
        self._served, self._timeout = served, config.timeout
        policy = {
            "maxAttempts": config.max_attempts,
            "initialBackoff": f"{config.first_wait}s",
            "maxBackoff": f"{config.first_wait * 2**config.max_attempts}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        service: dict[str, Any] = {"methodConfig": [{"name": [_METHOD]}]}
        if config.max_attempts > 1:
            service["methodConfig"][0]["retryPolicy"] = policy
        channel_options = [
            # Features of large images exceed gRPC's default of 4 MiB.
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.service_config", json.dumps(service)),
        ]
        if served.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(_read(config.root_certificates))
            self._channel = grpc.secure_channel(served.address, credentials, channel_options)
        else:
            self._channel = grpc.insecure_channel(served.address, channel_options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._known: Mapping[str, Any] = {}

    def predict(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run a signature on input tensors by name."""
        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, tensor in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        response = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's single input."""
        found = {
            name: {key: (_dtype_name(t), _shape(t)) for key, t in definition.inputs.items()}
            for name, definition in self._definitions(signature).items()
        }
        return signature_input(signature, found)

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""
        self.input_of(signature)  # refuses an unknown signature
        return tuple(self._definitions(signature)[signature].outputs)

    def close(self) -> None:
        """Close all connections."""
        self._channel.close()

    def _definitions(self, signature: str) -> Mapping[str, Any]:
        """All signatures by name, asked for again while one of this name is not among them."""
        if signature not in self._known:
            request = get_model_metadata_pb2.GetModelMetadataRequest()
            self._address(request.model_spec)
            request.metadata_field.append("signature_def")
            response = self._call(self._stub.GetModelMetadata, request)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            response.metadata["signature_def"].Unpack(signatures)
            self._known = dict(signatures.signature_def)
        return self._known

    def _address(self, spec: Any) -> None:
        spec.name = self._served.name
        if self._served.version is not None:
            spec.version.value = self._served.version
        if self._served.label is not None:
            spec.version_label = self._served.label

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise ServerError(error.code().name, error.details() or "") from None


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
