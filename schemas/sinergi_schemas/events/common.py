"""The fields of every event, and the parts that several event types share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self
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
    """A part of an event. It is immutable and refuses unknown fields.

    Raises:
        ValidationError: pydantic's, with every field and rule that is broken, and without values.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        # pydantic's model_copy and model_construct validate nothing.
        revalidate_instances="always",
    )

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None:  # type checkers see the fields
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise wording.reworded(type(self), error) from None

        # pydantic then makes nested parts without a call of __init__ for each.
        __init__.__pydantic_base_init__ = True


class Person(Part):
    """A person and their role in the event."""

    role: PersonRole
    name: Text
    nik: Nik | None = None


def in_role(*roles: PersonRole) -> AfterValidator:
    """The rule that a person has one of these roles."""

    def check(person: Person) -> Person:
        if person.role not in roles:
            raise refusal("role", f"does not have the role {' or '.join(roles)}")
        return person

    return AfterValidator(check)


Inmate = Annotated[Person, in_role(PersonRole.CONVICT, PersonRole.DETAINEE, PersonRole.CHILD)]


class Letter(Part):
    """A letter or order (surat). Its number is unique only together with issuer and year."""

    number: Text
    issuer: Text | None = None
    date: Day | None = None


class Place(Part):
    """The place of an incident (tempat)."""

    name: Text
    region_code: RegionCode | None = None
    region_list_date: Day | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def _both_coordinates(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise refusal("half_a_point", "has latitude or longitude without the other")
        return self


class Unit(Part):
    """A correctional unit (unit pelaksana teknis), with its name on that day."""

    name: Text
    code: Slug | None = None
    kind: UnitKind | None = None
    security_level: SecurityLevel | None = None

    def is_same(self, other: Unit) -> bool:
        """Whether both are the same unit, by code, or by name if one of them has no code."""
        if self.code and other.code:
            return self.code == other.code
        return _collapsed(self.name) == _collapsed(other.name)


class RelatedRecord(Part):
    """Another record, of this or another agency, and how it is related to this one."""

    other_agency: Slug
    other_event_type: Slug
    other_record_id: Key
    relation: RecordRelation


class Issue(Part):
    """The fields that `publish` adds. Revision 0 means that the database will assign it."""

    agency: Slug
    revision: Annotated[int, Strict(), Field(ge=0, le=MOST_INT)]
    recorded_at: Instant
    agreement: Digest


class Event(Part):
    """The fields of every event. An event contains the complete state of its record.

    The caller omits `agency`, `revision`, `recorded_at` and `agreement`; `publish` adds them with
    `issued`.
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
        """Whether it has all fields that `publish` adds, so that it can be encoded."""
        return bool(self.agency and self.revision and self.agreement and self.recorded_at)

    def issued(
        self, *, agency: str, agreement: str, recorded_at: datetime, revision: int = 0
    ) -> Self:
        """The event with the fields that `publish` adds.

        Args:
            agency: the owner of the topic.
            agreement: SHA-256 of the agreement file's bytes, in hexadecimal.
            recorded_at: when the agency publishes it; with a time zone.
            revision: the record's revision; 0 if the database assigns it under the record's lock.

        Raises:
            EventRefused: an argument breaks its rule, or the event has another value already.
        """
        try:
            issue = Issue(
                agency=agency, revision=revision, recorded_at=recorded_at, agreement=agreement
            )
        except ValidationError as error:
            raise wording.refused(self.event_type, Issue, error) from None
        problems = [
            f"{name}: is not the value that it is published with"
            for name in Issue.model_fields
            if getattr(self, name) and getattr(self, name) != getattr(issue, name)
        ]
        if broken := _action_broken(self.action, revision):
            problems.append(f"action: {broken}")
        if problems:
            raise EventRefused(self.event_type, tuple(problems))
        return self.model_copy(update=dict(issue))

    def persons(self) -> Iterator[tuple[str, Person]]:
        """The persons of the event, each with the path of its field."""
        yield from ()

    def warnings(self) -> list[str]:
        """Doubts that do not prevent publishing: field and rule, never a value."""
        found = [
            f"{path}.nik: {doubt}"
            for path, person in self.persons()
            if person.nik and (doubt := nik.doubt(person.nik))
        ]
        if self.recorded_at and self.recorded_at < self.occurred_at:
            found.append("occurred_at: is after recorded_at")
        return found


def _action_broken(action: Action, revision: int) -> str | None:
    """The rule between action and revision that is broken, or None. Revision 0 is unknown."""
    if action is Action.UNKNOWN:
        return "is UNKNOWN; state RECORDED, CORRECTED or RETRACTED"
    if action is Action.RECORDED and revision > 1:
        return "only revision 1 may be RECORDED; a later one must be CORRECTED or RETRACTED"
    if action is not Action.RECORDED and revision == 1:
        return "the first revision of a record must be RECORDED"
    return None


def _collapsed(text: str) -> str:
    return " ".join(text.split()).casefold()
