"""Where the brokers are, how we log in there, and the settings that all of our clients share.

librdkafka reports some errors only outside of any call: a wrong password is reported to its error
callback, while the call that needs it only times out. So a connection keeps what its clients
reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sinergi_schemas import errors
from sinergi_schemas.kafka.certificate_fault import certificate_in
from sinergi_schemas.kafka.client_errors import ClientErrors, ClientLog
from sinergi_schemas.kafka.diagnosis import LoginOrigin
from sinergi_schemas.timeouts import DEFAULT, KafkaTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLIENT_ID = "sinergi"
"""The client id of all our clients."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a client tries to do, so that an error can name the right that is missing.

    Attributes:
        principal: who tries it, as Kafka's ACLs name them.
        operation: what is tried, as Kafka's ACLs name it: Read, Write, Describe, Create, …
    """

    principal: str
    operation: str
    topics: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the brokers.

    Attributes:
        bootstrap: `host:port`, several with commas.
        options: librdkafka's own settings for security, as `sasl.password`; never shown.
        group_protocol: the protocol of consumer groups; `classic` for brokers before Kafka 4.0.
        timeouts: how long its clients wait.
        client_errors: what the clients of this connection reported outside of any call.
        tables: the table of each setting of the login that does not stand under [kafka].
    """

    bootstrap: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    group_protocol: Literal["consumer", "classic"] = "consumer"
    timeouts: KafkaTimeouts = DEFAULT.kafka
    client_errors: ClientErrors = field(default_factory=ClientErrors, repr=False, compare=False)
    tables: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let the errors of its clients name the settings of this login."""
        self.client_errors.origin = self._origin

    def settings(self) -> dict[str, Any]:
        """The settings of every client. An option can add to ours, and not replace them."""
        return {
            **self.options,
            "bootstrap.servers": self.bootstrap,
            "client.id": CLIENT_ID,
            "error_cb": self.client_errors.observe,
            "logger": ClientLog(self.client_errors),
            "reconnect.backoff.ms": 200,
            "reconnect.backoff.max.ms": 5_000,
        }

    @property
    def principal(self) -> str:
        """Who we are to the brokers, as their ACLs name us."""
        if self.options.get("security.protocol", "").lower().startswith("sasl"):
            return f"User:{self.options.get('sasl.username', '')}"
        certificate = self.options.get("ssl.certificate.location")
        return f"User:{_subject(Path(certificate))}" if certificate else "User:ANONYMOUS"

    @property
    def exposed_brokers(self) -> list[str]:
        """The brokers on other machines to which events and passwords would go unencrypted."""
        protocol = self.options.get("security.protocol", "plaintext").lower()
        if protocol.endswith("ssl"):
            return []
        return [each for each in self.bootstrap.split(",") if not _is_this_machine(each.strip())]

    def attempt(
        self, operation: str, topics: Iterable[str] = (), group: str | None = None
    ) -> Attempt:
        """Something that a client of this connection tries to do."""
        return Attempt(self.principal, operation, tuple(sorted(topics)), group)

    def away(self, what: str) -> errors.HandshakeRefused | errors.BrokerAway:
        """The error for a call that got no answer.

        Args:
            what: what the call reports, for where the client has reported no better cause.
        """
        refusal = self.client_errors.refusal()
        return refusal or errors.BrokerAway(self.client_errors.hint or what)

    def cause(self, found: errors.SinergiError) -> errors.SinergiError:
        """An error of a call; where it got no answer, the cause that the clients reported."""
        if isinstance(found, errors.LoginRefused):
            refused = self._origin.refused(found.setting, found.what, found.reported)
            return self.client_errors.explained(refused)
        if isinstance(found, errors.KafkaSettingsRefused):
            where = self._origin.where(found.setting)
            return errors.KafkaSettingsRefused(found.reported, found.setting, where)
        if isinstance(found, errors.BrokersChanging):
            return self.client_errors.refusal() or found
        if isinstance(found, errors.BrokerAway) and not isinstance(found, errors.TopicNotKnown):
            return self.away(found.reported)
        return found

    @property
    def _origin(self) -> LoginOrigin:
        ca_file = self.options.get("ssl.ca.location")
        return LoginOrigin(self.tables, ca_file, self.options.get("ssl.certificate.location"))


def _is_this_machine(broker: str) -> bool:
    """Whether `host:port` is this machine by its address or its usual name."""
    host = broker.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _subject(certificate: Path) -> str:
    """The subject of a client's certificate, which Kafka uses as the principal."""
    found = certificate_in(certificate)
    if found is None:
        return f"<the subject of {certificate}>"
    return found.subject.rfc4514_string()
