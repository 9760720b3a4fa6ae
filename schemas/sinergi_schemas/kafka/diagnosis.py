"""Which setting is wrong, by what librdkafka reports of a connection that fails.

librdkafka names its own options, guesses, or reports only that the connection was closed. Each
pattern here comes from librdkafka 2.16 with Kafka 4.3; the tests try every combination of a
client's settings with a listener's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMES = re.compile(
    r" ?\(after \d+ms in state [A-Z0-9_-]+(?:, \d+ identical error\(s\) suppressed)?\)"
)
_BROKER = re.compile(r"^\[thrd:[^]]*\]: ")


class Diagnosis(NamedTuple):
    """What is wrong with which setting under [kafka].

    Attributes:
        is_certain: the broker itself has reported it. Otherwise the broker may also be away.
    """

    setting: str
    what: str
    is_certain: bool


@dataclass(frozen=True, slots=True)
class LoginOrigin:
    """Where the settings of a login stand, so that an error names the table to mend.

    Attributes:
        tables: the table of each setting that does not stand under [kafka], by its name.
        ca_file: the certificates of the authorities that are trusted; None for the machine's.
        certificate: the file of the client's certificate, if one is set.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    certificate: str | None = None

    def refused(self, setting: str, what: str, reported: str) -> errors.LoginRefused:
        """The error for a login that the brokers refuse.

        Args:
            setting: the names of the settings that may be wrong.
            what: what is wrong.
            reported: what the client reports.
        """
        if setting == CERTIFICATE and self.certificate is None:
            what = "the broker requires a client certificate, and none is set"
        return errors.LoginRefused(setting, what, reported, self.where(setting))

    def where(self, setting: str) -> str:
        """The table, or the tables, in which settings stand.

        Args:
            setting: the names of the settings.
        """
        names = (each.strip(",") for each in setting.split() if each not in ("or", "and"))
        tables = dict.fromkeys(self.tables.get(each, "kafka") for each in names)
        return " or ".join(f"[{each}]" for each in tables)


CERTIFICATE = "certificate_file and private_key_file"
"""The setting of a client certificate that the broker refuses."""

ISSUER = "ca_file"
"""The setting of a broker's certificate that this machine refuses."""

_REQUIRED = "the broker requires a client certificate, and "

_PATTERNS = (
    (
        re.compile(r"certificate verify failed"),
        Diagnosis(
            ISSUER,
            "the broker's certificate is not issued by an authority in ca_file, is issued for"
            " another host than bootstrap names, or has expired or is not valid yet by this"
            " machine's clock (compare its period with `date`)",
            is_certain=True,
        ),
    ),
    (
        re.compile(r"alert certificate expired"),
        Diagnosis(
            CERTIFICATE, f"{_REQUIRED}this one has expired by the broker's clock", is_certain=True
        ),
    ),
    (
        re.compile(r"alert certificate revoked"),
        Diagnosis(CERTIFICATE, f"{_REQUIRED}this one was revoked", is_certain=True),
    ),
    (
        re.compile(r"alert unknown ca"),
        Diagnosis(
            CERTIFICATE,
            f"{_REQUIRED}it does not trust the authority that has issued this one",
            is_certain=True,
        ),
    ),
    (
        re.compile(r"alert (certificate (required|unknown)|bad certificate)"),
        Diagnosis(
            CERTIFICATE,
            f"{_REQUIRED}does not accept this one: another authority has issued it, or it is not"
            " valid now by the broker's clock",
            is_certain=True,
        ),
    ),
    (
        re.compile(r"supported mechanisms: *($|\()"),
        Diagnosis("security", "the broker expects no login on this port", is_certain=True),
    ),
    (
        re.compile(r"[Uu]nsupported SASL mechanism"),
        Diagnosis("mechanism", "the broker does not accept this mechanism", is_certain=True),
    ),
    (
        re.compile(r"SASL authentication error|Authentication failed|invalid credentials"),
        Diagnosis(
            "username or password_file",
            "the broker does not know this user, or not with this password",
            is_certain=True,
        ),
    ),
    (
        re.compile(r"PLAINTEXT broker listener|closed by peer.* in state SSL_HANDSHAKE"),
        Diagnosis("security", "the broker seems not to speak TLS on this port", is_certain=False),
    ),
    (
        re.compile(r"Invalid response size"),
        Diagnosis(
            "bootstrap",
            "the server there does not seem to be a Kafka broker",
            is_certain=False,
        ),
    ),
    (
        re.compile(r"closed by peer.* in state APIVERSION_QUERY"),
        Diagnosis(
            "security",
            "the broker closes the connection before it answers, as brokers that require TLS do",
            is_certain=False,
        ),
    ),
    (
        # A connection that a broker closes for another reason was open for longer.
        re.compile(r"closed by peer.*\(after \d{1,3}ms in state UP"),
        Diagnosis(
            "security",
            "the broker closes the connection at the first request, as brokers do that require"
            " a login",
            is_certain=False,
        ),
    ),
)

_OPTIONS = {
    "ssl.ca.location": "ca_file",
    "ssl.certificate.location": "certificate_file",
    "ssl.key.location": "private_key_file",
    "sasl.mechanism": "mechanism",
    "sasl.username": "username",
    "sasl.password": "password_file",
    "security.protocol": "security",
    "bootstrap.servers": "bootstrap",
    "group.protocol": "group_protocol",
}


def diagnose(text: str) -> Diagnosis | None:
    """The setting that is likely wrong; None where the text points to none."""
    return next((found for pattern, found in _PATTERNS if pattern.search(text)), None)


def setting_of(text: str) -> str:
    """The setting under [kafka] whose option librdkafka names."""
    return next((ours for theirs, ours in _OPTIONS.items() if theirs in text), "the settings")


def plain(text: str) -> str:
    """A text of librdkafka without the parts that differ at each attempt."""
    return _TIMES.sub("", _BROKER.sub("", text))
