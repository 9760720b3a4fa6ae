"""Kafka clients, with every setting said once.

librdkafka's defaults are those of a log shipper: they lose, reorder or skip where that is
convenient. What is set here is what exactness needs; nothing else sets a client up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Connection:
    """How a cluster is reached.

    Attributes:
        bootstrap: `host:port`, several joined by commas.
        security: further librdkafka settings of transport and identity, e.g. `security.protocol`.
    """

    bootstrap: str
    security: Mapping[str, str] = field(default_factory=dict, repr=False)

    def settings(self, client: str) -> dict[str, str | int | float | bool]:
        """The settings that every client shares; `client` is its name in the broker's log."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": client,
            "broker.address.family": "v4" if self.bootstrap.startswith("127.") else "any",
            **self.security,
        }
