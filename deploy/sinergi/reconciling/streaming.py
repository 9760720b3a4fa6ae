"""Statements of a reconciliation whose results are too large to be held at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

_FETCHED = 10_000

# Python's calendar has the years 1 to 9999; days of others stay unknown.
DAY = (
    "CASE WHEN recorded_at >= '0002-01-01' AND recorded_at < '9999-01-01'"
    " THEN (recorded_at AT TIME ZONE %(zone)s)::date END"
)
"""The day of `recorded_at` in a zone, as an expression of SQL."""


def streamed(
    connection: psycopg.Connection, statement: str, values: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement, fetched in parts within the transaction of the connection."""
    with connection.cursor(name="sinergi_reconcile") as cursor:
        cursor.itersize = _FETCHED
        cursor.execute(statement.encode(), values)
        yield from cursor
