"""Rows of a publisher's and a reader's database that are settled: nobody has to do anything."""

from __future__ import annotations

TOPIC = "sinergi.lapas-1.transfer"


def statements(rows: int) -> tuple[str, ...]:
    """What fills the tables of a publisher and of a reader with so many rows each."""
    return (
        f"""
        INSERT INTO sinergi_producer.tree (event_type, partition, size, sent_size)
            VALUES ('transfer', 0, {rows}, {rows})
        """,
        f"""
        INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision, recorded_at,
            fingerprint, datum, partition, leaf_index)
        SELECT gen_random_uuid(), 'transfer', 'P/' || n, 1, now(), '', '', 0, n
            FROM generate_series(0, {rows - 1}) AS n
        """,
        f"""
        INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
        SELECT 'transfer', 0, n, '', '', '' FROM generate_series(1, {rows}) AS n
        """,
        quarantined("CASE n % 2 WHEN 0 THEN 'retried' ELSE 'discarded' END", 1, rows),
        f"""
        INSERT INTO sinergi_consumer.receipt (topic, partition, size, note, signed_at, published_at)
        SELECT '{TOPIC}', 0, n, '', now(), now() FROM generate_series(1, {rows}) AS n
        """,
        f"""
        INSERT INTO sinergi_consumer.checkpoint (topic, partition, size, root, note)
        SELECT '{TOPIC}', 0, n, '', '' FROM generate_series(1, {rows}) AS n
        """,
    )


def quarantined(state: str, first: int, last: int) -> str:
    """What puts the leaves `first` to `last` of three topics into quarantine, by turns.

    Args:
        state: the state of leaf `n`, as SQL.
    """
    return f"""
        INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, revision,
            state, reason, detail, fingerprint, key_hash, leaf_hash, size)
        SELECT 'transfer', 'sinergi.lapas-' || n % 3 || '.transfer', 0, n, 1, {state},
            'rows-refused', '', '', sha256(n::text::bytea), '', 0
            FROM generate_series({first}, {last}) AS n
    """
