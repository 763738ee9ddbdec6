"""The gRPC interface: TensorFlow Serving's services."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from rwgen.errors import InvalidInputError
from rwgen.serving.backend import Backend
from rwgen.serving.model_config import models_of
from rwgen.serving.models.inference import (
    CLASSIFY,
    REGRESS,
    Classification,
    Inference,
    Regression,
    example_array,
    find_inference,
    find_inferences,
    serialized,
)
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.models.tensor_proto import decode_inputs, from_array
from rwgen.serving.predict import before, total_bytes
from rwgen.serving.rpc.calls import Call, Handler, method_handler
from rwgen.serving.rpc.results import multi_response, one_response
from rwgen.serving.status import Code, ServingError, invalid

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"


class GrpcServices:
    """Answers gRPC requests.

    Args:
        backend: models, limits and metrics, shared by both interfaces.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the handlers of both services."""
        services: dict[str, dict[str, Handler]] = {
            PREDICTION_SERVICE: {
                "Predict": self._predict,
                "GetModelMetadata": self._metadata,
                "Classify": self._classify,
                "Regress": self._regress,
                "MultiInference": self._multi_inference,
            },
            MODEL_SERVICE: {
                "GetModelStatus": self._status,
                "HandleReloadConfigRequest": self._reload,
            },
        }
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    method: method_handler(method, handler, self._backend)
                    for method, handler in methods.items()
                },
            )
            for service, methods in services.items()
        ]

    async def _predict(self, call: Call) -> bytes:
        request = await self._request(predict_pb2.PredictRequest, call)
        spec = _spec(request)
        call.record.model = self._backend.served_name(spec)
        with self._backend.manager.lease(spec) as servable:
            return await self._run(servable, request, call)

    async def _run(self, servable: Servable, request: Any, call: Call) -> bytes:
        predictor = self._backend.predictor
        signature = servable.signature(request.model_spec.signature_name)
        signature.check_names(set(request.inputs))
        wanted = signature.select_outputs(tuple(request.output_filter))
        inputs, size = await predictor.convert(
            len(call.data),
            decode_inputs,
            request.inputs,
            signature,
            self._backend.config.max_request_bytes,
        )
        call.slot.grow(size)
        outputs = await predictor.predict(servable, signature, inputs, call.deadline)
        chosen = {key: outputs[key] for key in wanted}
        return await predictor.convert(
            total_bytes(chosen), _predict_response, servable, signature.name, chosen
        )

    async def _classify(self, call: Call) -> bytes:
        return await self._infer_one(CLASSIFY, classification_pb2.ClassificationRequest, call)

    async def _regress(self, call: Call) -> bytes:
        return await self._infer_one(REGRESS, regression_pb2.RegressionRequest, call)

    async def _infer_one(self, method: str, message: type[Any], call: Call) -> bytes:
        request = await self._request(message, call)
        spec = _spec(request)
        call.record.model = self._backend.served_name(spec)
        with self._backend.manager.lease(spec) as servable:
            name = request.model_spec.signature_name
            inference = find_inference(method, name, servable.signatures)
            (result,) = await self._infer(servable, [inference], request.input, call)
            return await self._backend.predictor.convert(
                result.nbytes, one_response, servable, inference, result
            )

    async def _multi_inference(self, call: Call) -> bytes:
        request = await self._request(inference_pb2.MultiInferenceRequest, call)
        # The model is that of the first task, or no model.
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        spec = _spec_of(first.model_spec)
        call.record.model = self._backend.served_name(spec)
        with self._backend.manager.lease(spec) as servable:
            inferences = find_inferences(request.tasks, servable.signatures)
            results = await self._infer(servable, inferences, request.input, call)
            size = sum(result.nbytes for result in results)
            return await self._backend.predictor.convert(
                size, multi_response, servable, inferences, results
            )

    async def _infer(
        self, servable: Servable, inferences: Sequence[Inference], message: Any, call: Call
    ) -> list[Classification | Regression]:
        limit = self._backend.config.max_request_bytes

        def decode() -> tuple[NDArray[Any], int]:
            return example_array(*serialized(message), limit)

        predictor, api = self._backend.predictor, call.record.api
        examples, size = await predictor.convert(len(call.data), decode)
        call.slot.grow(size)
        return await predictor.infer(servable, inferences, examples, call.deadline, api)

    async def _request(self, message: type[Any], call: Call) -> Any:
        call.record.model = ""
        return await self._backend.predictor.convert(len(call.data), _parse, message, call.data)

    async def _metadata(self, call: Call) -> bytes:
        request = _parse(get_model_metadata_pb2.GetModelMetadataRequest, call.data)
        spec = _spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._backend.manager.lease(spec) as servable:
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            definitions = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in servable.signature_defs.items():
                definitions.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(definitions)
        return bytes(response.SerializeToString())

    async def _status(self, call: Call) -> bytes:
        request = _parse(get_model_status_pb2.GetModelStatusRequest, call.data)
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._backend.manager.statuses(_spec(request)):
            entry = response.model_version_status.add()
            entry.version = status.version
            entry.state = status.state.value
            entry.status.error_code = int(status.code)
            entry.status.error_message = status.message
        return bytes(response.SerializeToString())

    async def _reload(self, call: Call) -> bytes:
        if not self._backend.config.allow_reload:
            raise ServingError(Code.PERMISSION_DENIED, "Changing the models is not allowed")
        request = _parse(model_management_pb2.ReloadConfigRequest, call.data)
        try:
            models = models_of(request.config)
        except InvalidInputError as error:
            raise invalid(str(error)) from None
        if models is None:
            raise invalid("ReloadConfigRequest must contain a model_config_list")
        async with before(call.deadline):
            await asyncio.to_thread(self._backend.manager.reload, models)
        return bytes(model_management_pb2.ReloadConfigResponse().SerializeToString())


def _parse(message: type[Any], data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise invalid(f"expected a {message.DESCRIPTOR.name} message. Received: none") from None


def _spec(request: Any) -> ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return _spec_of(request.model_spec)


def _spec_of(spec: Any) -> ModelSpec:
    choice = spec.WhichOneof("version_choice")
    return ModelSpec(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _predict_response(
    servable: Servable, signature_name: str, outputs: dict[str, NDArray[Any]]
) -> bytes:
    response = predict_pb2.PredictResponse()
    response.model_spec.name = servable.name
    response.model_spec.signature_name = signature_name
    response.model_spec.version.value = servable.version
    for name, array in outputs.items():
        from_array(array, response.outputs[name])
    return bytes(response.SerializeToString())
