"""Receipts: a database's signed statements of what it has materialised.

A receipt is the owner's checkpoint with a cosignature (C2SP tlog-cosignature) under the database's
own key. It is signed in the transaction that writes its rows, and published after the commit. So
the topic may lack the newest receipts for a while, but never holds one whose rows are missing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from sinergi_schemas import topics
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.compacted_topic import CompactedTopic
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_consumers.sinks.protocol import Receipt
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.compacted_topic import KeyedValue

_MOST_AWAITED = 100


class Receipts:
    """Publishes receipts to `sinergi.<agency>.receipts` and returns those that are confirmed.

    A receipt that the broker does not take is published again later. A later receipt of the same
    topic-partition replaces an earlier one.

    Args:
        stalled_seconds: see `CompactedTopic`.
    """

    def __init__(
        self,
        agency: str,
        database: str,
        connection: Connection,
        clock: Clock = SYSTEM,
        stalled_seconds: float = DEFAULT.materialiser.report,
    ) -> None:
        self._database = database
        self._topic = CompactedTopic(
            connection, topics.receipts_topic(agency), clock, stalled_seconds
        )
        self._sent: dict[bytes, deque[Receipt]] = defaultdict(lambda: deque(maxlen=_MOST_AWAITED))

    def send(self, receipts: Iterable[Receipt]) -> None:
        """Publish receipts; `confirmed` returns them once the broker has them."""
        for each in receipts:
            key = f"{self._database}/{each.topic}/{each.partition}".encode()
            self._sent[key].append(each)
            self._topic.put(key, each.note.encode())

    def confirmed(self) -> list[Receipt]:
        """The receipts that the broker has confirmed since the last call."""
        return self._receipts_of(self._topic.serve())

    def finish(self, seconds: float) -> list[Receipt]:
        """Wait for outstanding receipts, at most `seconds`; those that the broker has confirmed."""
        return self._receipts_of(self._topic.finish(seconds))

    def _receipts_of(self, records: Iterable[KeyedValue]) -> list[Receipt]:
        """The receipts whose values are confirmed. Older ones of the same keys are dropped."""
        confirmed = []
        for key, value in records:
            sent = self._sent[key]
            if any(each.note.encode() == value for each in sent):
                while (receipt := sent.popleft()).note.encode() != value:
                    pass
                confirmed.append(receipt)
        return confirmed
