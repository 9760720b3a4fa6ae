"""Which rows PostgreSQL does not take in, told by the line at which a COPY breaks off.

A row of a wrong form, out of bounds, null where it must not be or against a check ends its COPY,
and PostgreSQL says at which line. So a thousand bad rows are found by some thousand short COPYs,
where halving would want ten times as many. What PostgreSQL says there quotes the row; only the
number is read out of it.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from sinergi_consumers.sinks import merge
from sinergi_schemas import errors
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl
    import sqlalchemy as sa

    from sinergi_consumers.sinks.merge import Merge

_PIECE = 500  # rows a COPY: what was sent behind a bad one was sent in vain
_NUMBER = re.compile(r"\d+")


def refused(
    connection: psycopg.Connection, statements: Merge, rows: Mapping[str, pl.DataFrame]
) -> dict[int, errors.RowsRefused]:
    """The leaves of which the temporary tables do not take a row, and why. Nothing stays in them.

    Rows that cannot even be sent are none of a table's: nothing is said of them.

    Raises:
        psycopg.Error: what is wrong is no row.
    """
    found: dict[int, errors.RowsRefused] = {}
    for table in statements.projection.tables:
        if _can_be_sent(table, rows[table.name]):
            for leaf, why in _Copy(connection, statements, table).refused(rows[table.name]):
                found.setdefault(leaf, why)
    return found


def _can_be_sent(table: sa.Table, rows: pl.DataFrame) -> bool:
    """Whether their columns are of kinds that a CSV has, which no value changes."""
    try:
        merge.as_csv(table, rows[:0])
    except errors.ProjectionFailed:
        return False
    return True


class _Copy(NamedTuple):
    """COPY into the temporary table of one table, and back out."""

    connection: psycopg.Connection
    statements: Merge
    table: sa.Table

    def refused(self, rows: pl.DataFrame) -> Iterator[tuple[int, errors.RowsRefused]]:
        """The leaves of the rows at which a COPY breaks off; the next one begins behind each."""
        texts = _texts(merge.as_csv(self.table, rows))
        start = 0
        while start < len(texts):
            piece = texts[start : start + _PIECE]
            why, line = self.attempt(piece) or (None, 0)
            at = _place(piece, line)
            if why is None or at is None:
                start += len(piece)
            else:
                yield rows["leaf_index"][start + at], why
                start += at + 1

    def attempt(self, texts: Sequence[bytes]) -> tuple[errors.RowsRefused, int] | None:
        """Why rows are not taken in, and the line that the server names; None if they are."""
        try:
            with (
                self.connection.transaction(force_rollback=True),
                self.connection.cursor() as cursor,
                cursor.copy(self.statements.copy(self.table)) as copy,
            ):
                copy.write(b"".join(texts))
        except psycopg.Error as error:
            meant = translate(error)
            if not isinstance(meant, errors.RowsRefused):
                raise
            return meant, _line(error, merge.incoming_name(self.table))
        return None


def _texts(csv: bytes) -> list[bytes]:
    """A CSV row by row: a line feed ends a row where all quotes before it are closed."""
    found: list[bytes] = []
    begun = b""
    for line in BytesIO(csv):
        begun += line
        if begun.count(b'"') % 2 == 0:
            found.append(begun)
            begun = b""
    return found


def _line(error: psycopg.Error, table: str) -> int:
    """The number behind the table's name, in whatever language the server speaks; 0 for none."""
    where = (error.diag.context or "").partition(table)[2]
    number = _NUMBER.search(where)
    return int(number[0]) if number else 0


def _place(texts: Sequence[bytes], line: int) -> int | None:
    """The row that a line belongs to, since a text may have lines of its own; None for none.

    PostgreSQL counts the line feeds within quotes, once it has seen that lines end with one: within
    the first row it counts carriage returns.
    """
    last = 0
    for at, text in enumerate(texts):
        last += text.count(b"\n") if at else 1 + text.count(b"\r")
        if 0 < line <= last:
            return at
    return None
