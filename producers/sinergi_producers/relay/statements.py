"""The SQL of a relay: what `store` reads and writes in the agency's database."""

from __future__ import annotations

from sinergi_producers.relay.row_check import IS_BEHIND, ROW
from sinergi_producers.relay.sealing import MOST_BYTES, MOST_MESSAGES

# The next rows: at most MOST_MESSAGES, of MOST_BYTES together, but always one row.
_UNSEALED = f"""
    SELECT {ROW}, {IS_BEHIND} FROM (
        SELECT *, sum(length(datum)) OVER (ORDER BY id) - length(datum) AS bytes_before
        FROM sinergi_producer.outbox AS waiting
        WHERE leaf_index IS NULL AND held IS NULL AND {{which}}
        ORDER BY id LIMIT {MOST_MESSAGES}
    ) AS waiting WHERE bytes_before < {MOST_BYTES} ORDER BY id
"""  # noqa: S608 - our own names and numbers
LIVE = _UNSEALED.format(
    which="""NOT backfill AND id > %s AND NOT EXISTS (
            SELECT FROM sinergi_producer.outbox AS earlier
            WHERE earlier.leaf_index IS NULL AND earlier.held IS NULL AND earlier.backfill
            AND earlier.event_type = waiting.event_type
            AND earlier.record_id = waiting.record_id AND earlier.id < waiting.id)"""
)
BACKFILL = _UNSEALED.format(which="backfill AND id > %s")
# Both conditions are those of partial indexes.
HAS_UNSEALED = """
    SELECT EXISTS (SELECT FROM sinergi_producer.outbox
            WHERE leaf_index IS NULL AND held IS NULL AND NOT backfill AND id > %s)
        OR EXISTS (SELECT FROM sinergi_producer.outbox
            WHERE leaf_index IS NULL AND held IS NULL AND backfill AND id > %s)
"""
# From the sequence itself: to who lacks the right to it `pg_sequence_last_value` returns NULL, as
# for a sequence that was never used.
LAST_ID = """
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM sinergi_producer.outbox_id_seq
"""
# This begins a transaction to get a transaction ID. A snapshot's xmax is only the number after
# the newest transaction that has ended, and transactions that are still open may have higher ones.
SNAPSHOT = """
    SELECT pg_snapshot_xmin(now)::text::bigint, pg_current_xact_id()::text::bigint,
        EXISTS (SELECT FROM sinergi_producer.outbox
            WHERE leaf_index IS NULL AND held IS NULL AND backfill AND id > %s)
    FROM pg_current_snapshot() AS now
"""

ENSURE_TREES = """
    INSERT INTO sinergi_producer.tree (event_type, partition, epoch)
    SELECT wanted.*, %s FROM unnest(%s::text[], %s::integer[]) AS wanted
    ON CONFLICT DO NOTHING
"""
UPDATE_TREES = """
    UPDATE sinergi_producer.tree AS t SET size = grown.size, frontier = grown.frontier
    FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[], %s::bytea[])
        AS grown (event_type, partition, old_size, size, frontier)
    WHERE t.event_type = grown.event_type AND t.partition = grown.partition
    AND t.size = grown.old_size AND t.epoch = %s
"""
CHECKPOINT = """
    INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
    SELECT * FROM unnest(
        %s::text[], %s::integer[], %s::bigint[], %s::bytea[], %s::bytea[], %s::text[])
"""
# The bounds repeat what the ids say, so that the planner never scans the whole table.
MARK = """
    UPDATE sinergi_producer.outbox AS o SET partition = %s, leaf_index = %s + sealed.place - 1
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS sealed (id, place)
    WHERE o.id = sealed.id AND o.leaf_index IS NULL AND o.id BETWEEN %s AND %s
"""
HOLD = "UPDATE sinergi_producer.outbox SET held = %s WHERE id = ANY(%s) AND leaf_index IS NULL"
# If a server crash loses this update, the messages are sent again; so the commit is asynchronous.
SENT = """
    UPDATE sinergi_producer.tree AS t SET sent_size = sent.size
    FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS sent (event_type, partition, size),
        set_config('synchronous_commit', 'off', true)
    WHERE t.event_type = sent.event_type AND t.partition = sent.partition
    AND t.sent_size < sent.size
"""
# A topic may lose what it had confirmed: somebody deletes it and makes it anew, or a disk fails.
# What is pruned cannot be sent again.
REWIND = """
    UPDATE sinergi_producer.tree AS t SET sent_size = greatest(t.pruned_size, (
        SELECT coalesce(max(c.size), 0) FROM sinergi_producer.checkpoint AS c
        WHERE (c.event_type, c.partition) = (t.event_type, t.partition) AND c.size <= shown.size))
    FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS shown (event_type, partition, size)
    WHERE t.event_type = shown.event_type AND t.partition = shown.partition
    AND t.sent_size > shown.size AND t.epoch = %s
    RETURNING t.event_type, t.partition, shown.size, t.sent_size, t.pruned_size
"""
CONFIRMED = """
    SELECT t.event_type, t.partition, t.sent_size, c.sealed_at
    FROM sinergi_producer.tree AS t LEFT JOIN sinergi_producer.checkpoint AS c
    ON (c.event_type, c.partition, c.size) = (t.event_type, t.partition, t.sent_size)
"""
ROOTS = """
    SELECT size, root FROM sinergi_producer.checkpoint
    WHERE event_type = %s AND partition = %s AND size = ANY(%s)
"""
UNSENT = """
    SELECT c.event_type, c.partition, c.size, c.frontier, c.note
    FROM sinergi_producer.tree AS t JOIN sinergi_producer.checkpoint AS c
    USING (event_type, partition)
    WHERE c.size > t.sent_size AND c.size = (
        SELECT min(next.size) FROM sinergi_producer.checkpoint AS next
        WHERE (next.event_type, next.partition) = (t.event_type, t.partition)
        AND next.size > t.sent_size)
"""
LEAVES = f"""
    SELECT {ROW} FROM sinergi_producer.outbox
    WHERE event_type = %s AND partition = %s AND leaf_index >= %s AND leaf_index < %s
    ORDER BY leaf_index
"""  # noqa: S608 - our own names
LEAVES_AT = """
    SELECT leaf_index, leaf_hash, fingerprint, pg_catalog.convert_to(record_id, 'UTF8'), datum
    FROM sinergi_producer.outbox
    WHERE event_type = %s AND partition = %s AND leaf_index = ANY(%s::bigint[])
"""
PRUNED = "SELECT event_type, partition, pruned_size FROM sinergi_producer.tree"
LEADER = """
    SELECT holder, date_trunc('second', expires_at)::text FROM sinergi_producer.lease
    WHERE name = 'relay' AND holder IS NOT NULL
"""
REGISTERED_SCHEMAS = """
    SELECT fingerprint, event_type, version, id, sinergi, text FROM sinergi_producer.known_schema
    ORDER BY registered_at, fingerprint
"""
