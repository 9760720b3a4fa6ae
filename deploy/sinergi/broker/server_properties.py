"""The settings of one broker of three, as Kafka's `server.properties` with the reasons.

python -m sinergi.broker.server_properties > deploy/broker/server.properties
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from sinergi.broker.settings import ACCESS, KEEPING, BrokerSetting, bus_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BROKERS = 3
_WIDTH = 100
_HEAD = """\
# A broker of a bus of three, each of which is a controller too (KRaft). Made by
# `python -m sinergi.broker.server_properties`; the last part differs from broker to broker.
"""

_ROLES = (
    BrokerSetting(
        "process.roles",
        "broker,controller",
        "Three machines suffice: each is a broker and one of three controllers.",
    ),
    BrokerSetting(
        "controller.quorum.voters",
        ",".join(f"{each}@broker-{each}.example:9090" for each in range(1, _BROKERS + 1)),
        "The controllers, by their node.id. Two of three must run.",
    ),
    BrokerSetting(
        "controller.listener.names", "CONTROLLER", "Controllers and brokers meet here (port 9090)."
    ),
    BrokerSetting(
        "inter.broker.listener.name",
        "OPERATOR",
        "Brokers copy partitions over the listener of certificates (port 9091).",
    ),
    BrokerSetting(
        "listener.security.protocol.map",
        "CONTROLLER:SSL,OPERATOR:SSL,AGENCY:SASL_SSL,CERTIFICATE:SSL",
        "Everything is encrypted. Agencies and auditors log in at AGENCY with a password, or at"
        " CERTIFICATE with a certificate. Let the firewall keep them from the first two.",
    ),
    BrokerSetting(
        "listener.name.certificate.ssl.client.auth",
        "required",
        "Its subject is the principal that the agreement names.",
    ),
    BrokerSetting(
        "super.users",
        ";".join(f"User:CN={each}" for each in ("broker-1", "broker-2", "broker-3", "operator")),
        "The brokers themselves, and whoever runs `sinergi provision`. No certificate with one of"
        " these subjects may be issued to anybody else.",
    ),
    BrokerSetting("ssl.keystore.type", "PEM", "Certificates are the files that OpenSSL writes."),
    BrokerSetting("ssl.truststore.type", "PEM", "As above."),
    BrokerSetting(
        "ssl.truststore.location",
        "/etc/kafka/tls/ca.pem",
        "The authority that issues the certificates of brokers, operator and agencies. Make one"
        " for the bus: whoever it certifies is let in.",
    ),
    BrokerSetting(
        "ssl.keystore.location",
        "/etc/kafka/tls/broker.pem",
        "This broker's private key, PKCS 8 and not encrypted, and then its certificate.",
    ),
)

_OWN = (
    BrokerSetting("node.id", "1", "The number of this broker; it never changes."),
    BrokerSetting(
        "listeners",
        "CONTROLLER://:9090,OPERATOR://:9091,AGENCY://:9093,CERTIFICATE://:9094",
        "The ports, on all addresses of the machine.",
    ),
    BrokerSetting(
        "advertised.listeners",
        ",".join(
            f"{name}://broker-1.example:{port}"
            for name, port in (("OPERATOR", 9091), ("AGENCY", 9093), ("CERTIFICATE", 9094))
        ),
        "The names by which clients reach this broker. Its certificate must hold them.",
    ),
    BrokerSetting(
        "log.dirs", "/var/lib/kafka/data", "The disk with the events. Their amount only grows."
    ),
)


def server_properties() -> str:
    """The text of the file."""
    parts = {
        "Of every bus": (*bus_settings(_BROKERS), *KEEPING),
        "Roles, listeners and certificates": _ROLES,
        "Logins and rights": ACCESS,
        "Of this broker": _OWN,
    }
    return "\n".join([_HEAD, *(_part(title, part) for title, part in parts.items())])


def _part(title: str, settings: Iterable[BrokerSetting]) -> str:
    return "\n".join([f"## {title}\n", *(_lines(settings))])


def _lines(settings: Iterable[BrokerSetting]) -> Iterator[str]:
    for each in settings:
        why = textwrap.fill(
            each.why,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield f"{why}\n{each.name}={each.value}\n"


if __name__ == "__main__":
    sys.stdout.write(server_properties())
