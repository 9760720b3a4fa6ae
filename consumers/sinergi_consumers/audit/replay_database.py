"""A database that replays fill, and the record in it of what was replayed.

The record keeps such a database apart from that of a materialiser, which would sign receipts for
what it finds there (`PostgresqlSink.check` refuses it). It also lets a replay that was broken off
go on: only the same replay may write to the database again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from psycopg import sql

from sinergi_consumers.sinks.postgresql.sink import REPLAY_SCHEMA
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from sinergi_consumers.audit.past_tables import PastTables
    from sinergi_consumers.audit.reader_records import PastRefusal
    from sinergi_schemas.topics import TopicPartition

_SCHEMAS = ("sinergi", "sinergi_consumer", "sinergi_producer")
# What `sinergi db upgrade` itself writes.
_OF_MIGRATIONS = ("version", "known_schema", "lease", "projection_column")
_TABLES = """
    SELECT nspname, relname FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE nspname = ANY(%s) AND relkind IN ('r', 'p') AND relname <> ALL(%s) ORDER BY 1, 2
"""
# Not an advisory lock, which needs no right: whoever reached the database could hold it.
_LOCK = "LOCK TABLE sinergi_replay.replay IN EXCLUSIVE MODE"
_EXISTS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)"
# Of two that create it at the same time, one waits for the other's commit, and finds it done.
_CREATE = """
DO $$ BEGIN
    CREATE SCHEMA sinergi_replay;
    COMMENT ON SCHEMA sinergi_replay IS 'This database was filled by sinergi replay. No materialiser may use it.';
    CREATE TABLE sinergi_replay.replay (
        is_only   boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
        asked_for jsonb       NOT NULL,
        begun_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at  timestamptz,
        outcome   jsonb
    );
    COMMENT ON COLUMN sinergi_replay.replay.asked_for IS 'What was replayed: whoever asks for the same goes on with it.';
    COMMENT ON COLUMN sinergi_replay.replay.begun_at IS 'When the replay was begun first.';
    COMMENT ON COLUMN sinergi_replay.replay.ended_at IS 'When a replay was last at the end of its topics; null if none was.';
    COMMENT ON COLUMN sinergi_replay.replay.outcome IS 'The verdict of each topic at that time, and what is not known.';
EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
END $$
"""  # noqa: E501 - a comment in SQL is one line

_RECEIPT = """
    INSERT INTO sinergi_consumer.receipt (topic, partition, size, note, signed_at)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition, size) DO NOTHING
"""
# An event that was open then is there already, or is superseded: the merge has found that out.
_REFUSAL = """
    INSERT INTO sinergi_consumer.quarantine AS held (projection, topic, partition, leaf_index,
        reason, detail, revision, quarantined_at, event_id, fingerprint, key_hash, leaf_hash, size,
        state)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, 'open'))
    ON CONFLICT (projection, topic, partition, leaf_index) DO UPDATE
    SET quarantined_at = excluded.quarantined_at,
        state = CASE excluded.state WHEN 'open' THEN held.state ELSE excluded.state END
"""
_FORGET = """
    DELETE FROM sinergi_consumer.decision
    WHERE topic = %s AND partition = %s AND leaf_index >= %s AND leaf_index < %s
"""
_DECISION = """
    INSERT INTO sinergi_consumer.decision (projection, topic, partition, leaf_index, action,
        outcome, decided_by, why, decided_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_LEAVES_AT_ONCE = 10_000


class ReplayDatabase:
    """The database of a replay.

    Args:
        url: where it is; see `sinergi_schemas.postgresql.address`. Its user may create schemas.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, "sinergi replay")

    def begin(self, asked_for: Mapping[str, Any]) -> None:
        """Reserve an empty database for a replay, or go on in one that the same replay has begun.

        Args:
            asked_for: what is replayed, as a JSON document.

        Raises:
            ReplayDatabaseRefused: it has rows of somebody else.
            DatabaseAway, DatabaseBroken: it does not answer, or its user may not create schemas.
        """
        wanted = json.loads(json.dumps(asked_for))
        with self._database.serving() as connection:
            if not _exists(connection):
                _check_empty(connection, None, wanted)
                connection.execute(_CREATE)
            connection.execute(_LOCK)
            recorded = _recorded(connection)
            if recorded == wanted:
                return
            _check_empty(connection, recorded, wanted)
            connection.execute(
                "INSERT INTO sinergi_replay.replay (asked_for) VALUES (%s::jsonb)"
                " ON CONFLICT (is_only) DO UPDATE SET asked_for = excluded.asked_for,"
                " begun_at = excluded.begun_at, ended_at = NULL, outcome = NULL",
                (json.dumps(wanted),),
            )

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Record that the topics were read to their ends.

        Args:
            outcome: what was found out, as a JSON document.
        """
        with self._database.serving() as connection:
            connection.execute(
                "UPDATE sinergi_replay.replay SET ended_at = clock_timestamp(),"
                " outcome = %s::jsonb",
                (json.dumps(outcome),),
            )

    def restore(self, tp: TopicPartition, past: PastTables, projections: Sequence[str]) -> None:
        """Store what the events of a partition do not say: settled refusals, decisions, a receipt.

        It may be repeated.

        Args:
            past: what a reader's database had.
            projections: those that have tables here.
        """
        receipt = past.cuts.receipts.get(tp)
        if receipt is None:
            return
        with self._database.serving() as connection:
            values = (*tp, receipt.size, receipt.note, receipt.at)
            connection.execute(_RECEIPT, values)
        if past.records is None:
            return
        for start in range(0, receipt.size, _LEAVES_AT_ONCE):
            leaves = range(start, min(start + _LEAVES_AT_ONCE, receipt.size))
            refusals = past.records.refusals(tp, leaves, past.cuts.at, receipt.size)
            decisions = past.records.decisions(tp, leaves, past.cuts.at)
            known = [each for each in refusals if each.projection in projections]
            with self._database.serving() as connection, connection.cursor() as cursor:
                cursor.executemany(_REFUSAL, [_refusal(tp, each) for each in known])
                cursor.execute(_FORGET, (*tp, leaves.start, leaves.stop))
                cursor.executemany(_DECISION, list(decisions))

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def _refusal(tp: TopicPartition, each: PastRefusal) -> tuple[object, ...]:
    """The values of a row of quarantine, in the order of the statement."""
    projection, leaf, *columns, settled, _ = each
    return (projection, *tp, leaf, *columns, settled)


def _exists(connection: psycopg.Connection) -> bool:
    return connection.execute(_EXISTS, (REPLAY_SCHEMA,)).fetchone() == (True,)


def _recorded(connection: psycopg.Connection) -> Any:
    """What was asked for by the replay that has begun this database."""
    found = connection.execute("SELECT asked_for FROM sinergi_replay.replay").fetchone()
    return found[0] if found else {}


def _check_empty(connection: psycopg.Connection, recorded: Any, wanted: Mapping[str, Any]) -> None:
    """Refuse a database that has rows of somebody else."""
    if table := _first_with_rows(connection):
        raise errors.ReplayDatabaseRefused(_why_refused(table, recorded, wanted))


def _first_with_rows(connection: psycopg.Connection) -> str | None:
    """The first of our tables that has a row."""
    tables = connection.execute(_TABLES, (list(_SCHEMAS), list(_OF_MIGRATIONS))).fetchall()
    for schema, table in tables:
        name = sql.Identifier(schema, table)
        question = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name)
        if connection.execute(question).fetchone() == (True,):
            return f"{schema}.{table}"
    return None


def _why_refused(table: str, recorded: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    if not recorded:
        return f"{table} has rows already"
    differing = sorted(key for key in {*recorded, *wanted} if recorded.get(key) != wanted.get(key))
    return f"another replay has filled it, which differs in {', '.join(differing)}"
