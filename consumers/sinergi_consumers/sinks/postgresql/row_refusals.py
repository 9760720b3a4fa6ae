"""Find the rows that PostgreSQL refuses, by the line number of a failed COPY.

A COPY fails at a row that is malformed, out of range, null in a NOT NULL column, or violates a
CHECK constraint, and PostgreSQL reports the line. So a thousand bad rows need about a thousand
short COPYs; halving would need ten times as many. PostgreSQL's message quotes the row; only the
number is used.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import psycopg

from sinergi_consumers.sinks.postgresql import merge
from sinergi_consumers.sinks.postgresql.csv_rows import as_csv
from sinergi_schemas import errors
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from sinergi_consumers.sinks.postgresql.merge import Merge

# The limits of one COPY. The rows after a bad row have to be sent again.
_PIECE = 500
_PIECE_BYTES = 1024 * 1024
_ROWS_IN_MEMORY = 4_000
# The quantifiers are possessive, so the time is linear in the length of the text.
_ROW = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+\n')
_NO_NUL = ("22021", "CharacterNotInRepertoire")  # as PostgreSQL and psycopg name it
_NUMBER = re.compile(r"\d+")


def find_refused(
    connection: psycopg.Connection, statements: Merge, rows: Mapping[str, pl.DataFrame]
) -> dict[int, errors.RowsRefused]:
    """The leaves with a row that the temporary tables refuse, and why. The tables stay empty.

    It omits rows that cannot be written as CSV.

    Raises:
        psycopg.Error: the cause is not a row.
    """
    found: dict[int, errors.RowsRefused] = {}
    for table in statements.projection.tables:
        if _can_be_sent(table, rows[table.name]):
            for leaf in _unstorable(rows[table.name]):
                found.setdefault(leaf, errors.RowsRefused(*_NO_NUL))
            copy = _Copy(connection, statements, table)
            for part in rows[table.name].iter_slices(_ROWS_IN_MEMORY):
                copy.find_refused(part, found)
    return found


def _unstorable(rows: pl.DataFrame) -> list[int]:
    """The leaves of rows with a NUL in a text, which PostgreSQL cannot store.

    They are found without the database, so that they do not need one COPY each.
    """
    nul = pl.selectors.string().str.contains("\0", literal=True)
    has_nul = pl.any_horizontal(pl.lit(value=False), nul)
    return rows.filter(has_nul)["leaf_index"].to_list()


def _can_be_sent(table: sa.Table, rows: pl.DataFrame) -> bool:
    """Whether the columns have types that a CSV can hold, whatever their values."""
    try:
        as_csv(table, rows[:0])
    except errors.ProjectionFailed:
        return False
    return True


class _Copy(NamedTuple):
    """A COPY into the temporary table of one table, which is always rolled back."""

    connection: psycopg.Connection
    statements: Merge
    table: sa.Table

    def find_refused(self, rows: pl.DataFrame, found: dict[int, errors.RowsRefused]) -> None:
        """Add the leaves of the rows at which a COPY fails. The next COPY begins after that row.

        One refused row is enough for its event. Further rows of the same leaf are not sent;
        otherwise an event with a long list of bad elements would need one COPY per element.
        """
        leaves = rows["leaf_index"].to_list()
        left = deque(zip(leaves, _texts(as_csv(self.table, rows)), strict=True))
        while left:
            piece = _piece(left, found)
            why, line = self.attempt([text for _, text in piece]) or (None, 0)
            at = _row_at([text for _, text in piece], line)
            if why is None or at is None:
                continue
            found.setdefault(piece[at][0], why)
            left.extendleft(reversed(piece[at + 1 :]))

    def attempt(self, texts: Sequence[bytes]) -> tuple[errors.RowsRefused, int] | None:
        """Why the server refuses rows, and the line that it names; None if it accepts them."""
        try:
            with (
                self.connection.transaction(force_rollback=True),
                self.connection.cursor() as cursor,
                cursor.copy(self.statements.copy(self.table)) as copy,
            ):
                copy.write(b"".join(texts))
        except psycopg.Error as error:
            translated = translate(error)
            if not isinstance(translated, errors.RowsRefused):
                raise
            return translated, _line(error, merge.incoming_name(self.table))
        return None


def _piece(left: deque[tuple[int, bytes]], found: Mapping[int, object]) -> list[tuple[int, bytes]]:
    """Remove the rows of the next COPY from those that are left."""
    piece: list[tuple[int, bytes]] = []
    size = 0
    while left and len(piece) < _PIECE and size < _PIECE_BYTES:
        leaf, text = left.popleft()
        if leaf not in found:
            piece.append((leaf, text))
            size += len(text)
    return piece


def _texts(csv: bytes) -> list[bytes]:
    """The rows of a CSV. A line feed ends a row unless it is within quotes."""
    return _ROW.findall(csv)


def _line(error: psycopg.Error, table: str) -> int:
    """The number after the table's name in the message, which may be in any language; 0 if none."""
    where = (error.diag.context or "").partition(table)[2]
    number = _NUMBER.search(where)
    return int(number[0]) if number else 0


def _row_at(texts: Sequence[bytes], line: int) -> int | None:
    """The index of the row that contains a line, or None. A row may contain several lines.

    PostgreSQL counts line feeds within quotes, but within the first row carriage returns, because
    it does not know yet how lines end.
    """
    last = 0
    for at, text in enumerate(texts):
        last += text.count(b"\n") if at else 1 + text.count(b"\r")
        if 0 < line <= last:
            return at
    return None
