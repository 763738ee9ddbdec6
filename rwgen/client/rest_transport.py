"""TF Serving's REST interface, as a transport of `rwgen.client.client`."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import urllib3
from numpy.typing import NDArray

from rwgen.client.config import (
    MAX_CONNECTIONS,
    ClientConfig,
    Outputs,
    ServedModel,
    ServedSignature,
)
from rwgen.errors import ServerError

_CODE_OF = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestTransport:
    """Sends tensors as JSON, see `rwgen.client.client.Transport`."""

    def __init__(self, served: ServedModel, config: ClientConfig) -> None:
        """Create a pool of connections, without sending anything yet."""
        quote = urllib.parse.quote
        self._url = f"{served.scheme}://{served.address}/v1/models/{quote(served.name, safe='')}"
        if served.version is not None:
            self._url += f"/versions/{served.version}"
        if served.label is not None:
            self._url += f"/labels/{quote(served.label, safe='')}"
        self._pool = urllib3.PoolManager(
            retries=False,
            ca_certs=config.root_certificates,
            key_file=config.client_key,
            cert_file=config.client_certificate,
            maxsize=MAX_CONNECTIONS,
        )

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
        timeout: float,
    ) -> Outputs:
        """Run a signature on input tensors by name."""
        values = {name: _to_json(tensor) for name, tensor in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": values}).encode()
        results = self._call("POST", ":predict", timeout, body)["outputs"]
        if not isinstance(results, dict):  # a signature with one output
            (name,) = outputs
            results = {name: results}
        return {name: np.asarray(value, np.float32) for name, value in results.items()}

    def signatures(self, timeout: float) -> dict[str, ServedSignature]:
        """Return all signatures by name."""
        metadata = self._call("GET", "/metadata", timeout)["metadata"]
        return {
            name: ServedSignature(
                {key: (tensor["dtype"], _shape(tensor)) for key, tensor in parts["inputs"].items()},
                tuple(parts["outputs"]),
            )
            for name, parts in metadata["signature_def"]["signature_def"].items()
        }

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _call(
        self, method: str, path: str, timeout: float, body: bytes | None = None
    ) -> dict[str, Any]:
        limit = urllib3.Timeout(total=timeout)
        try:
            response = self._pool.request(method, self._url + path, body=body, timeout=limit)
        except urllib3.exceptions.HTTPError as error:
            late = isinstance(error, urllib3.exceptions.ReadTimeoutError)
            code = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE"
            raise ServerError(code, f"{self._url}: {error}") from None
        try:
            values = json.loads(response.data)
        except ValueError:
            values = {"error": response.data[:200].decode(errors="replace")}
        if response.status != 200 or not isinstance(values, dict):
            message = values.get("error") if isinstance(values, dict) else None
            raise ServerError(_CODE_OF.get(response.status, "UNKNOWN"), str(message or values))
        return values


def _to_json(tensor: NDArray[Any]) -> Any:
    if tensor.dtype == object:
        return [{"b64": base64.b64encode(value).decode("ascii")} for value in tensor]
    return tensor.tolist()


def _shape(tensor: Mapping[str, Any]) -> tuple[int | None, ...]:
    sides = (int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", ()))
    return tuple(None if side < 0 else side for side in sides)
