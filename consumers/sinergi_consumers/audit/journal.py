"""The journal of audits in a database: who read what again, when, why, and what came of it.

A run is recorded before it reads anything, and once more when it ends. The two rows are in two
tables, so that nobody needs the right to change a row: a run without an end was killed, or still
goes on.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.types.json import Jsonb

from sinergi_consumers.sinks.postgresql import rights
from sinergi_schemas.nesting import is_deeper
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

_BEGIN = """
    INSERT INTO sinergi_consumer.journal
        (run, principals, account, command, why, asked_for, topics, agreements, software)
    VALUES (%(run)s, %(principals)s, %(account)s, %(command)s, %(why)s, %(asked_for)s, %(topics)s,
        %(agreements)s, %(software)s)
"""
_END = """
    INSERT INTO sinergi_consumer.journal_end
        (run, outcome, exit_status, error, trees, counts, verdict)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_WITHIN = """
    FROM sinergi_consumer.journal AS b
    LEFT JOIN sinergi_consumer.journal_end AS e ON e.run = b.run
    WHERE b.begun_at >= coalesce(%(since)s::timestamptz, '-infinity')
        AND b.begun_at < coalesce(%(until)s::timestamptz, 'infinity')
"""
_MOST_TEXT = 128 * 1024  # an argument of a command has no more
_MOST_DOCUMENT = 8 * 1024 * 1024  # the trees of 40,000 topic-partitions
_MOST_LEVELS = 15


def _text(column: str) -> str:
    return f"left({column}, {_MOST_TEXT + 1})"


def _document(column: str) -> str:
    return f"left(to_jsonb({column})::text, {_MOST_DOCUMENT + 1})"


_ENTRIES = f"""
    SELECT b.run, b.begun_at, b.database_user, {_document("b.principals")}, {_text("b.account")},
        {_text("b.command")}, {_text("b.why")}, {_document("b.asked_for")}, {_document("b.topics")},
        {_document("b.agreements")}, {_text("b.software")}, e.ended_at, e.database_user, e.outcome,
        e.exit_status, {_text("e.error")}, {_document("e.trees")}, {_document("e.counts")},
        {_text("e.verdict")}
    {_WITHIN} ORDER BY b.begun_at DESC, b.run LIMIT %(limit)s
"""
_COUNT = f"SELECT count(*) {_WITHIN}"


class AuditRun(NamedTuple):
    """A run of a command that reads events again.

    Attributes:
        principals: under which the brokers are read, as Kafka's ACLs have them; of an archive, its
            digest and those under which it was made.
        account: of the operating system, with the machine.
        asked_for: the options that choose what is read, as they were given, with the archive.
        topics: the names of those that are read.
        agreements: the hashes of the loaded ones.
        software: its name and version.
    """

    run: UUID
    principals: Sequence[str]
    account: str
    command: str
    why: str | None
    asked_for: Mapping[str, Any]
    topics: Sequence[str]
    agreements: Sequence[str]
    software: str


class AuditOutcome(NamedTuple):
    """How a run ended.

    Attributes:
        outcome: ended, failed or stopped.
        exit_status: None if the run did not end by itself.
        error: the name of the class of the error that it failed by.
        trees: each topic-partition with its verified leaves and their root.
        counts: what was counted, by its name.
        verdict: in one line.
    """

    run: UUID
    outcome: str
    exit_status: int | None
    error: str | None
    trees: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    verdict: str | None


class JournalEntry(NamedTuple):
    """A run as the journal has it. What begins with `end` or follows it is None without an end.

    Whoever may add rows can write other values than a command does. So a text may be cut off, which
    its last character `…` shows, and a document may be anything: one that is too large or too deep
    is its text.

    Attributes:
        database_user: who began it.
        end_database_user: who recorded its end.
    """

    run: UUID
    begun_at: datetime
    database_user: str
    principals: Any
    account: str
    command: str
    why: str | None
    asked_for: Any
    topics: Any
    agreements: Any
    software: str
    ended_at: datetime | None
    end_database_user: str | None
    outcome: str | None
    exit_status: int | None
    error: str | None
    trees: Any
    counts: Any
    verdict: str | None

    @classmethod
    def of(cls, row: Sequence[Any]) -> JournalEntry:
        """The entry of a row, whatever somebody has written there."""
        read = cls(*row)
        documents = "principals", "asked_for", "topics", "agreements", "trees", "counts"
        texts = "account", "command", "why", "software", "error", "verdict"
        found: dict[str, Any] = {name: _cut(getattr(read, name), _MOST_TEXT) for name in texts}
        found |= {name: _read(getattr(read, name)) for name in documents}
        found["asked_for"] = _with_interval_in_order(found["asked_for"])
        return read._replace(**found)


class Journal:
    """The journal in a database. It connects for each call: hours may lie between two of them.

    Args:
        url: of a reader's database; see `sinergi_schemas.postgresql.address`.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def begin(self, run: AuditRun) -> None:
        """Record a run before it reads anything.

        Raises:
            SinergiError: see `Database.serving`; so for all that follow.
        """
        lists = {name: list(getattr(run, name)) for name in ("principals", "topics", "agreements")}
        values = run._asdict() | lists | {"asked_for": Jsonb(dict(run.asked_for))}
        with closing(self._database()) as database, database.serving() as connection:
            connection.execute(_BEGIN, values)

    def end(self, outcome: AuditOutcome) -> None:
        """Record how a run ended."""
        trees, counts = Jsonb([*map(dict, outcome.trees)]), Jsonb(dict(outcome.counts))
        with closing(self._database()) as database, database.serving() as connection:
            connection.execute(_END, (*outcome[:4], trees, counts, outcome.verdict))

    def entries(
        self, since: datetime | None, until: datetime | None, limit: int
    ) -> tuple[list[JournalEntry], int]:
        """The runs that began within a time, the newest first, and how many there are in all."""
        values = {"since": since, "until": until, "limit": limit}
        with closing(self._database()) as database, database.reading() as connection:
            found = [JournalEntry.of(row) for row in connection.execute(_ENTRIES, values)]
            count = connection.execute(_COUNT, values).fetchone()
        return found, int(count[0]) if count else 0

    def _database(self) -> Database:
        return Database(self._url, "sinergi journal", needed=rights.JOURNAL)


def _cut(text: str | None, most: int) -> str | None:
    return text if text is None or len(text) <= most else f"{text[:most]}…"


def _read(text: str | None) -> Any:
    """The document with this text, or the text if nobody should have to read it."""
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return _cut(text, _MOST_DOCUMENT)
    return text if is_deeper(found, _MOST_LEVELS) else found


def _with_interval_in_order(asked_for: Any) -> Any:
    """What was asked for, `from` before `to`: jsonb keeps shorter names before longer ones."""
    if not isinstance(asked_for, dict):
        return asked_for
    last = ("from", "to")
    return dict(
        sorted(asked_for.items(), key=lambda each: each[0] in last and last.index(each[0]) + 1)
    )
