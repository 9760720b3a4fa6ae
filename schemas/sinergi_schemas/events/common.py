"""What every event says, and the parts that several event types share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)

from sinergi_schemas.clock import new_event_id
from sinergi_schemas.codes import (
    Action,
    Handling,
    PersonRole,
    Precision,
    Purpose,
    RecordRelation,
    SecurityLevel,
    SourceGrade,
    UnitKind,
)
from sinergi_schemas.errors import EventRefused
from sinergi_schemas.events import nik, wording
from sinergi_schemas.events.values import (
    MOST_INT,
    Day,
    Digest,
    Instant,
    IssuedDigest,
    IssuedSlug,
    Key,
    Latitude,
    Longitude,
    Nik,
    RegionCode,
    Slug,
    Text,
    Zone,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pydantic import ValidationInfo

_MOST_RELATED = 1000


class Part(BaseModel):
    """A part of an event: it cannot be changed, and has no other fields than its own."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class Person(Part):
    """A person and what they are in the event."""

    role: PersonRole
    name: Text
    nik: Nik | None = None


def in_role(*roles: PersonRole) -> AfterValidator:
    """The rule that a person is one of `roles`."""

    def check(person: Person) -> Person:
        if person.role not in roles:
            raise refusal("role", f"has another role than {' or '.join(roles)}")
        return person

    return AfterValidator(check)


Inmate = Annotated[Person, in_role(PersonRole.CONVICT, PersonRole.DETAINEE, PersonRole.CHILD)]


class Letter(Part):
    """A letter or order (surat). Its number is as written: unique only with issuer and year."""

    number: Text
    issuer: Text | None = None
    date: Day | None = None


class Place(Part):
    """Where something happened (tempat)."""

    name: Text
    region_code: RegionCode | None = None
    region_list_date: Day | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def _both_coordinates(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise refusal("half_a_point", "has one of latitude and longitude without the other")
        return self


class Unit(Part):
    """A correctional unit (unit pelaksana teknis), under the name that it bore on that day."""

    name: Text
    code: Slug | None = None
    kind: UnitKind | None = None
    security_level: SecurityLevel | None = None

    def is_same(self, other: Unit) -> bool:
        """Whether both name the same unit: by their codes, or where one has none by their names."""
        if self.code and other.code:
            return self.code == other.code
        return _collapsed(self.name) == _collapsed(other.name)


class RelatedRecord(Part):
    """Another record, of this or another agency, and what it is to this one."""

    other_agency: Slug
    other_event_type: Slug
    other_record_id: Key
    relation: RecordRelation


class Issue(Part):
    """What `publish` adds to an event. Revision 0 is one that the database has yet to put in."""

    agency: Slug
    revision: Annotated[int, Strict(), Field(ge=0, le=MOST_INT)]
    recorded_at: Instant
    agreement: Digest


class Event(Part):
    """The fields of every event. An event holds its record's whole state at its revision.

    The caller leaves out `agency`, `revision`, `recorded_at` and `agreement`: `publish` has the
    event `issued` with them.
    """

    event_type: ClassVar[str]
    ISSUED: ClassVar[frozenset[str]] = frozenset(Issue.model_fields)

    event_id: UUID = Field(default_factory=new_event_id)
    agency: IssuedSlug = ""
    record_id: Key
    revision: Annotated[int, Strict(), Field(ge=0, le=MOST_INT)] = 0
    action: Action
    occurred_at: Instant
    occurred_precision: Precision = Precision.EXACT
    zone: Zone
    recorded_at: Instant | None = None
    agreement: IssuedDigest = ""
    purpose: Purpose
    handling: Handling
    source_grade: SourceGrade | None = None
    case_number: Text | None = None
    related: Annotated[tuple[RelatedRecord, ...], Field(max_length=_MOST_RELATED)] = ()

    @field_validator("action")
    @classmethod
    def _fits_revision(cls, action: Action, info: ValidationInfo) -> Action:
        if broken := _action_broken(action, info.data.get("revision", 0)):
            raise refusal("action", broken)
        return action

    @property
    def is_issued(self) -> bool:
        """Whether it has all that `publish` adds, and so may be encoded."""
        return bool(self.agency and self.revision and self.agreement and self.recorded_at)

    def issued(
        self, *, agency: str, agreement: str, recorded_at: datetime, revision: int = 0
    ) -> Self:
        """The complete event.

        Args:
            agency: the owner of the topic.
            agreement: SHA-256 of the agreement file's bytes, in hexadecimal.
            recorded_at: when the agency told it; aware.
            revision: the record's revision; 0 if the database puts it in under the record's lock.

        Raises:
            EventRefused: one of these breaks its rule, or the event states another already.
        """
        try:
            issue = Issue(
                agency=agency, revision=revision, recorded_at=recorded_at, agreement=agreement
            )
        except ValidationError as error:
            raise wording.refused(self.event_type, error) from None
        problems = [
            f"{name}: states another value than the one it is published with"
            for name in Issue.model_fields
            if getattr(self, name) and getattr(self, name) != getattr(issue, name)
        ]
        if broken := _action_broken(self.action, revision):
            problems.append(f"action: {broken}")
        if problems:
            raise EventRefused(self.event_type, tuple(problems))
        return self.model_copy(update=dict(issue))

    def persons(self) -> Iterator[tuple[str, Person]]:
        """The persons in it, each with the path of its field."""
        yield from ()

    def warnings(self) -> list[str]:
        """What looks wrong and is published all the same: field and rule, never a value."""
        found = [
            f"{path}.nik: {doubt}"
            for path, person in self.persons()
            if person.nik and (doubt := nik.doubt(person.nik))
        ]
        if self.recorded_at and self.recorded_at < self.occurred_at:
            found.append("occurred_at: lies after recorded_at")
        return found


def _action_broken(action: Action, revision: int) -> str | None:
    """The rule between action and revision that is broken; a revision of 0 is not known yet."""
    if action is Action.UNKNOWN:
        return "is UNKNOWN; state RECORDED, CORRECTED or RETRACTED"
    if action is Action.RECORDED and revision > 1:
        return "only revision 1 is RECORDED; a later one is CORRECTED or RETRACTED"
    if action is not Action.RECORDED and revision == 1:
        return "the record's first revision is RECORDED"
    return None


def _collapsed(text: str) -> str:
    return " ".join(text.split()).casefold()
