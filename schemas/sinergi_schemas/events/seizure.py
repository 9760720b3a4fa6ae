"""Seizure (penyitaan): what investigators seized and sealed.

Government Regulation (PP) 40/2013 art. 14(3) lists what the record of a seizure must contain. An
event that lacks any of it is refused; the error names everything that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from sinergi_schemas.codes import (
    CountUnit,
    Form,
    LabResult,
    Packaging,
    PersonRole,
    Schedule,
    Substance,
)
from sinergi_schemas.events.common import Event, Letter, Part, Person, Place, in_role
from sinergi_schemas.events.deadlines import day_of, lab_is_late, permit_is_late
from sinergi_schemas.events.values import Count, Instant, Text, Weight, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ModelWrapValidatorHandler, ValidationInfo
    from pydantic_core import ErrorDetails

_MOST_PERSONS = 100
_MOST_EXHIBITS = 1000
_WITNESSES = 2

_UNCONTROLLED = frozenset({Schedule.NONE, Schedule.UNKNOWN})
_COUNTED = frozenset(
    {
        CountUnit.TABLET,
        CountUnit.PLANT,
        CountUnit.CIGARETTE,
        CountUnit.SHEET,
        CountUnit.CARTRIDGE,
    }
)
"""Units that count the substance itself and not its packets; such a count replaces a weight."""


class Exhibit(Part):
    """One lot of seized goods (barang sitaan), with its own laboratory result."""

    label: Text
    substance: Substance
    substance_as_written: Text
    schedule: Schedule
    schedule_regulation: Text | None = None
    form: Form
    colour: Text
    properties: Text
    count: Count
    count_unit: CountUnit
    gross_weight_g: Weight | None = None
    net_weight_g: Weight | None = None
    volume_ml: Weight | None = None
    packaging: Packaging | None = None
    sampled_weight_g: Weight | None = None
    sampled_count: Count | None = None
    lab_result: LabResult
    lab_letter: Letter | None = None

    @property
    def is_suspected(self) -> bool:
        """Whether the laboratory has no result yet."""
        return self.lab_result is LabResult.SUSPECTED

    def warnings(self) -> Iterator[str]:
        """Doubts about the exhibit, as field and rule."""
        weights = [each for each in (self.net_weight_g, self.gross_weight_g) if each is not None]
        if weights and weights[0] > weights[-1]:
            yield "net_weight_g: is above the gross weight"
        if self.sampled_weight_g is not None and weights and self.sampled_weight_g > max(weights):
            yield "sampled_weight_g: is above the weight"
        if self.sampled_count is not None and self.sampled_count > self.count:
            yield "sampled_count: is above the count"
        if self.schedule not in _UNCONTROLLED and self.schedule_regulation is None:
            yield "schedule_regulation: is not stated, but schedules change over time"


def _unique_labels(exhibits: tuple[Exhibit, ...]) -> tuple[Exhibit, ...]:
    if len({exhibit.label for exhibit in exhibits}) < len(exhibits):
        raise refusal("label", "two exhibits have the same label")
    return exhibits


Holder = Annotated[Person, in_role(PersonRole.OWNER, PersonRole.HOLDER, PersonRole.CLEARED)]
Investigator = Annotated[Person, in_role(PersonRole.INVESTIGATOR)]
Witness = Annotated[Person, in_role(PersonRole.WITNESS)]


class Seizure(Event):
    """A seizure and sealing, with the content that PP 40/2013 art. 14 requires."""

    event_type: ClassVar[str] = "seizure"

    order: Letter | None = None
    sealing_order: Letter | None = None
    court_permit: Letter | None = None
    place: Place
    seized_at: Instant
    sealed_at: Instant
    offence_as_written: Text | None = None
    holder_unknown: Annotated[bool, Strict()] = False
    signed: Annotated[bool, Strict()]
    holders: Annotated[tuple[Holder, ...], Field(max_length=_MOST_PERSONS)] = ()
    investigators: Annotated[tuple[Investigator, ...], Field(max_length=_MOST_PERSONS)]
    witnesses: Annotated[tuple[Witness, ...], Field(max_length=_MOST_PERSONS)]
    exhibits: Annotated[
        tuple[Exhibit, ...], Field(max_length=_MOST_EXHIBITS), AfterValidator(_unique_labels)
    ]

    @field_validator("holders")
    @classmethod
    def _none_if_unknown(
        cls, holders: tuple[Person, ...], info: ValidationInfo
    ) -> tuple[Person, ...]:
        if holders and info.data.get("holder_unknown"):
            raise refusal("holders", "are named, but holder_unknown is true")
        return holders

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # An instance is validated again, since pydantic's model_copy validates nothing.
        fields = vars(given) if isinstance(given, cls) else given
        missing = list(_missing(fields)) if isinstance(fields, Mapping) else []
        locations = {each.location for each in missing}
        details = [each.details() for each in missing]
        try:
            seizure = handler(given)
        except ValidationError as error:
            found = error.errors(include_url=False)
            details += [_as_details(each) for each in found if each["loc"] not in locations]
        else:
            if not missing:
                return seizure
        raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True)

    def persons(self) -> Iterator[tuple[str, Person]]:
        """Holders, investigators and witnesses."""
        for name in ("holders", "investigators", "witnesses"):
            for number, person in enumerate(getattr(self, name)):
                yield f"{name}[{number}]", person

    def warnings(self) -> list[str]:
        """Doubts that do not prevent publishing, including missed deadlines."""
        found = super().warnings()
        if self.occurred_at != self.seized_at:
            found.append("occurred_at: differs from seized_at")
        if self.sealed_at < self.seized_at:
            found.append("sealed_at: is before seized_at")
        found += self._missed_deadlines()
        found += (
            f"{path}.nik: is not stated; the law asks for full identities (identitas lengkap)"
            for path, person in self.persons()
            if person.nik is None and not path.startswith("holders")
        )
        for number, exhibit in enumerate(self.exhibits):
            found += (f"exhibits[{number}].{warning}" for warning in exhibit.warnings())
        return found

    def _missed_deadlines(self) -> Iterator[str]:
        """Each deadline that the dates of the seizure miss, as field and rule."""
        seized = day_of(self.seized_at, self.zone)
        recorded = day_of(self.recorded_at, self.zone) if self.recorded_at else None
        if day_of(self.sealed_at, self.zone) != seized:
            yield ("sealed_at: is not on the day of the seizure, as PP 40/2013 art. 14(1) requires")
        if self.order is None:
            yield (
                "order: is not stated; PP 40/2013 art. 14(2) requires one (surat perintah "
                "penyitaan)"
            )
        elif self.order.date and self.order.date > seized:
            yield "order: is dated after the seizure"
        if permit_is_late(seized, self.court_permit.date if self.court_permit else recorded):
            yield (
                "court_permit: is not within 5 and 2 working days of the seizure "
                "(KUHAP, UU 20/2025 arts 119-120)"
            )
        for number, exhibit in enumerate(self.exhibits):
            tested = exhibit.lab_letter.date if exhibit.lab_letter else None
            if lab_is_late(seized, tested or (recorded if exhibit.is_suspected else None)):
                yield (
                    f"exhibits[{number}].lab_result: is not within 3×24 h to hand over and 3×24 h "
                    "to test (PP 40/2013 arts 14(4), 17)"
                )


class _Missing(NamedTuple):
    """A requirement of art. 14(3) that the document does not meet."""

    location: tuple[int | str, ...]
    english: str
    indonesian: str

    def details(self) -> InitErrorDetails:
        rule = f"PP 40/2013 art. 14(3) requires the {self.english} ({self.indonesian})"
        return InitErrorDetails(type=refusal("incomplete", rule), loc=self.location, input=None)


_REQUIRED_OF_SEIZURE = {
    "seized_at": (
        "hour, day, date, month and year of seizure",
        "jam, hari, tanggal, bulan, dan tahun penyitaan",
    ),
    "sealed_at": (
        "hour, day, date, month and year of sealing",
        "jam, hari, tanggal, bulan, dan tahun penyegelan",
    ),
    "investigators": ("full identity of the investigators", "identitas lengkap penyidik"),
    "exhibits": ("goods", "barang"),
}
_REQUIRED_OF_EXHIBIT = {
    "substance_as_written": ("name", "nama"),
    "substance": ("kind", "jenis"),
    "form": ("form", "bentuk"),
    "colour": ("colour", "warna"),
    "properties": ("properties", "sifat"),
    "count": ("number of pieces", "jumlah barang"),
}


def _missing(given: Mapping[str, Any]) -> Iterator[_Missing]:
    """The requirements of art. 14(3) that `given` does not meet. It checks no other rule."""
    place = given.get("place")
    if place is None or (_has_fields(place) and _lacks(place, "name")):
        yield _Missing(("place",) if place is None else ("place", "name"), "place", "tempat")
    for name, words in _REQUIRED_OF_SEIZURE.items():
        if _lacks(given, name):
            yield _Missing((name,), *words)
    if _lacks(given, "holders") and given.get("holder_unknown") is not True:
        yield _Missing(
            ("holders",), "owner or holder, or holder_unknown", "pemilik atau yang menguasai"
        )
    if len(_list(given.get("witnesses"))) < _WITNESSES:
        yield _Missing(
            ("witnesses",), "full identity of two witnesses", "identitas lengkap 2 saksi"
        )
    signed = given.get("signed")
    if signed is None or signed is False:
        yield _Missing(
            ("signed",),
            "signatures of the investigators and two witnesses",
            "tanda tangan penyidik dan 2 saksi",
        )
    for number, exhibit in enumerate(_list(given.get("exhibits"))):
        if _has_fields(exhibit):
            yield from _missing_of_exhibit(exhibit, ("exhibits", number))


def _missing_of_exhibit(exhibit: object, path: tuple[int | str, ...]) -> Iterator[_Missing]:
    for name, words in _REQUIRED_OF_EXHIBIT.items():
        if _lacks(exhibit, name) or (name == "form" and _is_unknown(_value(exhibit, name))):
            yield _Missing((*path, name), *words)
    weighed = ("gross_weight_g", "net_weight_g", "volume_ml")
    if all(_lacks(exhibit, name) for name in weighed):
        unit = _value(exhibit, "count_unit")
        if not (isinstance(unit, str) and unit in _COUNTED):
            yield _Missing(path, "weight or number of pills", "berat atau butir")


def _as_details(found: ErrorDetails) -> InitErrorDetails:
    """Convert an error of pydantic so that it can be raised again together with others."""
    context = found.get("ctx", {})
    if "rule" in context:
        kind: PydanticCustomError | str = refusal(found["type"], context["rule"])
    else:
        kind = found["type"]
    return InitErrorDetails(type=kind, loc=found["loc"], input=None, ctx=context)


def _has_fields(part: object) -> bool:
    return isinstance(part, (Mapping, Part))


def _value(part: object, name: str) -> object:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def _lacks(part: object, name: str) -> bool:
    value = _value(part, name)
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (tuple, list)) and not value)


def _is_unknown(form: object) -> bool:
    return isinstance(form, str) and form == Form.UNKNOWN


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []
