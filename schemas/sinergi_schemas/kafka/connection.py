"""Where the brokers are, who we are to them, and what every client of ours has in common.

librdkafka tells some things only on the side: a wrong password shows in its error callback, while
the call that suffers merely times out. So a connection remembers what its clients were told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sinergi_schemas.kafka.complaints import ClientLog, Complaints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas import errors


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the brokers.

    Attributes:
        bootstrap: `host:port`, several with commas.
        options: librdkafka's own settings for security, as `sasl.password`; never shown.
        group_protocol: how consumer groups are led; `classic` for brokers before Kafka 4.0.
        complaints: what the clients of this connection were told on the side.
    """

    bootstrap: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    group_protocol: Literal["consumer", "classic"] = "consumer"
    complaints: Complaints = field(default_factory=Complaints, repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """What every client is opened with: ours first, so that an option can only add to it."""
        return {
            **self.options,
            "bootstrap.servers": self.bootstrap,
            "client.id": "sinergi",
            "error_cb": self.complaints.hear,
            "logger": ClientLog(),
            "reconnect.backoff.ms": 200,
            "reconnect.backoff.max.ms": 5_000,
        }

    def login_refusal(self) -> errors.LoginRefused | None:
        """Why the brokers do not let us in, where they have said so: ask when a call timed out."""
        return self.complaints.login
