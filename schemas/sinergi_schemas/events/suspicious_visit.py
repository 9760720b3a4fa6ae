"""Suspicious visit (kunjungan mencurigakan): what prison officers noticed, searched and secured.

Prison officers secure goods and hand them over; only investigators seize. So this event contains
the goods found at the gate. If a `Seizure` follows, it names this record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator

from sinergi_schemas.codes import (
    Channel,
    Concealment,
    CountUnit,
    Goods,
    Indicator,
    Outcome,
    PersonRole,
    Relation,
    SearchMethod,
    SearchResult,
    Substance,
)
from sinergi_schemas.events.common import Event, Inmate, Part, Person, Unit, in_role
from sinergi_schemas.events.values import Count, LongText, Text, Weight, distinct, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationInfo

_MOST = 100


class Search(Part):
    """One search and its result (penggeledahan)."""

    method: SearchMethod
    result: SearchResult


class Find(Part):
    """One kind of goods found (temuan)."""

    kind: Goods
    description: Text
    substance: Substance | None = None
    concealment: Concealment | None = None
    count: Count | None = None
    count_unit: CountUnit | None = None
    weight_g: Weight | None = None

    @field_validator("count_unit")
    @classmethod
    def _with_count(cls, unit: CountUnit | None, info: ValidationInfo) -> CountUnit | None:
        if unit is not None and info.data.get("count", 1) is None:
            raise refusal("count", "is stated without a count")
        return unit


Visitor = Annotated[Person, in_role(PersonRole.VISITOR, PersonRole.COURIER)]


class SuspiciousVisit(Event):
    """A visit or delivery to a correctional unit that raised suspicion."""

    event_type: ClassVar[str] = "suspicious-visit"

    unit: Unit
    channel: Channel
    visitor: Visitor | None = None
    inmate: Inmate | None = None
    declared_relation: Relation | None = None
    narrative: LongText | None = None
    indicators: Annotated[tuple[Indicator, ...], AfterValidator(distinct)] = ()
    searches: Annotated[tuple[Search, ...], Field(max_length=_MOST)] = ()
    finds: Annotated[tuple[Find, ...], Field(max_length=_MOST)] = ()
    outcomes: Annotated[tuple[Outcome, ...], AfterValidator(distinct)] = ()

    @field_validator("visitor")
    @classmethod
    def _absent_if_no_visitor(cls, visitor: Person | None, info: ValidationInfo) -> Person | None:
        if visitor and info.data.get("channel") is Channel.NO_VISITOR:
            raise refusal("visitor", "is named, but the channel is NO_VISITOR")
        return visitor

    def persons(self) -> Iterator[tuple[str, Person]]:
        """The visitor and the inmate, if they are named."""
        for name in ("visitor", "inmate"):
            if person := getattr(self, name):
                yield name, person

    def warnings(self) -> list[str]:
        """Doubts that do not prevent publishing."""
        found = super().warnings()
        if not self.indicators and not self.finds:
            found.append("indicators: are empty, and finds are empty as well")
        if self.visitor is None and self.channel is Channel.IN_PERSON:
            found.append("visitor: is not named, but the channel is IN_PERSON")
        if self.declared_relation and self.visitor is None:
            found.append("declared_relation: is stated without a visitor")
        if self.finds and Outcome.NOTHING_FOUND in self.outcomes:
            found.append("outcomes: contains NOTHING_FOUND, but there are finds")
        return found
