"""The REST interface, as an ASGI application."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rwgen.serving.admission import Gate, Slot
from rwgen.serving.config import ServerConfig
from rwgen.serving.logs import log
from rwgen.serving.metrics import CONTENT_TYPE, Metrics
from rwgen.serving.models.manager import ModelManager, ModelSpec
from rwgen.serving.models.servable import Servable, as_serving_error
from rwgen.serving.models.spec import TensorInfo
from rwgen.serving.predict import Predictor, total_bytes
from rwgen.serving.rest.bodies import Body, ClientGoneError
from rwgen.serving.rest.json_request import decode_request
from rwgen.serving.rest.json_response import encode_response
from rwgen.serving.rest.paths import Route, find_route
from rwgen.serving.status import Code, ServingError, invalid

_JSON = "application/json"


class RestApp:
    """Answers REST requests.

    Args:
        config: limits, and the metrics' path.
        manager: the models.
        predictor: runs them.
        gate: admits requests.
        metrics: counts them.
    """

    def __init__(
        self,
        config: ServerConfig,
        manager: ModelManager,
        predictor: Predictor,
        gate: Gate,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._manager = manager
        self._predictor = predictor
        self._gate = gate
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # As it was sent: what is quoted in it must not become a part of the path.
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        if method == "GET" and path == self._config.metrics_path:
            await Response(self._metrics.text(), media_type=CONTENT_TYPE)(scope, receive, send)
            return
        body = Body(scope, receive, self._config.max_request_bytes, self._config.read_timeout)
        try:
            try:
                with self._gate.admit() as slot:
                    response = await self._respond(method, path, await body.read(slot), slot)
                    # Within the slot: an answer that is not taken yet is held in memory.
                    await response(scope, receive, send)
            except ServingError as error:
                await body.discard()
                await _error(error, close=not body.ended)(scope, receive, send)
        except ClientGoneError:
            log(logging.DEBUG, "client_gone", path=path[:200])

    async def _respond(self, method: str, path: str, body: bytes, slot: Slot) -> Response:
        start = time.monotonic()
        route: Route | None = None
        failure: ServingError | None = None
        try:
            route = find_route(method, path)
            content = await self._content(route, body, slot, start)
        except Exception as error:
            failure = as_serving_error(error)
            if failure.code == Code.INTERNAL:
                log(logging.ERROR, "request_failed", api="REST", error=failure)
        status = failure.code if failure else Code.OK
        name = route.spec.name if route and route.spec.name in self._manager.names else ""
        seconds = time.monotonic() - start
        if route is not None and route.action == "predict":
            self._metrics.request(name, status.name, "predict", "REST", seconds)
        log(
            logging.DEBUG,
            "request",
            api="REST",
            method=method,
            path=path[:200],
            status=status.name,
            seconds=seconds,
        )
        return Response(content, media_type=_JSON) if failure is None else _error(failure)

    async def _content(self, route: Route, body: bytes, slot: Slot, start: float) -> bytes:
        if route.action == "predict":
            with self._manager.lease(route.spec) as servable:
                deadline = start + self._config.request_timeout
                return await self._predict(servable, body, slot, deadline)
        if route.action == "status":
            return _status_json(self._manager, route.spec)
        if route.action == "metadata":
            with self._manager.lease(route.spec) as servable:
                return _metadata_json(servable)
        raise ServingError(Code.UNIMPLEMENTED, f"{route.action} is not implemented")

    async def _predict(self, servable: Servable, body: bytes, slot: Slot, deadline: float) -> bytes:
        def inputs_of(name: str) -> Mapping[str, TensorInfo]:
            if name not in servable.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return servable.signatures[name].inputs

        request = await self._predictor.convert(len(body), decode_request, body, inputs_of)
        del body
        slot.grow(total_bytes(request.inputs))
        signature = servable.signatures[request.signature_name]
        for name, array in request.inputs.items():
            signature.check_input(name, signature.inputs[name].dtype.name, array.shape)
        outputs = await self._predictor.predict(servable, signature, request.inputs, deadline)

        def encode() -> bytes:
            return encode_response(outputs, row=request.row)

        return await self._predictor.convert(total_bytes(outputs), encode)


def _error(error: ServingError, *, close: bool = False) -> Response:
    # Where a request was not read to its end, the next one cannot be found.
    headers = {"connection": "close"} if close else None
    content = json.dumps({"error": error.message})
    return Response(content, status_code=error.http, media_type=_JSON, headers=headers)


def _status_json(manager: ModelManager, spec: ModelSpec) -> bytes:
    statuses = [
        {
            "version": str(status.version),
            "state": status.state.name,
            "status": {"error_code": status.code.name, "error_message": status.message},
        }
        for status in manager.statuses(spec)
    ]
    return json.dumps({"model_version_status": statuses}, indent=1).encode()


def _metadata_json(servable: Servable) -> bytes:
    definitions: dict[str, Any] = {
        name: MessageToDict(
            definition,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name, definition in servable.signature_defs.items()
    }
    spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
    metadata = {"signature_def": {"signature_def": definitions}}
    return json.dumps({"model_spec": spec, "metadata": metadata}, indent=1).encode()
