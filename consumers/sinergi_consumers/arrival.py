"""What a worker has received from the brokers in one poll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Message

    from sinergi_consumers.assignment import Share
    from sinergi_schemas.kafka.unreadable import Unreadable


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part of what has arrived.

    Attributes:
        messages: those of each share, in the order of its topic.
        ended: the shares of which nothing more lies on the broker behind these messages.
        gone: the shares whose next offset the broker no longer has.
        unreadable: batches of these shares that were passed over.
    """

    messages: dict[Share, list[Message]]
    ended: set[Share]
    gone: set[Share]
    unreadable: list[tuple[Share, Unreadable]]
