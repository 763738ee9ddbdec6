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

from rwgen.client.config import ClientConfig, Outputs, ServedModel, SignatureInput, signature_input
from rwgen.errors import ServerError

_UNAVAILABLE = 503

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
        retries = urllib3.Retry(
            total=config.max_attempts - 1,
            read=0,
            redirect=0,
            other=0,
            status_forcelist=[_UNAVAILABLE],
            allowed_methods=None,
            # urllib3 waits from the third attempt on: twice this value, then doubled each time.
            backoff_factor=config.first_wait,
            raise_on_status=False,
        )
        self._pool = urllib3.PoolManager(
            retries=retries,
            timeout=urllib3.Timeout(total=config.timeout),
            ca_certs=config.root_certificates,
            maxsize=16,
        )
        self._known: dict[str, Any] = {}

    def predict(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """Run a signature on input tensors by name."""
        values = {name: _to_json(tensor) for name, tensor in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": values}).encode()
        outputs = self._call("POST", ":predict", body)["outputs"]
        if not isinstance(outputs, dict):  # a signature with one output
            (name,) = self._signatures()[signature]["outputs"]
            outputs = {name: outputs}
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}

    def input_of(self, signature: str) -> SignatureInput:
        """Return name, dtype and shape of a signature's single input."""
        found = {
            name: {
                key: (tensor["dtype"], _shape(tensor)) for key, tensor in parts["inputs"].items()
            }
            for name, parts in self._signatures().items()
        }
        return signature_input(signature, found)

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """Return the names of a signature's outputs."""
        self.input_of(signature)  # refuses an unknown signature
        return tuple(self._signatures()[signature]["outputs"])

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _signatures(self) -> dict[str, Any]:
        if not self._known:
            metadata = self._call("GET", "/metadata")["metadata"]
            self._known = metadata["signature_def"]["signature_def"]
        return self._known

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            response = self._pool.request(method, self._url + path, body=body)
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            late = isinstance(cause, urllib3.exceptions.ReadTimeoutError)
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
