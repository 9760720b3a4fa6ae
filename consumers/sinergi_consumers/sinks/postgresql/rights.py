"""What a materialiser needs in a reader's database, and who reads or verifies its rows.

A materialiser changes a row only where a later event may: it never changes or deletes the history
of a record, a checkpoint, a note of a receipt or a decision. Whoever runs a command that reads
topics again adds to the journal, with either login, and changes nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.projections.projection import SCHEMA, ProjectionKind
from sinergi_schemas.postgresql.rights import (
    TEMPORARY,
    DatabaseRight,
    RoleRights,
    on_schema,
    on_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sinergi_consumers.projections.projection import Projection

# Without the columns that the server fills: when it was, and who was logged in.
_BEGUN = (
    "run",
    "principals",
    "account",
    "command",
    "why",
    "asked_for",
    "topics",
    "agreements",
    "software",
)
_ENDED = ("run", "outcome", "exit_status", "error", "trees", "counts", "verdict")

JOURNAL = RoleRights(
    "consumer.database_roles.auditor",
    (
        on_schema("sinergi_consumer"),
        *on_table("sinergi_consumer.journal", "SELECT", INSERT=_BEGUN),
        *on_table("sinergi_consumer.journal_end", "SELECT", INSERT=_ENDED),
    ),
)
"""What a run of a command needs that is recorded in the journal."""

MATERIALISER = RoleRights(
    "consumer.database_roles.materialiser",
    (
        TEMPORARY,
        on_schema("sinergi_consumer"),
        *on_table("sinergi_consumer.position", "SELECT", "INSERT", "UPDATE"),
        *on_table("sinergi_consumer.checkpoint", "SELECT", "INSERT"),
        *on_table("sinergi_consumer.receipt", "SELECT", "INSERT", UPDATE=("published_at",)),
        *on_table(
            "sinergi_consumer.quarantine",
            "SELECT",
            "INSERT",
            UPDATE=("detail", "reason", "revision", "state"),
        ),
        # A trigger deletes the bytes of a settled event, with the rights of the tables' owner.
        *on_table("sinergi_consumer.quarantined_datum", "SELECT", "INSERT"),
        *on_table("sinergi_consumer.decision", "SELECT", "INSERT"),
        *on_table("sinergi_consumer.retention", "SELECT"),
        *on_table("sinergi_consumer.projection_column", "SELECT"),
        *on_table("sinergi_consumer.halt", "SELECT", "INSERT", "UPDATE", "DELETE"),
        *on_table("sinergi_consumer.skipped", "SELECT", "INSERT", "UPDATE"),
        *JOURNAL.rights[1:],
        on_schema(SCHEMA),
    ),
)
"""What every materialiser needs, and `sinergi quarantine`."""


def materialiser(projections: Iterable[Projection]) -> RoleRights:
    """What a materialiser of these projections needs."""
    filling = (each for one in projections for each in _filling(one))
    return RoleRights(MATERIALISER.setting, (*MATERIALISER.rights, *filling))


def reader(projections: Iterable[Projection]) -> RoleRights:
    """What somebody needs who reads the tables of these projections."""
    tables = [table.name for each in projections for table in each.tables]
    reading = (each for name in tables for each in on_table(f"{SCHEMA}.{name}", "SELECT"))
    return RoleRights("consumer.database_roles.reader", (on_schema(SCHEMA), *reading))


def verifier(projections: Iterable[Projection]) -> RoleRights:
    """What somebody needs who compares the tables of these projections with the events.

    It is part of what a materialiser needs. Nothing can be changed with it; rows can be added to
    the journal alone.
    """
    own = ("position", "checkpoint", "receipt", "quarantine", "retention", "projection_column")
    reading = (each for name in own for each in on_table(f"sinergi_consumer.{name}", "SELECT"))
    rows = reader(projections).rights
    needed = (TEMPORARY, *JOURNAL.rights, *reading, *rows)
    return RoleRights(JOURNAL.setting, needed)


def rebuilder(projection: Projection) -> RoleRights:
    """What somebody needs who puts the rows of a projection right: the owner of its tables."""
    changing = (
        each
        for table in projection.tables
        for each in on_table(f"{SCHEMA}.{table.name}", "INSERT", "UPDATE", "DELETE")
    )
    own = (
        *on_table("sinergi_consumer.position", "UPDATE"),
        *on_table("sinergi_consumer.quarantine", "INSERT", "UPDATE"),
        *on_table("sinergi_consumer.decision", "INSERT"),
    )
    needed = (*verifier([projection]).rights, *own, *changing)
    return RoleRights("consumer.owner_database", needed)


def _filling(projection: Projection) -> Iterator[DatabaseRight]:
    is_replacing = projection.kind is ProjectionKind.CURRENT
    change, clear = (("UPDATE",), ("DELETE",)) if is_replacing else ((), ())
    yield from on_table(f"{SCHEMA}.{projection.record.name}", "SELECT", "INSERT", *change)
    for child in projection.children:
        yield from on_table(f"{SCHEMA}.{child.name}", "SELECT", "INSERT", *clear)
