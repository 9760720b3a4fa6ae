"""Writes the control topic: an agency's schemas, and its signed heads.

Heads state how many leaves of each tree the broker has confirmed. A topic that shows fewer has lost
some. Heads that are no longer renewed show that the relay has stopped, and not that there are no
events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas import topics
from sinergi_schemas.kafka.compacted_topic import CompactedTopic
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sinergi_producers.relay.sealing import TreeKey
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier

# No setting, like the time between heads: readers on the whole bus count on it.
_SCHEMAS_SECONDS = 3_600.0
_WAIT_SECONDS = 5.0
_HEADS = b"heads"


class ControlTopic:
    """Writes the control topic of one agency. A value that is not confirmed is written again."""

    def __init__(
        self,
        connection: Connection,
        bus: str,
        agency: str,
        keys: Sequence[SigningKey],
        ring: Callable[[Topic, int], KeyRing],
        clock: Clock,
    ) -> None:
        self._topic = CompactedTopic(
            connection, topics.control_topic(agency), clock, connection.timeouts.report
        )
        self._clock = clock
        self._bus = bus
        self._agency = agency
        self._keys = keys
        self._ring = ring
        self._due = 0.0
        self._schemas: tuple[Schema, ...] = ()
        self._schemas_due = 0.0

    def publish_schemas(self, schemas: Iterable[Schema]) -> None:
        """Write the schemas that events may have."""
        self._schemas = tuple(schemas)
        self._schemas_due = self._clock.monotonic() + _SCHEMAS_SECONDS
        for each in self._schemas:
            self._topic.put(topics.schema_key(each.fingerprint), each.text)
        self._topic.serve()

    def wait_for_schemas(self) -> None:
        """Wait until the schemas are written, for a few seconds at most.

        A reader that does not have the schema of an event looks for it once the event has arrived.
        """
        self._topic.wait_until_written(_WAIT_SECONDS)

    def publish_heads(self, trees: Mapping[TreeKey, Frontier]) -> None:
        """Write all heads in one signed note.

        While a key is being replaced both keys sign, each for the trees that it must or may sign.
        If no agreement covers any of the trees, no key signs, and nothing is written.

        Args:
            trees: each tree as far as the broker has confirmed it.
        """
        stated = tuple(
            TreeHead(Topic(self._agency, name).name, number, tree.size, tree.root())
            for (name, number), tree in sorted(trees.items())
        )
        now = int(self._clock.now().timestamp())
        signers = self._signers(trees)
        if signers:
            note = heads.sign(SignedHeads(self._bus, self._agency, now, stated), signers)
            self._topic.put(_HEADS, note.encode())
            self._topic.serve()
        self._due = self._clock.monotonic() + heads.RENEWED_SECONDS

    def _signers(self, trees: Mapping[TreeKey, Frontier]) -> list[SigningKey]:
        signing = [
            key
            for (name, number), tree in sorted(trees.items())
            for key in self._ring(Topic(self._agency, name), number).allowed_signers(
                tree.size, self._keys
            )
        ]
        return list(dict.fromkeys(signing))

    def publish_if_due(self, trees: Mapping[TreeKey, Frontier]) -> None:
        """Receive delivery reports, and write the heads again when they are a minute old.

        The schemas are written again each hour: others who may write there could have written other
        values under their keys, and a compacted topic keeps only the last value of each.
        """
        self._topic.serve()
        now = self._clock.monotonic()
        if now >= self._schemas_due:
            self.publish_schemas(self._schemas)
        if now >= self._due:
            self.publish_heads(trees)

    def finish(self, seconds: float = DEFAULT.relay.stop) -> None:
        """Wait until everything is written, at most `seconds`.

        The next leader writes what is left as soon as it leads.
        """
        self._topic.finish(seconds)
