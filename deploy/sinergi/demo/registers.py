"""The agencies' own systems: registers that they kept before there was a bus.

Each is a table in the agency's own database. A row and its event are written in one transaction.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Self

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sinergi_schemas.events import Event, Seizure, SuspiciousVisit, Transfer


class RegisterEntry(DeclarativeBase):
    """A row of a register: one record, as the agency itself keeps it."""

    type_annotation_map: ClassVar = {datetime: sa.DateTime(timezone=True)}


class Visit(RegisterEntry):
    """A line of the prison's visit book (buku daftar kunjungan)."""

    __tablename__ = "buku_kunjungan"

    number: Mapped[str] = mapped_column(primary_key=True)
    came_at: Mapped[datetime]
    visitor: Mapped[str | None]
    inmate: Mapped[str | None]
    found: Mapped[str]
    outcome: Mapped[str]

    @classmethod
    def of(cls, event: SuspiciousVisit) -> Self:
        """The line of an event."""
        return cls(
            number=event.record_id,
            came_at=event.occurred_at,
            visitor=event.visitor and event.visitor.name,
            inmate=event.inmate and event.inmate.name,
            found="; ".join(each.description for each in event.finds),
            outcome=", ".join(each.indonesian for each in event.outcomes),
        )


class Move(RegisterEntry):
    """A line of the prison's transfers register (register mutasi)."""

    __tablename__ = "register_mutasi"

    number: Mapped[str] = mapped_column(primary_key=True)
    inmate: Mapped[str | None]
    destination: Mapped[str]
    letter: Mapped[str | None]
    departed_at: Mapped[datetime]
    arrived_at: Mapped[datetime | None]
    is_void: Mapped[bool]

    @classmethod
    def of(cls, event: Transfer) -> Self:
        """The line of an event."""
        return cls(
            number=event.record_id,
            inmate=event.inmate and event.inmate.name,
            destination=event.destination.name,
            letter=event.approval and event.approval.number,
            departed_at=event.departed_at,
            arrived_at=event.arrived_at,
            is_void=event.action == "RETRACTED",
        )


class Case(RegisterEntry):
    """A line of the case register (register perkara) of the police or the narcotics agency."""

    __tablename__ = "register_perkara"

    number: Mapped[str] = mapped_column(primary_key=True)
    seized_at: Mapped[datetime]
    holder: Mapped[str | None]
    grams: Mapped[Decimal] = mapped_column(sa.Numeric(18, 4))
    laboratory: Mapped[str]

    @classmethod
    def of(cls, event: Seizure) -> Self:
        """The line of an event."""
        weights = (each.net_weight_g or each.gross_weight_g or 0 for each in event.exhibits)
        return cls(
            number=event.record_id,
            seized_at=event.seized_at,
            holder=event.holders[0].name if event.holders else None,
            grams=Decimal(sum(weights)),
            laboratory=", ".join(each.lab_result.indonesian for each in event.exhibits),
        )


REGISTERS: dict[str, type[RegisterEntry]] = {
    "suspicious-visit": Visit,
    "transfer": Move,
    "seizure": Case,
}
"""The register of each event type."""


def entry_of(event: Event) -> RegisterEntry:
    """The row of the agency's own register for an event."""
    match event:
        case SuspiciousVisit():
            return Visit.of(event)
        case Transfer():
            return Move.of(event)
        case Seizure():
            return Case.of(event)
    raise TypeError(f"no register for {type(event).__name__}")


def make(engine: sa.Engine, event_types: list[str]) -> None:
    """Create the registers of an agency that publishes these event types."""
    tables = [RegisterEntry.metadata.tables[REGISTERS[name].__tablename__] for name in event_types]
    RegisterEntry.metadata.create_all(engine, tables=tables)
