"""A server for SavedModels that speaks TensorFlow Serving's protocol, over REST and gRPC.

`Server` and `serve_until_signal` import TensorFlow and are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rwgen.serving.config import ModelConfig, ServerConfig

if TYPE_CHECKING:
    from rwgen.serving.server import Server, serve_until_signal

__all__ = ["ModelConfig", "Server", "ServerConfig", "serve_until_signal"]


def __getattr__(name: str) -> Any:
    if name in ("Server", "serve_until_signal"):
        return getattr(import_module("rwgen.serving.server"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
