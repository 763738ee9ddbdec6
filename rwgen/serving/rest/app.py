"""The REST interface, as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rwgen.serving.admission import Slot, check_inputs
from rwgen.serving.backend import Backend, Record
from rwgen.serving.logs import log
from rwgen.serving.metrics import CONTENT_TYPE
from rwgen.serving.models.inference import CLASSIFY, REGRESS, example_array, find_inference
from rwgen.serving.models.manager import ModelManager
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import ModelSpec, TensorInfo
from rwgen.serving.predict import total_bytes
from rwgen.serving.rest.bodies import Body, ClientGoneError
from rwgen.serving.rest.encodings import COMPRESSED_FROM, accepts_gzip, compress, decompress
from rwgen.serving.rest.json_examples import decode_examples, encode_result
from rwgen.serving.rest.json_request import decode_request
from rwgen.serving.rest.json_response import encode_response
from rwgen.serving.rest.paths import Route, check_prefix, find_route
from rwgen.serving.status import Code, ServingError, invalid

_JSON = "application/json"

_METHODS = {"classify": CLASSIFY, "regress": REGRESS}

_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}
"""Headers that allow browsers to show responses to pages of any origin, as TensorFlow Serving's."""


class RestApp:
    """Answers REST requests.

    Args:
        backend: models, limits and metrics, shared by both interfaces.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._headers = _CORS if backend.config.enable_cors else {}
        config = backend.config
        self._timeout = (
            config.request_timeout if config.rest_timeout is None else config.rest_timeout
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # Still percent-encoded: an encoded slash must not become part of the path.
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        headers = Headers(scope=scope)
        config = self._backend.config
        if method == "GET" and path == config.metrics_path:
            metrics = self._backend.metrics.text()
            await Response(metrics, media_type=CONTENT_TYPE)(scope, receive, send)
            return
        body = Body(scope, receive, config.max_request_bytes, config.read_timeout)
        try:
            try:
                if method == "OPTIONS":
                    _check_preflight(path, headers.get("origin", ""))
                    await Response(headers=self._headers)(scope, receive, send)
                    return
                with self._backend.gate.admit() as slot:
                    with self._backend.record("REST", method=method, path=path[:200]) as record:
                        await self._backend.turns.wait()
                        content = await self._content(find_route(method, path), body, slot, record)
                    extra = dict(self._headers)
                    if len(content) >= COMPRESSED_FROM and accepts_gzip(headers):
                        extra |= {"content-encoding": "gzip", "vary": "accept-encoding"}
                        size = len(content)
                        content = await self._backend.predictor.convert(size, compress, content)
                    # Within the slot: a response that the client has not read yet takes memory.
                    answer = Response(content, headers=extra, media_type=_JSON)
                    await answer(scope, receive, send)
            except ClientGoneError:
                raise
            except asyncio.CancelledError:
                # The time that a server that ends leaves to its requests is over.
                error = ServingError(Code.UNAVAILABLE, "The server is shutting down")
                with contextlib.suppress(RuntimeError):  # the response has begun
                    await _error(error, {"connection": "close"})(scope, receive, send)
            except ServingError as error:
                await body.discard()
                # After a request that was not read to its end, the start of the next is unknown.
                ending = {} if body.ended else {"connection": "close"}
                await _error(error, {**self._headers, **ending})(scope, receive, send)
        except ClientGoneError:
            log(logging.DEBUG, "client_gone", path=path[:200])

    async def _content(self, route: Route, body: Body, slot: Slot, record: Record) -> bytes:
        # The body may be long, so it is read last.
        manager = self._backend.manager
        if route.action == "status":
            content = _status_json(manager, route.spec)
            await body.read(slot)
            return content
        if route.action == "metadata":
            with manager.lease(route.spec) as servable:
                content = _metadata_json(servable)
            await body.read(slot)
            return content
        record.model, record.api = self._backend.served_name(route.spec), route.action
        deadline = record.start + self._timeout
        with manager.lease(route.spec) as servable:
            data = await self._read(body, slot)
            if route.action == "predict":
                return await self._predict(servable, data, slot, deadline)
            return await self._infer(servable, route.action, data, slot, deadline)

    async def _read(self, body: Body, slot: Slot) -> bytes:
        data = await body.read(slot)
        if body.is_gzip:
            limit = self._backend.config.max_request_bytes
            # A short body may become a long one.
            data = await self._backend.predictor.convert(limit, decompress, data, limit)
            slot.grow(len(data))
        return data

    async def _predict(self, servable: Servable, body: bytes, slot: Slot, deadline: float) -> bytes:
        def inputs_of(name: str) -> Mapping[str, TensorInfo]:
            if name not in servable.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return servable.signatures[name].inputs

        predictor = self._backend.predictor
        request = await predictor.convert(len(body), decode_request, body, inputs_of)
        del body
        size = total_bytes(request.inputs)
        check_inputs(size, self._backend.config.max_request_bytes)
        slot.grow(size)
        signature = servable.signatures[request.signature_name]
        outputs = await predictor.predict(servable, signature, request.inputs, deadline)

        def encode() -> bytes:
            return encode_response(outputs, row=request.row)

        return await predictor.convert(total_bytes(outputs), encode)

    async def _infer(
        self, servable: Servable, action: str, body: bytes, slot: Slot, deadline: float
    ) -> bytes:
        predictor, limit = self._backend.predictor, self._backend.config.max_request_bytes
        length = len(body)
        request = await predictor.convert(length, decode_examples, body)
        del body
        inference = find_inference(_METHODS[action], request.signature_name, servable.signatures)
        examples, size = await predictor.convert(
            length, example_array, request.context, request.examples, limit
        )
        slot.grow(size)
        api = action.capitalize()
        (result,) = await predictor.infer(servable, [inference], examples, deadline, api)
        return await predictor.convert(result.nbytes, encode_result, result)


def _check_preflight(path: str, origin: str) -> None:
    """Check the request that a browser sends before one from a page of another origin."""
    check_prefix(path)
    if re.search("https?://", origin) is None:
        raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")


def _error(error: ServingError, headers: Mapping[str, str]) -> Response:
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
