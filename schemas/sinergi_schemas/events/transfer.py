"""Transfer (pemindahan): the move of an inmate from one unit to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from sinergi_schemas.codes import (
    Authority,
    Handling,
    RegisterClass,
    Risk,
    TransferReason,
)
from sinergi_schemas.events.common import Event, Inmate, Letter, Part, Person, Unit
from sinergi_schemas.events.values import Count, Instant, Text, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pydantic import ValidationInfo

_MOST_ESCORT = 100


class Escort(Part):
    """The escorts from one agency (pengawal), and their number if it is known."""

    escort_agency: Text
    count: Count | None = None


class Transfer(Event):
    """The move of one inmate between two units."""

    event_type: ClassVar[str] = "transfer"

    origin: Unit
    destination: Unit
    departed_at: Instant
    arrived_at: Instant | None = None
    reason: TransferReason
    reason_as_written: Text | None = None
    status_as_written: Text | None = None
    inmate: Inmate | None = None
    register_class: RegisterClass | None = None
    register_number: Text | None = None
    risk: Risk | None = None
    authority: Authority | None = None
    approval: Letter | None = None
    movement_id: Text | None = None
    escort: Annotated[tuple[Escort, ...], Field(max_length=_MOST_ESCORT)] = ()

    @field_validator("arrived_at")
    @classmethod
    def _after_departure(cls, arrived: datetime | None, info: ValidationInfo) -> datetime | None:
        departed = info.data.get("departed_at")
        if arrived and departed and arrived < departed:
            raise refusal("arrival", "is before departed_at")
        return arrived

    def persons(self) -> Iterator[tuple[str, Person]]:
        """The inmate, if they are named."""
        if self.inmate:
            yield "inmate", self.inmate

    def warnings(self) -> list[str]:
        """Doubts that do not prevent publishing."""
        found = super().warnings()
        if self.origin.is_same(self.destination):
            found.append("destination: is the same unit as origin")
        if self.occurred_at != self.departed_at:
            found.append("occurred_at: differs from departed_at")
        if self._is_under_way and self.handling not in (Handling.SR, Handling.R):
            found.append("handling: a transfer under way must be at least R (rahasia)")
        return found

    @property
    def _is_under_way(self) -> bool:
        """Whether disclosure is dangerous: not arrived yet, and an inmate or escort is named."""
        return self.arrived_at is None and bool(self.inmate or self.escort or self.movement_id)
