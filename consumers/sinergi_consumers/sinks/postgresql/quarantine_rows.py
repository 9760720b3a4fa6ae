"""The statements on quarantine within a transaction of the sink for PostgreSQL.

Key and datum of an event are stored once for all projections, up to the quota of the topic's owner.
Beyond the quota, or if an event is larger than the contract allows, only the rows are stored; the
bytes are still in the topic.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from sinergi_schemas.limits import MOST_DATUM_BYTES
from sinergi_schemas.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.sinks.postgresql.merge import Merge
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey
    from sinergi_schemas.topics import TopicPartition

LOCK_POSITION = (
    "SELECT tree_size FROM sinergi_consumer.position"
    " WHERE projection = %s AND topic = %s AND partition = %s FOR UPDATE"
)
REFUSED = """projection, topic, partition, leaf_index,
        event_id, revision, reason, detail, fingerprint, key_hash, leaf_hash, size"""
REFUSED_VALUES = """
    SELECT %s, %s, %s, * FROM unnest(%s::bigint[], %s::uuid[], %s::integer[], %s::text[],
        %s::text[], %s::bytea[], %s::bytea[], %s::bytea[], %s::integer[])
"""
_KEPT_ONCE = """
    ON CONFLICT (projection, topic, partition, leaf_index) DO UPDATE
    SET revision = excluded.revision, reason = excluded.reason, detail = excluded.detail,
        state = CASE held.state WHEN 'retried' THEN 'open' ELSE held.state END
"""


def storing(refused: str) -> str:
    """The statement that stores refused events.

    Args:
        refused: the query for their rows, with the columns of `REFUSED`.
    """
    into = f"INSERT INTO sinergi_consumer.quarantine AS held ({REFUSED})"
    return f"{into} {refused} {_KEPT_ONCE}"


_STORE = storing(REFUSED_VALUES)
# A discarded event stays discarded if a projection is reset and reads it again.
_STORE_DATUM = """
    INSERT INTO sinergi_consumer.quarantined_datum (topic, partition, leaf_index, key, datum)
    SELECT topic, partition, leaf_index, %s, %s FROM sinergi_consumer.quarantine
    WHERE topic = %s AND partition = %s AND leaf_index = %s AND state IN ('open', 'superseded')
    LIMIT 1 ON CONFLICT (topic, partition, leaf_index) DO NOTHING
"""
_STORED = """
    SELECT leaf_index FROM sinergi_consumer.quarantined_datum
    WHERE topic = %s AND partition = %s AND leaf_index = ANY(%s)
"""
_USED = "SELECT coalesce(sum(size), 0) FROM sinergi_consumer.quarantined_datum WHERE owner = %s"
_MESSAGES = """
    SELECT leaf_index, fingerprint, d.key, d.datum
    FROM sinergi_consumer.quarantine AS q
    LEFT JOIN sinergi_consumer.quarantined_datum AS d USING (topic, partition, leaf_index)
    WHERE projection = %s AND topic = %s AND partition = %s AND leaf_index = ANY(%s)
        AND leaf_index < %s AND state <> 'retried' ORDER BY leaf_index FOR UPDATE OF q
"""
_RETRIED = """
    UPDATE sinergi_consumer.quarantine SET state = 'retried'
    WHERE projection = %s AND topic = %s AND partition = %s AND leaf_index = %s
"""
_DECIDED = """
    INSERT INTO sinergi_consumer.decision (projection, topic, partition, leaf_index,
        action, outcome, decided_by, why) VALUES (%s, %s, %s, %s, 'retry', %s, %s, %s)
"""


_ROW_BYTES = 200  # the same number as in the generated column `size`


class QuarantineRows:
    """Quarantine in one transaction; see `sinergi_consumers.sinks.protocol.Transaction`.

    The used bytes are summed once per transaction and owner, and only for a refused event. Workers
    do not wait for each other, so workers that quarantine events of one owner at the same time may
    exceed the quota by a batch each.

    Args:
        connection: in a transaction.
        quota: the bytes that each owner may use; see `quarantined_datum.size`.
    """

    def __init__(self, connection: psycopg.Connection, quota: int) -> None:
        self._connection = connection
        self._quota = quota
        self._unused: dict[str, int] = {}

    def store(self, merge: Merge, tp: TopicPartition, refused: Sequence[RefusedEvent]) -> None:
        """Store events that could not become rows of a projection, or update their rows."""
        name = merge.projection.name
        found = {each.message.leaf_index: each for each in refused}
        columns = [*zip(*map(refused_columns, found.values()), strict=True)]
        self._connection.execute(_STORE, [name, *tp, *map(list, columns)])
        kept = {at: each.message for at, each in found.items() if each.may_keep}
        self._store_datums(tp, kept)
        records = {_record_id(each.message.key) for each in found.values()} - {None}
        self._connection.execute(merge.supersede, [tp.event_topic.agency, [*records], *tp])

    def _store_datums(self, tp: TopicPartition, found: Mapping[int, Message]) -> None:
        """Store key and datum within the quota, unless another projection has stored them."""
        owner = tp.event_topic.agency
        small = {at: each for at, each in found.items() if _is_small(each)}
        stored = {at for (at,) in self._connection.execute(_STORED, (*tp, list(small)))}
        chosen = []
        for at in sorted(small.keys() - stored):
            key, datum = small[at].key, small[at].datum
            size = len(key) + len(datum) + _ROW_BYTES
            if size <= self._unused_bytes(owner):
                self._unused[owner] = self._unused_bytes(owner) - size
                chosen.append((key, datum, *tp, at))
        with self._connection.cursor() as cursor:
            cursor.executemany(_STORE_DATUM, chosen)

    def _unused_bytes(self, owner: str) -> int:
        """The unused bytes of the quota of an owner."""
        if owner not in self._unused:
            ((used,),) = self._connection.execute(_USED, [owner]).fetchall()
            self._unused[owner] = self._quota - int(used)
        return self._unused[owner]

    def messages(
        self, projection: str, tp: TopicPartition, leaves: Sequence[int]
    ) -> dict[int, Message | None]:
        """The events in quarantine with these leaf indexes, below the position and not retried."""
        where = (projection, *tp)
        position = self._connection.execute(LOCK_POSITION, where).fetchone()
        if position is None:
            return {}
        rows = self._connection.execute(_MESSAGES, (*where, list(leaves), *position))
        return {
            index: None if key is None else Message.of_leaf(index, fingerprint, key, datum)
            for index, fingerprint, key, datum in rows
        }

    def mark_retried(self, entries: Sequence[QuarantineKey]) -> None:
        """Mark entries as retried, because they have become rows."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_RETRIED, [each.columns for each in entries])

    def record_decisions(
        self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision
    ) -> None:
        """Store who retried these entries, why, and the results."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _DECIDED,
                [
                    (*entry.columns, outcome, decision.by, decision.why)
                    for entry, outcome in outcomes
                ],
            )


def refused_columns(refused: RefusedEvent) -> tuple[object, ...]:
    """The columns of a row that differ between the events of a partition, as in `REFUSED`."""
    message = refused.message
    return (
        message.leaf_index,
        _uuid(message.event_id),
        refused.revision,
        refused.reason,
        refused.detail,
        message.fingerprint,
        sha256(message.key).digest(),
        message.leaf,
        len(message.key) + len(message.datum),
    )


def _is_small(message: Message) -> bool:
    """Whether it is within the contract's limit. A larger message can never become an event."""
    return max(len(message.key), len(message.datum)) <= MOST_DATUM_BYTES


def _uuid(text: bytes | None) -> UUID | None:
    """The event id in a header, or None if it is not a UUID."""
    try:
        return UUID((text or b"").decode("ascii"))
    except ValueError:
        return None


def _record_id(key: bytes) -> str | None:
    """The record id in a key, or None if no table can store it."""
    try:
        found = key.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in found else found
