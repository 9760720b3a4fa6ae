"""Which setting is wrong, by what librdkafka reports of a connection that fails.

librdkafka names its own options, guesses, or reports only that the connection was closed. Each
pattern here comes from librdkafka 2.16 with Kafka 4.3; the tests try every combination of a
client's settings with a listener's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TIMES = re.compile(r" ?\(after \d+ms in state [A-Z0-9_-]+\)")
_BROKER = re.compile(r"^\[thrd:[^]]*\]: ")


class Diagnosis(NamedTuple):
    """What is wrong with which setting under [kafka].

    Attributes:
        is_certain: the broker itself has reported it. Otherwise the broker may also be away.
    """

    setting: str
    what: str
    is_certain: bool


_PATTERNS = (
    (
        re.compile(r"certificate verify failed"),
        Diagnosis(
            "ca_file",
            "the broker's certificate is not issued by an authority in ca_file, or is issued for"
            " another host than bootstrap names",
            is_certain=True,
        ),
    ),
    (
        re.compile(r"alert (certificate required|bad certificate|unknown ca|certificate unknown)"),
        Diagnosis(
            "certificate_file and private_key_file",
            "the broker requires a client certificate, and does not accept this one",
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
