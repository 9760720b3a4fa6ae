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
    from collections.abc import Mapping

    import psycopg

_SCHEMAS = ("sinergi", "sinergi_consumer", "sinergi_producer")
# What `sinergi db upgrade` itself writes.
_OF_MIGRATIONS = ("version", "known_schema", "lease")
_TABLES = """
    SELECT nspname, relname FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE nspname = ANY(%s) AND relkind IN ('r', 'p') AND relname <> ALL(%s) ORDER BY 1, 2
"""
_LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
_EXISTS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)"
_CREATE = """
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
    COMMENT ON COLUMN sinergi_replay.replay.outcome IS 'The verdict of each topic at that time, and what is not known.'
"""  # noqa: E501 - a comment in SQL is one line


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
            connection.execute(_LOCK, (REPLAY_SCHEMA,))
            recorded = _recorded(connection)
            if recorded == wanted:
                return
            if table := _first_with_rows(connection):
                raise errors.ReplayDatabaseRefused(_why_refused(table, recorded, wanted))
            if recorded is None:
                connection.execute(_CREATE)
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

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def _recorded(connection: psycopg.Connection) -> Any:
    """What was asked for by the replay that has begun this database; None without one."""
    if connection.execute(_EXISTS, (REPLAY_SCHEMA,)).fetchone() != (True,):
        return None
    found = connection.execute("SELECT asked_for FROM sinergi_replay.replay").fetchone()
    return found[0] if found else {}


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
