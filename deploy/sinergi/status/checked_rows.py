"""Queries of a database whose rows are checked: valid rows, and reports of the damaged ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, LiteralString

from sinergi_schemas import errors
from sinergi_schemas.postgresql import stored

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Row = tuple[Any, ...]


@dataclass(slots=True)
class CheckedRows:
    """Queries a database, and continues after damaged rows.

    Attributes:
        invalid: the damaged rows, a line each.
    """

    connection: psycopg.Connection
    schema: str
    invalid: list[str] = field(default_factory=list)

    def of_topics(self, table: str, query: LiteralString) -> list[Row]:
        """The rows of a query that begin with a valid topic, and a partition."""
        return self._valid_rows(table, query, stored.topic)

    def of_event_types(self, table: str, query: LiteralString) -> list[Row]:
        """The rows of a query that begin with a valid event type."""
        return self._valid_rows(table, query, stored.event_type)

    def check_frontier(self, table: str, row: str, size: int, frontier: bytes) -> None:
        """Report a stored tree that is invalid."""
        self._is_valid(stored.frontier, size, frontier, f"{self.schema}.{table}", row)

    def _valid_rows(
        self, table: str, query: LiteralString, read: Callable[[str, str, str], object]
    ) -> list[Row]:
        name = f"{self.schema}.{table}"
        return [
            row
            for row in self.connection.execute(query)
            if self._is_valid(read, row[0], name, f"({row[0]}, {row[1]})")
        ]

    def _is_valid(self, read: Callable[..., object], *given: object) -> bool:
        try:
            read(*given)
        except errors.StoredStateInvalid as why:
            if str(why) not in self.invalid:
                self.invalid.append(str(why))
            return False
        return True
