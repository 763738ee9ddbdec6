"""Settings of the embedded server. The command line takes its defaults from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rwgen.checks import check_count, check_number, unexpected
from rwgen.errors import InvalidInputError

MAX_VERSION = 2**63 - 1
"""Largest version number, as in TensorFlow Serving's messages."""

MAX_REQUEST_BYTES = 2**31 - 1
"""Largest limit for one request: gRPC stores the size of a message in 32 bits."""

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Default path of the metrics, the same as TensorFlow Serving's."""

_WEEK = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Addresses and limits of a server.

    Attributes:
        host: address to listen on.
        rest_port: TCP port for REST; 0 picks a free one.
        grpc_port: TCP port for gRPC, not that of REST; 0 picks a free one.
        enable_batching: whether to combine requests for every signature with a batch in dimension
            0, as TensorFlow Serving does with the flag of this name. Otherwise only requests for
            signatures that are per image are combined, according to the manifest of the export.
        enable_cors: whether browsers may show REST responses to pages of other origins.
        max_batch_size: maximum number of rows in a batch of several requests. A single request
            may have more rows; it then runs alone.
        batch_timeout: maximum time in seconds that a request waits for others to share its batch
            while the model is busy. Nothing waits while the model is idle.
        batch_threads: number of batches that run concurrently.
        max_queued_requests: maximum number of requests waiting for the model. Further requests
            fail with UNAVAILABLE.
        max_concurrent_requests: maximum number of requests being read, waiting or running.
            Further requests fail with UNAVAILABLE.
        max_request_bytes: maximum size of a REST body or a gRPC message, of all tensors of one
            request together, and of the inputs of one batch.
        max_pending_bytes: maximum size of all requests held at the same time. Further requests
            fail with UNAVAILABLE.
        max_connections: maximum number of open REST connections. Further connections are closed
            immediately.
        request_timeout: seconds until a request must be answered, unless the client's own
            deadline is earlier.
        read_timeout: seconds within which a client must send a request, and within which it must
            read the response.
        poll_interval: seconds between two scans of the model folders.
        drain_timeout: seconds that requests in flight may take to finish when the server stops.
        tls_key: PEM file with the private key for gRPC, or None for no TLS.
        tls_certificate: PEM file with the certificate chain for gRPC, or None for no TLS.
        metrics_path: path of the Prometheus metrics on the REST port.

    Raises:
        InvalidInputError: a field is out of range.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    enable_batching: bool = False
    enable_cors: bool = False
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
        """Validate the fields."""
        if not isinstance(self.host, str) or not self.host:
            raise unexpected("host", "an address", self.host)
        for key in ("enable_batching", "enable_cors"):
            if not isinstance(getattr(self, key), bool):
                raise unexpected(key, "True or False", getattr(self, key))
        limits: dict[str, tuple[int, int | None]] = {
            "rest_port": (0, 65535),
            "grpc_port": (0, 65535),
            "max_batch_size": (1, None),
            "batch_threads": (1, None),
            "max_queued_requests": (1, None),
            "max_concurrent_requests": (1, None),
            "max_request_bytes": (1, MAX_REQUEST_BYTES),
            "max_pending_bytes": (self.max_request_bytes, None),
            "max_connections": (1, None),
        }
        for key, (least, most) in limits.items():
            check_count(key, getattr(self, key), least, most)
        if self.rest_port and self.rest_port == self.grpc_port:
            ports = (self.rest_port, self.grpc_port)
            raise unexpected("rest_port, grpc_port", "two different ports", ports)
        for key in ("batch_timeout", "drain_timeout"):
            check_number(key, getattr(self, key), most=_WEEK, unit="seconds")
        for key in ("request_timeout", "read_timeout", "poll_interval"):
            check_number(key, getattr(self, key), most=_WEEK, exclusive=True, unit="seconds")
        if (self.tls_key is None) != (self.tls_certificate is None):
            received = (self.tls_key, self.tls_certificate)
            raise unexpected("tls_key, tls_certificate", "both or neither", received)
        if not isinstance(self.metrics_path, str) or not re.fullmatch(
            r"(/[\w.-]+)+", self.metrics_path
        ):
            raise unexpected("metrics_path", "a path such as /metrics", self.metrics_path)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: name of the model in requests.
        base_path: folder with one subfolder per version; its name is the version number.
        version_labels: version numbers by label. Requests may name a version by its label;
            labeled versions stay loaded.
        version: the only version to serve; None serves the latest and the labeled ones.

    Raises:
        InvalidInputError: a field has the wrong type, or a name or version is invalid.
    """

    name: str
    base_path: str | Path
    version_labels: Mapping[str, int] = field(default_factory=dict)
    version: int | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        _check_name("name", self.name)
        if not isinstance(self.base_path, str | Path) or not str(self.base_path):
            raise unexpected("base_path", "a folder", self.base_path)
        if not isinstance(self.version_labels, Mapping):
            raise unexpected("version_labels", "a mapping of label to version", self.version_labels)
        for label, version in self.version_labels.items():
            _check_name("version_labels", label)
            check_count(f"version_labels.{label}", version, 0, MAX_VERSION)
        if self.version is not None:
            check_count("version", self.version, 0, MAX_VERSION)
            if set(self.version_labels.values()) - {self.version}:
                labels = dict(self.version_labels)
                raise unexpected("version_labels", f"labels of version {self.version}", labels)


def read_pem(path: str) -> bytes:
    """Read a TLS key or certificate.

    Raises:
        InvalidInputError: the file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected a readable PEM file for TLS. Received: {path!r} ({reason})"
        ) from None


def _check_name(key: str, value: object) -> None:
    # A slash or a colon would end the name in a REST path.
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch("[^/:]+", value):
        raise unexpected(key, "a non-empty printable string without / and :", value)
