"""Which names the tables and columns of a projection may have in PostgreSQL."""

from __future__ import annotations

MOST_BYTES = 63  # PostgreSQL cuts off longer names, and two names may become the same
PARTITION_TIME = "event_recorded_at"
"""The column by which the table of a list is partitioned; only a partitioned one has it."""

INCOMING = "incoming_"  # the temporary table for new rows has the table's name after this

# PostgreSQL manual, "System Columns": no table can have a column of these names.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def column_problem(name: str) -> str | None:
    """Why a column cannot have this name; None if it can."""
    if name in SYSTEM_COLUMNS:
        return f"{name} is a column that PostgreSQL has in every table"
    if not name or "\0" in name:
        return "a column has a name, without NUL characters"
    length = len(name.encode())
    if length > MOST_BYTES:
        return f"the column {name} has a name of {length} bytes, above {MOST_BYTES}"
    return None


def table_problem(name: str) -> str | None:
    """Why a table cannot have this name; None if it can."""
    length, most = len(name.encode()), MOST_BYTES - len(INCOMING)
    if length > most:
        return f"the table {name} has a name of {length} bytes, above {most}"
    return None
