"""Which rows PostgreSQL does not take in, told by the line at which a COPY breaks off.

A row of a wrong form, out of bounds, null where it must not be or against a check ends its COPY,
and PostgreSQL says at which line. So a thousand bad rows are found by some thousand short COPYs,
where halving would want ten times as many. What PostgreSQL says there quotes the row; only the
number is read out of it.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import polars.selectors as cs
import psycopg

from sinergi_consumers.sinks.postgresql import merge
from sinergi_schemas import errors
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from sinergi_consumers.sinks.postgresql.merge import Merge

# Rows and bytes of one COPY: what was sent behind a bad row was sent in vain.
_PIECE = 500
_PIECE_BYTES = 1024 * 1024
_ROWS_IN_MEMORY = 4_000
# No quantifier gives back what it has taken, so that a text of line feeds costs what it is long.
_ROW = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+\n')
_NO_NUL = ("22021", "CharacterNotInRepertoire")  # as PostgreSQL and psycopg name it
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
            for leaf in _unstorable(rows[table.name]):
                found.setdefault(leaf, errors.RowsRefused(*_NO_NUL))
            copy = _Copy(connection, statements, table)
            for part in rows[table.name].iter_slices(_ROWS_IN_MEMORY):
                copy.refused(part, found)
    return found


def _unstorable(rows: pl.DataFrame) -> list[int]:
    """The leaves of rows with a text that no PostgreSQL stores: it has no NUL, whatever the column.

    Told without the database, so that a batch full of them costs no COPY for each.
    """
    holding = pl.any_horizontal(pl.lit(value=False), cs.string().str.contains("\0", literal=True))
    return rows.filter(holding)["leaf_index"].to_list()


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

    def refused(self, rows: pl.DataFrame, found: dict[int, errors.RowsRefused]) -> None:
        """Add the leaves of the rows at which a COPY breaks off; the next one begins behind each.

        One row tells enough of its event: of a leaf that is found nothing more is sent, or an event
        with a long list of bad elements would take a COPY for each.
        """
        leaves = rows["leaf_index"].to_list()
        left = deque(zip(leaves, _texts(merge.as_csv(self.table, rows)), strict=True))
        while left:
            piece = _piece(left, found)
            why, line = self.attempt([text for _, text in piece]) or (None, 0)
            at = _place([text for _, text in piece], line)
            if why is None or at is None:
                continue
            found.setdefault(piece[at][0], why)
            left.extendleft(reversed(piece[at + 1 :]))

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


def _piece(left: deque[tuple[int, bytes]], found: Mapping[int, object]) -> list[tuple[int, bytes]]:
    """Take the rows of the next COPY from those that are left."""
    piece: list[tuple[int, bytes]] = []
    size = 0
    while left and len(piece) < _PIECE and size < _PIECE_BYTES:
        leaf, text = left.popleft()
        if leaf not in found:
            piece.append((leaf, text))
            size += len(text)
    return piece


def _texts(csv: bytes) -> list[bytes]:
    """A CSV row by row: a line feed ends a row where all quotes before it are closed."""
    return _ROW.findall(csv)


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
