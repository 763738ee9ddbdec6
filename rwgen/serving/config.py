"""Settings of the embedded server; the command line takes its defaults here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rwgen.errors import InvalidInputError

MAX_VERSION = 2**63 - 1
"""Largest version number, as in TensorFlow Serving's messages."""

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where TensorFlow Serving shows its metrics."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Addresses and limits of a server.

    Attributes:
        host: address to listen at.
        rest_port: TCP port of REST, 0 for any free one.
        grpc_port: TCP port of gRPC, 0 for any free one.
        max_batch_size: rows at the most that requests are put together to; a single request may
            have more, and then runs alone.
        batch_timeout: seconds that requests wait for others at the most while the model is busy.
            While it is idle, nothing waits.
        batch_threads: batches that run at a time.
        max_queued_requests: requests that may wait for the model; more are UNAVAILABLE.
        max_concurrent_requests: requests that may be read, wait or run at a time; more are
            UNAVAILABLE.
        max_request_bytes: size of a REST body or a gRPC message at the most, and of all its
            tensors together; also what a batch may hold.
        max_pending_bytes: what all requests at a time may hold; more are UNAVAILABLE.
        max_connections: REST connections that may be open; more are closed at once.
        request_timeout: seconds for an answer, unless the client's own deadline is sooner.
        read_timeout: seconds in which a client must send a request, and take its answer.
        poll_interval: seconds between two looks into the models' folders.
        drain_timeout: seconds that requests in flight have when the server stops.
        tls_key: PEM file with the private key for gRPC, None for no TLS.
        tls_certificate: PEM file with the certificate chain for gRPC, None for no TLS.
        metrics_path: path of the Prometheus metrics, under the REST port.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    max_batch_size: int = 16
    batch_timeout: float = 0.002
    batch_threads: int = 2
    max_queued_requests: int = 64
    max_concurrent_requests: int = 128
    max_request_bytes: int = 1 << 25
    max_pending_bytes: int = 1 << 29
    max_connections: int = 512
    request_timeout: float = 60.0
    read_timeout: float = 20.0
    poll_interval: float = 1.0
    drain_timeout: float = 30.0
    tls_key: str | None = None
    tls_certificate: str | None = None
    metrics_path: str = METRICS_PATH

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        if not isinstance(self.host, str) or not self.host:
            raise _unexpected("host", "an address", self.host)
        for key in ("rest_port", "grpc_port"):
            _check_integer(key, getattr(self, key), 0, 65535)
        for key in ("max_batch_size", "batch_threads", "max_queued_requests", "max_connections"):
            _check_integer(key, getattr(self, key), 1)
        _check_integer("max_concurrent_requests", self.max_concurrent_requests, 1)
        # gRPC keeps the size of a message in 32 bits.
        _check_integer("max_request_bytes", self.max_request_bytes, 1, 2**31 - 1)
        _check_integer("max_pending_bytes", self.max_pending_bytes, self.max_request_bytes)
        _check_seconds("batch_timeout", self.batch_timeout, allow_zero=True)
        _check_seconds("drain_timeout", self.drain_timeout, allow_zero=True)
        for key in ("request_timeout", "read_timeout", "poll_interval"):
            _check_seconds(key, getattr(self, key))
        if (self.tls_key is None) != (self.tls_certificate is None):
            received = "only one of them"
            raise InvalidInputError(
                f"tls_key, tls_certificate: expected both or none. Received: {received}"
            )
        if not isinstance(self.metrics_path, str) or not re.fullmatch(
            r"(/[\w.-]+)+", self.metrics_path
        ):
            raise _unexpected("metrics_path", "a path such as /metrics", self.metrics_path)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: what requests call it.
        base_path: folder with one folder for each version, named by an integer.
        version_labels: further names of versions; these versions are kept loaded.
    """

    name: str
    base_path: str | Path
    version_labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is not what it must be.
        """
        _check_name("name", self.name)
        if not isinstance(self.base_path, str | Path) or not str(self.base_path):
            raise _unexpected("base_path", "a folder", self.base_path)
        if not isinstance(self.version_labels, Mapping):
            raise _unexpected("version_labels", "versions by label", self.version_labels)
        for label, version in self.version_labels.items():
            _check_name("version_labels", label)
            _check_integer(f"version_labels.{label}", version, 0, MAX_VERSION)


def _unexpected(key: str, expected: str, received: object) -> InvalidInputError:
    return InvalidInputError(f"{key}: expected {expected}. Received: {received!r}")


def _check_name(key: str, value: object) -> None:
    # A slash or a colon would end the name in a REST path.
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch("[^/:]+", value):
        raise _unexpected(key, "a printable text without / and :, not empty", value)


def _check_integer(key: str, value: object, least: int, most: int | None = None) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not good or (most is not None and isinstance(value, int) and value > most):
        expected = f"an integer from {least}" + ("" if most is None else f" to {most}")
        raise _unexpected(key, expected, value)


def _check_seconds(key: str, value: object, *, allow_zero: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # A week is enough for anything, and NaN and infinity fail the comparison.
    if not number or not 0 <= float(value) <= 604800 or not (value or allow_zero):  # type: ignore[arg-type]
        least = "from 0" if allow_zero else "above 0"
        raise _unexpected(key, f"seconds {least} up to a week", value)
