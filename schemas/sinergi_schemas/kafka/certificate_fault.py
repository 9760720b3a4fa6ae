"""Why a TLS certificate is refused, by a look at the certificate.

librdkafka reports no more than that a certificate was refused. So once it has reported that of a
broker's certificate, OpenSSL's own reason is asked for by one more handshake with the same broker.
Of the client's certificate the period and the issuer are read from its file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.kafka.diagnosis import CERTIFICATE, ISSUER
from sinergi_schemas.plain_text import some

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from sinergi_schemas.kafka.diagnosis import LoginOrigin

_MOST_BYTES = 1024 * 1024  # of a certificate
# The broker has answered a moment ago.
_PROBE_SECONDS = 2.0
_MOST_CHARACTERS = 200  # of a name in a certificate that nobody has verified

_ADDRESS = re.compile(r"ssl://(\[[^]]+\]|[^\s/:]+):(\d{1,5})")

# The results of OpenSSL's verification (X509_V_ERR_*).
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_ISSUERS = frozenset({2, 7, 18, 19, 20, 21})
_OTHER_HOSTS = frozenset({62, 64})


def explained(refused: errors.LoginRefused, origin: LoginOrigin) -> errors.HandshakeRefused:
    """The same error with the one cause, where a look at the certificate tells it."""
    if refused.setting == ISSUER:
        return _of_broker(refused, origin) or refused
    if refused.setting == CERTIFICATE and origin.certificate:
        return _of_client(refused, origin.certificate) or refused
    return refused


def _of_broker(
    refused: errors.LoginRefused, origin: LoginOrigin
) -> errors.BrokerCertificateRefused | None:
    found = _ADDRESS.search(refused.reported)
    if found is None:
        return None
    host, port = found[1].strip("[]"), int(found[2])
    result = _verification(host, port, origin.ca_file)
    if result is None:
        return None
    code, reported = result
    certificate = _certificate_of(host, port)
    if code in _OTHER_ISSUERS:
        issuer = f", {_issuer(certificate)}" if certificate else ""
        whose = "ca_file does not hold" if origin.ca_file else "this machine does not know"
        what = f"{whose} the authority that has issued it{issuer}"
        mend = f"Mend ca_file under {origin.where(ISSUER)} in sinergi.toml"
        remedy = f"{mend}: it has to hold the certificate of that authority"
    elif code in _OTHER_HOSTS:
        names = f" but for {_hosts(certificate)}" if certificate and _hosts(certificate) else ""
        what = f"it is not issued for {host}{names}"
        mend = f"Name the brokers in bootstrap under {origin.where('bootstrap')} in sinergi.toml"
        remedy = f"{mend} as their certificates do, or ask their operator for another certificate"
    elif code in (_EXPIRED, _NOT_YET_VALID):
        what = _when(certificate, is_expired=code == _EXPIRED)
        remedy = "Compare this with `date`; if the clock is right, ask the brokers' operator"
        remedy += " for another certificate"
    else:
        return None
    return errors.BrokerCertificateRefused(f"{found[1]}:{port}", what, reported, remedy)


def _verification(host: str, port: int, ca_file: str | None) -> tuple[int, str] | None:
    """The code and the text of OpenSSL's verdict; None if it finds nothing, or nobody answers."""
    import socket  # noqa: PLC0415 - only for who is refused
    import ssl  # noqa: PLC0415 - as above

    # Without the stricter flags of `create_default_context`, which librdkafka does not set.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs()
        with (
            socket.create_connection((host, port), _PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as why:
        return why.verify_code, why.verify_message
    except (OSError, ValueError):
        return None


def _certificate_of(host: str, port: int) -> x509.Certificate | None:
    """The certificate that a broker shows, unverified."""
    import ssl  # noqa: PLC0415 - as above

    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        shown = ssl.get_server_certificate((host, port), timeout=_PROBE_SECONDS)
        return x509.load_pem_x509_certificate(shown.encode())
    except (OSError, ValueError):
        return None


def certificate_in(file: Path) -> x509.Certificate | None:
    """The certificate in a file; None if it holds none that can be read."""
    from cryptography import x509  # noqa: PLC0415 - only for those who log in by a certificate

    try:
        return x509.load_pem_x509_certificate(read_regular(file, _MOST_BYTES)[1])
    except (OSError, ValueError):
        return None


def _of_client(refused: errors.LoginRefused, path: str) -> errors.LoginRefused | None:
    found = certificate_in(Path(path))
    if found is None:
        return None
    now = SYSTEM.now()
    if found.not_valid_after_utc < now:
        what = f"this one was valid until {_text(found.not_valid_after_utc)}"
    elif found.not_valid_before_utc > now:
        what = f"this one is valid from {_text(found.not_valid_before_utc)} on"
    elif "certificate required" in refused.reported:
        # A client does not send a certificate of an authority that the broker does not name.
        what = f"it does not trust the authority that has issued this one, {_issuer(found)}"
    else:
        return None
    what = f"the broker requires a client certificate, and {what}"
    return errors.LoginRefused(refused.setting, what, refused.reported, refused.where)


def _issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()[:_MOST_CHARACTERS]


def _hosts(certificate: x509.Certificate) -> str:
    """For which hosts a certificate is issued; empty if it names none."""
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return ""
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return some([*names.get_values_for_type(x509.DNSName), *addresses], ", ")[:_MOST_CHARACTERS]


def _when(certificate: x509.Certificate | None, *, is_expired: bool) -> str:
    """When a broker's certificate, or one of the authorities above it, is valid."""
    now = SYSTEM.now()
    if certificate and is_expired and certificate.not_valid_after_utc < now:
        return f"it was valid until {_text(certificate.not_valid_after_utc)}"
    if certificate and not is_expired and certificate.not_valid_before_utc > now:
        return f"it is valid from {_text(certificate.not_valid_before_utc)} on"
    return "a certificate of its authorities is not valid now"


def _text(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
