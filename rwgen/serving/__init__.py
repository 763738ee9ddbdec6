"""A server for SavedModels with TensorFlow Serving's REST and gRPC interfaces.

`Server` and `serve_until_signal` import TensorFlow and are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rwgen.errors import InvalidInputError
from rwgen.serving.config import ModelConfig, ServerConfig, TlsConfig

if TYPE_CHECKING:
    from rwgen.serving.server import Server, serve_until_signal

_PACKAGES = (
    "grpc",
    "grpc_health",
    "h11",
    "prometheus_client",
    "starlette",
    "tensorflow_serving",
    "uvicorn",
)

__all__ = ["ModelConfig", "Server", "ServerConfig", "TlsConfig", "serve_until_signal"]


def __getattr__(name: str) -> Any:
    if name not in ("Server", "serve_until_signal"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("rwgen.serving.server"), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise InvalidInputError(
            f"expected the package {package}, which the server needs. Received: none; "
            'run pip install "rwgen[serve]"'
        ) from None
