"""The people, places and papers of the stories. All of it is made up: "Rekaan" is fiction.

Population numbers (NIK) are of region 999999, which does not exist.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sinergi.demo.agencies import LAPAS
from sinergi_schemas import events
from sinergi_schemas.codes import (
    Action,
    Authority,
    Channel,
    Concealment,
    CountUnit,
    Form,
    Goods,
    Handling,
    LabResult,
    Packaging,
    PersonRole,
    Purpose,
    RecordRelation,
    RegisterClass,
    Schedule,
    SecurityLevel,
    Substance,
    TransferReason,
    UnitKind,
)
from sinergi_schemas.events import (
    Event,
    Exhibit,
    Find,
    Letter,
    Person,
    Place,
    RelatedRecord,
    Seizure,
    SuspiciousVisit,
    Transfer,
    Unit,
)

EventT = TypeVar("EventT", bound=Event)

WIB, WITA = "Asia/Jakarta", "Asia/Makassar"

PRISON = Unit(
    name="Lapas Kelas IIA Rekaan",
    code="lapas-rekaan",
    kind=UnitKind.LAPAS_IIA,
    security_level=SecurityLevel.MEDIUM,
)
SPECIAL_PRISON = Unit(
    name="Lapas Khusus Rekaan",
    code="lapas-khusus-rekaan",
    kind=UnitKind.LAPAS_KHUSUS,
    security_level=SecurityLevel.SUPER_MAXIMUM,
)
REMAND_CENTRE = Unit(name="Rutan Kelas IIB Rekaan", code="rutan-rekaan", kind=UnitKind.RUTAN_IIB)

_OFFICERS = (Person(role=PersonRole.INVESTIGATOR, name="Penyidik Rekaan", nik="9999991505850001"),)
_WITNESSES = (
    Person(role=PersonRole.WITNESS, name="Saksi Rekaan Satu", nik="9999991203880001"),
    Person(role=PersonRole.WITNESS, name="Saksi Rekaan Dua", nik="9999994707910002"),
)


def at(day: int, hour: int, minute: int = 0, zone: str = WIB) -> datetime:
    """A moment of March 2026 by the clocks of a zone."""
    return datetime(2026, 3, day, hour, minute, tzinfo=ZoneInfo(zone))


def convict(name: str) -> Person:
    """A sentenced inmate."""
    return Person(role=PersonRole.CONVICT, name=name)


def holder(name: str, role: PersonRole = PersonRole.HOLDER) -> Person:
    """A person with whom something was found."""
    return Person(role=role, name=name)


def visit(number: str, when: datetime, **more: Any) -> SuspiciousVisit:
    """A suspicious visit, revision 1."""
    said: dict[str, Any] = {
        "unit": PRISON,
        "channel": Channel.GOODS_LEFT,
        "zone": WIB,
        "purpose": Purpose.INVESTIGATION,
        "handling": Handling.T,
        **more,
    }
    return SuspiciousVisit(record_id=number, action=Action.RECORDED, occurred_at=when, **said)


def transfer(number: str, when: datetime, inmate: Person, letter: str, **more: Any) -> Transfer:
    """A transfer to the special prison, revision 1, at its departure."""
    said: dict[str, Any] = {
        "zone": WIB,
        "purpose": Purpose.PRISON_SECURITY,
        "handling": Handling.R,
        "origin": PRISON,
        "destination": SPECIAL_PRISON,
        "departed_at": when,
        "reason": TransferReason.SECURITY,
        "inmate": inmate,
        "register_class": RegisterClass.B_I,
        "authority": Authority.REGIONAL_OFFICE,
        "approval": Letter(number=letter, issuer="Kanwil Ditjenpas Rekaan", date=when.date()),
        **more,
    }
    return Transfer(record_id=number, action=Action.RECORDED, occurred_at=when, **said)


def exhibit(label: str, grams: str, packets: int, **more: Any) -> Exhibit:
    """Packets of crystals that look like methamphetamine, weighed with their wrapping."""
    said: dict[str, Any] = {
        "substance": Substance.METHAMPHETAMINE,
        "substance_as_written": "diduga sabu",
        "schedule": Schedule.NARCOTIC_I,
        "schedule_regulation": "Permenkes 30/2023",
        "form": Form.CRYSTAL,
        "colour": "putih",
        "properties": "kristal, tidak berbau",
        "count": packets,
        "count_unit": CountUnit.PACKET,
        "gross_weight_g": Decimal(grams),
        "packaging": Packaging.PLASTIC_CLIP,
        "lab_result": LabResult.SUSPECTED,
        **more,
    }
    return Exhibit(label=label, **said)


def seizure_document(number: str, when: datetime, **more: Any) -> dict[str, Any]:
    """The fields of a seizure as an investigator enters them, not checked yet."""
    return {
        "record_id": number,
        "action": Action.RECORDED,
        "occurred_at": when,
        "zone": WIB,
        "purpose": Purpose.INVESTIGATION,
        "handling": Handling.T,
        "order": Letter(number=f"SP.Sita/{number}", date=when.date()),
        "place": Place(name="Lapas Kelas IIA Rekaan", region_code="35.10"),
        "seized_at": when,
        "sealed_at": when,
        "signed": True,
        "investigators": _OFFICERS,
        "witnesses": _WITNESSES,
        **more,
    }


def seizure(number: str, when: datetime, **more: Any) -> Seizure:
    """A complete seizure, revision 1."""
    return Seizure(**seizure_document(number, when, **more))


def changed(event: EventT, action: Action = Action.CORRECTED, **changes: Any) -> EventT:
    """A record's next revision: its whole state again, with some of it changed."""
    given = event.model_dump(exclude={"event_id", *Event.ISSUED})
    stated = events.parse(event.event_type, {**given, "action": action, **changes})
    if not isinstance(stated, type(event)):
        raise TypeError(f"{event.event_type} became {stated.event_type}")
    return stated


def packets(description: str, count: int, concealment: Concealment = Concealment.FOOD) -> Find:
    """Packets of narcotics that a search found."""
    return Find(
        kind=Goods.NARCOTICS,
        description=description,
        concealment=concealment,
        count=count,
        count_unit=CountUnit.PACKET,
    )


def handed_over(visit_number: str) -> RelatedRecord:
    """The relation of a seizure to the visit from which its exhibits came."""
    return RelatedRecord(
        other_agency=LAPAS.slug,
        other_event_type="suspicious-visit",
        other_record_id=visit_number,
        relation=RecordRelation.HANDED_OVER_FROM,
    )


def tested_exhibits(day: int) -> tuple[Exhibit, ...]:
    """The twelve packets after the laboratory test: eleven are confirmed, one is refuted."""
    letter = Letter(number="1626/NNF/2026", issuer="Labfor Rekaan", date=at(day, 0).date())
    sound = exhibit(
        "A.1",
        "4.4100",
        11,
        net_weight_g=Decimal("3.1047"),
        lab_result=LabResult.CONFIRMED,
        lab_letter=letter,
    )
    return (sound, refuted_exhibit("A.2", "0.4100", letter))


def refuted_exhibit(label: str, grams: str, letter: Letter) -> Exhibit:
    """One packet of salt: the laboratory found no controlled substance."""
    return exhibit(
        label,
        grams,
        1,
        substance=Substance.NOT_CONTROLLED,
        substance_as_written="garam",
        schedule=Schedule.NONE,
        schedule_regulation=None,
        lab_result=LabResult.REFUTED,
        lab_letter=letter,
    )
