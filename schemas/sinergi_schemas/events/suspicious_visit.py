"""Suspicious visit (kunjungan mencurigakan): what prison officers noticed, searched and secured.

Officers of a prison secure and hand over; only investigators seize. So what is found at the gate is
told here, and the `Seizure` that may follow names this record.
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
    """One search and what it came to (penggeledahan)."""

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
            raise refusal("count", "is a unit without a count")
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
    def _nobody_came(cls, visitor: Person | None, info: ValidationInfo) -> Person | None:
        if visitor and info.data.get("channel") is Channel.NO_VISITOR:
            raise refusal("visitor", "is named, and the channel is NO_VISITOR")
        return visitor

    def persons(self) -> Iterator[tuple[str, Person]]:
        """Visitor and inmate, as far as they are named."""
        for name in ("visitor", "inmate"):
            if person := getattr(self, name):
                yield name, person

    def warnings(self) -> list[str]:
        """What looks wrong and is published all the same."""
        found = super().warnings()
        if not self.indicators and not self.finds:
            found.append("indicators: nothing was noticed and nothing found")
        if self.visitor is None and self.channel is Channel.IN_PERSON:
            found.append("visitor: is not named, and the channel is IN_PERSON")
        if self.declared_relation and self.visitor is None:
            found.append("declared_relation: is stated without a visitor")
        if self.finds and Outcome.NOTHING_FOUND in self.outcomes:
            found.append("outcomes: NOTHING_FOUND beside finds")
        return found
