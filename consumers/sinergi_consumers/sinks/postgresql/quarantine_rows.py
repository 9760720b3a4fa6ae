"""The statements on quarantine within a transaction of the sink of PostgreSQL.

Key and datum are kept once an event, in the room that the owner of its topic has. Beyond it, and
where an event is larger than the contract allows, only the rows are kept: the topic has the bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from sinergi_schemas.limits import MOST_DATUM_BYTES
from sinergi_schemas.message import Message
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from sinergi_consumers.decode.decoder import Unfit
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_consumers.sinks.postgresql.merge import Merge
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey

HOLD_POSITION = (
    "SELECT tree_size FROM sinergi_consumer.position"
    " WHERE projection = %s AND topic = %s AND partition = %s FOR UPDATE"
)
_KEEP = """
    INSERT INTO sinergi_consumer.quarantine AS held (projection, topic, partition, leaf_index,
        event_id, revision, reason, detail, fingerprint, key_hash, leaf_hash, size)
    SELECT %s, %s, %s, * FROM unnest(%s::bigint[], %s::uuid[], %s::integer[], %s::text[],
        %s::text[], %s::bytea[], %s::bytea[], %s::bytea[], %s::integer[])
    ON CONFLICT (projection, topic, partition, leaf_index) DO UPDATE
    SET revision = excluded.revision, reason = excluded.reason, detail = excluded.detail,
        state = CASE held.state WHEN 'retried' THEN 'open' ELSE held.state END
"""
# What was discarded stays so when a projection that was set back meets it again.
_KEEP_DATUM = """
    INSERT INTO sinergi_consumer.quarantined_datum (topic, partition, leaf_index, key, datum)
    SELECT topic, partition, leaf_index, %s, %s FROM sinergi_consumer.quarantine
    WHERE topic = %s AND partition = %s AND leaf_index = %s AND state IN ('open', 'superseded')
    LIMIT 1 ON CONFLICT (topic, partition, leaf_index) DO NOTHING
"""
_KEPT = """
    SELECT leaf_index FROM sinergi_consumer.quarantined_datum
    WHERE topic = %s AND partition = %s AND leaf_index = ANY(%s)
"""
_TAKEN = "SELECT coalesce(sum(size), 0) FROM sinergi_consumer.quarantined_datum WHERE owner = %s"
_HELD = """
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


_ROW_BYTES = 200  # as in the column `size`


class QuarantineRows:
    """Quarantine in one transaction; see `sinergi_consumers.sinks.protocol.Transaction`.

    The room that is left is summed up once a transaction, and only where something is unfit.
    Workers do not wait for one another: of several that set events of one owner apart at the same
    time each may use what the others use too, so that a quota is overshot by a batch each.

    Args:
        quota: the bytes that each owner may have here; see `quarantined_datum.size`.
    """

    def __init__(self, connection: psycopg.Connection, quota: int) -> None:
        self._connection = connection
        self._quota = quota
        self._room: int | None = None

    def keep(self, merge: Merge, leaves: Leaves, unfit: Sequence[Unfit]) -> None:
        """Keep what could not become rows of a projection; again, where it is kept already."""
        name, tp = merge.projection.name, TopicPartition(leaves.topic.name, leaves.partition)
        found = {each.message.leaf_index: each for each in unfit}
        columns = [*zip(*map(_columns, found.values()), strict=True)]
        self._connection.execute(_KEEP, [name, *tp, *map(list, columns)])
        self._keep_datums(tp, {at: each.message for at, each in found.items()})
        records = {_record_id(each.message.key) for each in found.values()} - {None}
        self._connection.execute(merge.supersede, [leaves.topic.agency, [*records], *tp])

    def _keep_datums(self, tp: TopicPartition, found: Mapping[int, Message]) -> None:
        """Keep what there is room for, and is not kept for another projection already."""
        owner = tp.event_topic.agency
        small = {at: each for at, each in found.items() if _is_small(each)}
        kept = {at for (at,) in self._connection.execute(_KEPT, (*tp, list(small)))}
        chosen = []
        for at in sorted(small.keys() - kept):
            key, datum = small[at].key, small[at].datum
            size = len(key) + len(datum) + _ROW_BYTES
            if size <= self._left(owner):
                self._room = self._left(owner) - size
                chosen.append((key, datum, *tp, at))
        with self._connection.cursor() as cursor:
            cursor.executemany(_KEEP_DATUM, chosen)

    def _left(self, owner: str) -> int:
        """The room of the one owner whose events this transaction is about."""
        if self._room is None:
            ((taken,),) = self._connection.execute(_TAKEN, [owner]).fetchall()
            self._room = self._quota - int(taken)
        return self._room

    def held(
        self, projection: str, tp: TopicPartition, leaves: Sequence[int]
    ) -> dict[int, Message | None]:
        """What quarantine holds at some leaves, below the position and not through by now."""
        where = (projection, *tp)
        reached = self._connection.execute(HOLD_POSITION, where).fetchone()
        if reached is None:
            return {}
        rows = self._connection.execute(_HELD, (*where, list(leaves), *reached))
        return {
            index: None if key is None else Message(0, index, fingerprint, key, datum, None)
            for index, fingerprint, key, datum in rows
        }

    def retried(self, entries: Sequence[QuarantineKey]) -> None:
        """State that these are no longer in quarantine: they went through."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_RETRIED, [each.columns for each in entries])

    def decided(self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision) -> None:
        """Keep who tried these once more, why, and what came of it."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _DECIDED,
                [
                    (*entry.columns, outcome, decision.by, decision.why)
                    for entry, outcome in outcomes
                ],
            )


def _columns(unfit: Unfit) -> tuple[object, ...]:
    """The part of a row that differs from event to event."""
    message = unfit.message
    return (
        message.leaf_index,
        _uuid(message.event_id),
        unfit.revision,
        unfit.reason,
        unfit.detail,
        message.fingerprint,
        sha256(message.key).digest(),
        leaf_hash(message.leaf_data),
        len(message.key) + len(message.datum),
    )


def _is_small(message: Message) -> bool:
    """Whether it is no larger than the contract allows; of what is, nobody can make an event."""
    return max(len(message.key), len(message.datum)) <= MOST_DATUM_BYTES


def _uuid(text: bytes | None) -> UUID | None:
    """An event's id out of a header; None where it is none."""
    try:
        return UUID((text or b"").decode("ascii"))
    except ValueError:
        return None


def _record_id(key: bytes) -> str | None:
    """A record's id out of a key; None where no table can hold it."""
    try:
        found = key.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in found else found
