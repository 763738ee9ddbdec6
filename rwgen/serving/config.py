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

MAX_THREADS = 1 << 10
"""Largest number of threads of a session."""

MAX_CONNECTIONS = 1 << 20
"""Largest limit for connections."""

_FLAGS = (
    "enable_batching",
    "enable_cors",
    "wait_for_models",
    "allow_reload",
    "allow_unavailable_labels",
)

_WEEK = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Certificates for TLS, in PEM format.

    Attributes:
        key: private key of the server.
        certificate: its certificate, followed by those of intermediate authorities.
        client_ca: certificates of the authorities that sign those of clients. Clients without such
            a certificate are refused. None accepts clients without a certificate.

    Raises:
        InvalidInputError: a field is not made of bytes, or is empty.
    """

    key: bytes = field(repr=False)
    certificate: bytes
    client_ca: bytes | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        for name, value in vars(self).items():
            if (value is not None or name != "client_ca") and not (
                isinstance(value, bytes) and value
            ):
                # The value itself may be a secret.
                raise unexpected(name, "text in PEM format, as bytes", type(value).__name__)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Addresses and limits of a server, and how it loads models.

    Attributes:
        host: address to listen on.
        rest_port: TCP port for REST; 0 picks a free one, None serves no REST.
        grpc_port: TCP port for gRPC, not that of REST; 0 picks a free one, None listens on none.
        grpc_socket: path of a Unix socket for gRPC, in addition to the port, or None.
        grpc_options: further options of gRPC by name, such as `("grpc.max_connection_age_ms",
            2000)`. They take precedence over the limits below.
        tls: certificates for TLS on both interfaces, or None for no TLS.
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
        max_connections: maximum number of open connections of each interface. Further connections
            are closed immediately.
        request_timeout: seconds until a request must be answered, unless the client's own
            deadline is earlier.
        rest_timeout: the same for REST, or None for `request_timeout`.
        read_timeout: seconds within which a client must send a request, within which it must
            read the response, and within which it must complete the handshake of TLS.
        drain_timeout: seconds that requests in flight may take to finish when the server stops.
        intra_op_threads: number of threads that run one operation of a model; 0 means one per core.
        inter_op_threads: number of operations that run concurrently; 0 means one per core.
        poll_interval: seconds between two scans of the model folders; None scans them only once.
        wait_for_models: whether a server whose models have no versions yet waits for them before
            it listens. Otherwise a server without any loadable model is an error.
        max_load_retries: number of further attempts to load a version that could not be loaded.
            When its files change, counting starts again.
        load_retry_interval: seconds between these attempts.
        model_config_file: `ModelServerConfig` in text format, which is read again at intervals of
            `config_poll_interval`; None keeps the models that the server was started with.
        config_poll_interval: seconds between two readings of `model_config_file`; None reads it
            only once.
        allow_reload: whether clients may change the models with `HandleReloadConfigRequest`.
        allow_unavailable_labels: whether a changed configuration may assign a new label to a
            version that is not loaded. It may always do so when the server starts.
        metrics_path: path of the Prometheus metrics on the REST port, or None for no metrics.

    Raises:
        InvalidInputError: a field is out of range.
    """

    host: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = 8500
    grpc_socket: str | None = None
    grpc_options: tuple[tuple[str, int | str], ...] = ()
    tls: TlsConfig | None = None
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
    rest_timeout: float | None = None
    read_timeout: float = 20.0
    drain_timeout: float = 30.0
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    poll_interval: float | None = 1.0
    wait_for_models: bool = False
    max_load_retries: int = 5
    load_retry_interval: float = 60.0
    model_config_file: str | None = None
    config_poll_interval: float | None = None
    allow_reload: bool = True
    allow_unavailable_labels: bool = False
    metrics_path: str | None = METRICS_PATH

    def __post_init__(self) -> None:
        """Validate the fields."""
        self._check_addresses()
        for key in _FLAGS:
            if not isinstance(getattr(self, key), bool):
                raise unexpected(key, "True or False", getattr(self, key))
        limits: dict[str, tuple[int, int | None]] = {
            "max_batch_size": (1, None),
            "batch_threads": (1, None),
            "max_queued_requests": (1, None),
            "max_concurrent_requests": (1, None),
            "max_request_bytes": (1, MAX_REQUEST_BYTES),
            "max_pending_bytes": (self.max_request_bytes, None),
            "max_connections": (1, MAX_CONNECTIONS),
            "intra_op_threads": (0, MAX_THREADS),
            "inter_op_threads": (0, MAX_THREADS),
            "max_load_retries": (0, None),
        }
        for key, (least, most) in limits.items():
            check_count(key, getattr(self, key), least, most)
        for key in ("batch_timeout", "drain_timeout", "load_retry_interval"):
            check_number(key, getattr(self, key), most=_WEEK, unit="seconds")
        for key in ("request_timeout", "read_timeout"):
            check_number(key, getattr(self, key), most=_WEEK, exclusive=True, unit="seconds")
        for key in ("rest_timeout", "poll_interval", "config_poll_interval"):
            if getattr(self, key) is not None:
                check_number(key, getattr(self, key), most=_WEEK, exclusive=True, unit="seconds")
        for key in ("model_config_file", "grpc_socket"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, str) and value):
                raise unexpected(key, "a path", value)
        if self.metrics_path is not None and not (
            isinstance(self.metrics_path, str) and re.fullmatch(r"(/[\w.-]+)+", self.metrics_path)
        ):
            raise unexpected("metrics_path", "a path such as /metrics", self.metrics_path)

    def _check_addresses(self) -> None:
        if not isinstance(self.host, str) or not self.host:
            raise unexpected("host", "an address", self.host)
        ports = (self.rest_port, self.grpc_port)
        for key, port in zip(("rest_port", "grpc_port"), ports, strict=True):
            if port is not None:
                check_count(key, port, 0, 65535)
        if self.rest_port and self.rest_port == self.grpc_port:
            raise unexpected("rest_port, grpc_port", "two different ports", ports)
        if ports == (None, None) and self.grpc_socket is None:
            raise unexpected("rest_port, grpc_port, grpc_socket", "at least one of them", None)
        if self.tls is not None and not isinstance(self.tls, TlsConfig):
            raise unexpected("tls", "a TlsConfig", self.tls)
        for option in self.grpc_options:
            if not (
                isinstance(option, tuple)
                and len(option) == 2
                and isinstance(option[0], str)
                and isinstance(option[1], int | str)
            ):
                raise unexpected("grpc_options", "pairs of a name and a value", option)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: name of the model in requests.
        base_path: folder with one subfolder per version; its name is the version number.
        version_labels: version numbers by label. Requests may name a version by its label;
            labeled versions stay loaded.
        latest: number of latest versions to serve; None serves all.
        versions: the only versions to serve, instead of the latest and the labeled ones.

    Raises:
        InvalidInputError: a field has the wrong type, or a name or version is invalid.
    """

    name: str
    base_path: str | Path
    version_labels: Mapping[str, int] = field(default_factory=dict)
    latest: int | None = 1
    versions: tuple[int, ...] = ()

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
        if self.latest is not None:
            check_count("latest", self.latest, 1)
        if not isinstance(self.versions, tuple):
            raise unexpected("versions", "a tuple of version numbers", self.versions)
        for version in self.versions:
            check_count("versions", version, 0, MAX_VERSION)


def read_tls(key: str, certificate: str, client_ca: str | None = None) -> TlsConfig:
    """Read the certificates for TLS from PEM files.

    Raises:
        InvalidInputError: a file cannot be read, or is empty.
    """
    return TlsConfig(
        key=_read_pem(key),
        certificate=_read_pem(certificate),
        client_ca=None if client_ca is None else _read_pem(client_ca),
    )


def _read_pem(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
        if not content:
            raise ValueError("empty")
        return content
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected a readable PEM file for TLS. Received: {path!r} ({reason})"
        ) from None


def _check_name(key: str, value: object) -> None:
    # A slash or a colon would end the name in a REST path.
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch("[^/:]+", value):
        raise unexpected(key, "a non-empty printable string without / and :", value)
