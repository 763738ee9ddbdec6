"""TLS on both interfaces, from certificates in memory."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import grpc

from rwgen.errors import InvalidInputError
from rwgen.serving.config import TlsConfig


def server_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return the context for REST.

    Raises:
        InvalidInputError: the certificates are invalid, or the key is that of another one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Python loads the pair only from files.
    with tempfile.TemporaryDirectory(prefix="rwgen-tls-") as folder:
        paths = {name: Path(folder) / f"{name}.pem" for name in ("key", "certificate")}
        for name, path in paths.items():
            path.touch(mode=0o600)
            path.write_bytes(getattr(tls, name))
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(paths["certificate"], paths["key"], password="")
        except (OSError, ValueError) as error:
            raise _invalid("a private key and its certificate", error) from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(cadata=tls.client_ca.decode())
        except (OSError, ValueError) as error:
            raise _invalid("certificates of authorities for clients", error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def server_credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    """Return the credentials for gRPC, which checks them when it listens."""
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], tls.client_ca, tls.client_ca is not None
    )


def _invalid(expected: str, error: Exception) -> InvalidInputError:
    reason = getattr(error, "reason", None) or type(error).__name__
    return InvalidInputError(
        f"expected {expected} for TLS, in PEM format. Received: other text ({reason})"
    )
