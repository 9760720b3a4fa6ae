"""Certificates for one folder of local services, and the authority that has issued them.

    ca.pem                        the authority's certificate, which clients trust
    broker.pem                    key and certificate of the broker, in one file as Kafka takes it
    operator.key, operator.pem    key and certificate with which the operator logs in

The authority's private key is not kept: it issues these two, once. Keys are on the curve P-256
(NIST SP 800-186), which Java and OpenSSL both have.
"""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sinergi.local.errors import LocalFolderRefused
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

BROKER, OPERATOR = "broker", "operator"
CA_FILE, BROKER_FILE = "ca.pem", "broker.pem"
OPERATOR_KEY, OPERATOR_FILE = "operator.key", "operator.pem"
_FILES = (CA_FILE, BROKER_FILE, OPERATOR_KEY, OPERATOR_FILE)
_EVERYBODY, _OWNER = 0o644, 0o600
# A folder of local services may be used for years, and clocks may differ by a day.
_VALID, _BEFORE = timedelta(days=3_650), timedelta(days=1)


def ensure_certificates(folder: Path) -> None:
    """Make the certificates of a folder, unless they are all there.

    Raises:
        LocalFolderRefused: they cannot be written.
    """
    if all((folder / name).is_file() for name in _FILES):
        return
    new = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        for name, (content, mode) in _made().items():
            _write(new / name, content, mode)
        shutil.rmtree(folder, ignore_errors=True)  # certificates of two authorities do not match
        new.replace(folder)
    except OSError as why:
        raise LocalFolderRefused(str(folder), str(why.strerror)) from None


def _made() -> dict[str, tuple[bytes, int]]:
    """The content and the mode of each file."""
    authority = LocalAuthority()
    broker_key, broker = authority.issue(BROKER)
    operator_key, operator = authority.issue(OPERATOR)
    return {
        CA_FILE: (certificate_pem(authority.certificate), _EVERYBODY),
        BROKER_FILE: (key_pem(broker_key) + certificate_pem(broker), _OWNER),
        OPERATOR_KEY: (key_pem(operator_key), _OWNER),
        OPERATOR_FILE: (certificate_pem(operator), _EVERYBODY),
    }


class LocalAuthority:
    """A certificate authority that exists only while certificates are made.

    Attributes:
        certificate: its own, which whoever trusts it needs.
    """

    def __init__(self, name: str = "sinergi local") -> None:
        self._key = _new_key()
        self._name = _name(name)
        self.certificate = self._sign(self._name, self._key, is_authority=True)

    def issue(self, name: str, host: str = "") -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
        """A new key and its certificate, valid for a host, or for 127.0.0.1 if none is named."""
        key = _new_key()
        return key, self._sign(_name(name), key, host, is_authority=False)

    def _sign(
        self, name: x509.Name, key: EllipticCurvePrivateKey, host: str = "", *, is_authority: bool
    ) -> x509.Certificate:
        from cryptography import x509  # noqa: PLC0415 - heavy: only where certificates are made
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above

        now = SYSTEM.now()
        address = x509.DNSName(host) if host else x509.IPAddress(ip_address("127.0.0.1"))
        constraints = x509.BasicConstraints(ca=is_authority, path_length=None)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _VALID)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, SHA256())
        )


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def key_pem(key: EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM, unencrypted (PKCS 8)."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as above

    return certificate.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
