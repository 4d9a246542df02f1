"""A certificate authority of the tests' own: certificates for servers on this machine, for clients, and for tokens."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["Authority"]


class Authority:
    """``file`` holds its certificate in PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server_files(self, folder: Path, *names: str) -> dict[str, Any]:
        """The files of a certificate for this machine, or for ``names``, as the registry's configuration has them."""
        issued = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost", "::1")))
        certificate, key = folder / "server.pem", folder / "server.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return {"certificate": str(certificate), "key": str(key)}

    def client_files(self, folder: Path) -> tuple[Path, Path]:
        """A client's certificate and its key."""
        issued = self._ca.issue_cert("anna@example.com")
        certificate, key = folder / "client.pem", folder / "client.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    def signing_key(self) -> tuple[bytes, str]:
        """A private key for tokens (PEM), and its certificate as tokens carry it (DER in base64)."""
        issued = self._ca.issue_cert("tokens.example.com", key_type=trustme.KeyType.RSA)
        certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        return issued.private_key_pem.bytes(), base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
