"""How a host proves who it is, and how we do: TLS contexts made of what a person and ``certs.d`` say.

Own certificate authorities are trusted beside those of the system, as Docker does it. A certificate in the trusted set
is enough whether or not it is a root, and the stricter reading of RFC 5280 that newer versions of Python ask for is not
used: the authorities that people make at home do not follow it, and the answer must not depend on the interpreter.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import NotFoundError, UsageError

__all__ = ["ClientCertificate", "TlsSettings", "make_context"]


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate, with its key in the same or in another file (PEM)."""

    certificate: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What is trusted beside the system's authorities, what we show, and whether certificates are looked at at all."""

    ca_files: tuple[Path, ...] = ()
    client: ClientCertificate | None = None
    verify: bool = True


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for connections to a host; NotFoundError and UsageError for files that are missing or no use."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    for path in settings.ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            raise _bad_file(error, path, "certificates to trust") from None
    if settings.client is not None:
        path = settings.client.certificate
        try:
            # An empty password, for otherwise OpenSSL would ask at the terminal.
            context.load_cert_chain(path, settings.client.key, password="")
        except OSError as error:
            raise _bad_file(error, path, "client certificate and key") from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _bad_file(error: OSError, path: Path, what: str) -> NotFoundError | UsageError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"no such file: {path}, or the key that belongs to it ({what})")
    reason = getattr(error, "reason", None) or error.strerror or "not readable"
    return UsageError(f"{path}: no {what} in PEM form: {reason}", hint="an encrypted key must be decrypted first")
