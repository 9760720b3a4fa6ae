"""The events that are measured with: made up, the same for everybody, from a fixed seed.

Nine in ten speak of a new record; the tenth is a later revision of an earlier one.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro

from sinergi_producers.relay.sealing import OutboxRow
from sinergi_schemas.catalog import Catalog, Schema
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events import Seizure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


Document = dict[str, Any]

SEED = 40_2013
NO_AGREEMENT = "0" * 64
FLAT = "flat"
SEIZURE = "seizure"

_START = datetime(2025, 1, 1, tzinfo=UTC)
_SUBSTANCES = ("metamfetamina", "ganja", "heroin", "MDMA", "kokain")
_ONE_IN = 10


def catalog(event_type: str) -> Catalog:
    """A catalogue of one event type: the flat one of this folder, or one of the contract."""
    if event_type == FLAT:
        text = Path(__file__).with_name("flat.avsc").read_bytes()
        return Catalog([Schema.from_bytes(FLAT, 1, 1, text)])
    return Catalog(Catalog.shipped().versions(event_type))


def documents(
    event_type: str, agency: str, count: int, agreement: str = NO_AGREEMENT
) -> Iterator[Document]:
    """So many events of a type, in the order in which they are published.

    Args:
        agreement: the hash of the one that they fall under; readers set apart those without it.
    """
    draw = random.Random(SEED)  # noqa: S311 - samples, no secrets
    body = _BODIES[event_type]
    revisions: list[int] = []
    for number in range(count):
        if number % _ONE_IN == _ONE_IN - 1:
            record = draw.randrange(len(revisions))
            revisions[record] += 1
        else:
            record = len(revisions)
            revisions.append(1)
        at = _START + timedelta(seconds=number, microseconds=draw.randrange(1_000_000))
        yield {
            "event_id": _event_id(draw, at),
            "agency": agency,
            "record_id": f"LP/2025/{record:08d}",
            "revision": revisions[record],
            "action": "RECORDED" if revisions[record] == 1 else "CORRECTED",
            "occurred_at": at,
            "recorded_at": at + timedelta(minutes=7),
            "zone": "Asia/Jakarta",
            "agreement": agreement,
            "purpose": "INVESTIGATION",
        } | body(draw, at)


def rows(
    event_type: str, agency: str, count: int, agreement: str = NO_AGREEMENT
) -> Iterator[OutboxRow]:
    """The same events as rows of an outbox."""
    schema = catalog(event_type).newest(event_type)
    parsed = fastavro.parse_schema(schema.parsed)
    for number, document in enumerate(documents(event_type, agency, count, agreement), start=1):
        datum = BytesIO()
        fastavro.schemaless_writer(datum, parsed, document)
        yield OutboxRow(
            number,
            document["event_id"],
            event_type,
            document["record_id"].encode(),
            document["recorded_at"],
            schema.fingerprint,
            datum.getvalue(),
            None,
            document["revision"],
        )


def event(agency: str, number: int) -> Seizure:
    """A seizure of a new record, as an agency hands it to `publish`; its commit is its time."""
    draw = random.Random(SEED + number)  # noqa: S311 - samples, no secrets
    now = SYSTEM.now()
    common = {
        "record_id": f"LP/{agency}/{number}",
        "action": "RECORDED",
        "occurred_at": now,
        "zone": "Asia/Jakarta",
        "purpose": "INVESTIGATION",
    }
    return Seizure.model_validate(common | _seizure(draw, now))


def _event_id(draw: random.Random, at: datetime) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7) of that time, as `publish` gives them."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(
        int=milliseconds << 80
        | 7 << 76
        | draw.getrandbits(12) << 64
        | 2 << 62
        | draw.getrandbits(62)
    )


def _weight(draw: random.Random) -> Decimal:
    return Decimal(draw.randrange(1, 50_000_000)).scaleb(-4)


def _flat(draw: random.Random, _: datetime) -> Document:
    region = draw.randrange(38)
    return {
        "order_number": f"SP/{draw.randrange(1000)}/I/2025",
        "substance": draw.choice(_SUBSTANCES),
        "gross_weight_g": _weight(draw),
        "net_weight_g": _weight(draw),
        "purity": draw.random(),
        "count": draw.randrange(1, 500),
        "officer": f"Petugas {draw.randrange(500)}",
        "remark": None if draw.random() < 0.5 else "disegel",
        "place": {
            "name": f"Dermaga {region}",
            "region_code": f"35.{region:02d}.01",
            "latitude": -8 + draw.random(),
            "longitude": 114 + draw.random(),
        },
    }


def _letter(draw: random.Random, issuer: str) -> Document:
    number = f"SP/{draw.randrange(10_000)}/I/2025"
    return {"number": number, "issuer": issuer, "date": date(2025, 1, 2)}


def _person(draw: random.Random, role: str) -> Document:
    return {"role": role, "name": f"Orang Rekaan {draw.randrange(900)}", "nik": None}


def _exhibit(draw: random.Random, label: str) -> Document:
    return {
        "label": label,
        "substance": "METHAMPHETAMINE",
        "substance_as_written": "sabu",
        "schedule": "NARCOTIC_I",
        "schedule_regulation": "Permenkes 30/2023",
        "form": "CRYSTAL",
        "colour": "putih",
        "properties": "kristal, larut dalam air",
        "count": draw.randrange(1, 20),
        "count_unit": "PACKET",
        "gross_weight_g": _weight(draw),
        "net_weight_g": _weight(draw),
        "volume_ml": None,
        "packaging": None,
        "sampled_weight_g": Decimal("0.1000"),
        "sampled_count": None,
        "lab_result": "SUSPECTED",
        "lab_letter": None,
    }


def _seizure(draw: random.Random, at: datetime) -> Document:
    return {
        "occurred_precision": "EXACT",
        "handling": "R",
        "source_grade": None,
        "case_number": f"LKN/{draw.randrange(10_000)}/I/2025",
        "related": [],
        "order": _letter(draw, "Polresta Rekaan"),
        "sealing_order": None,
        "court_permit": _letter(draw, "PN Rekaan"),
        "place": {
            "name": "Pelabuhan Rekaan",
            "region_code": "35.10",
            "region_list_date": None,
            "latitude": -8 + draw.random(),
            "longitude": 114 + draw.random(),
        },
        "seized_at": at,
        "sealed_at": at + timedelta(hours=2),
        "offence_as_written": "Pasal 112 ayat (2)",
        "holder_unknown": False,
        "signed": True,
        "holders": [_person(draw, "HOLDER")],
        "investigators": [_person(draw, "INVESTIGATOR")],
        "witnesses": [_person(draw, "WITNESS"), _person(draw, "WITNESS")],
        "exhibits": [_exhibit(draw, "A"), _exhibit(draw, "B")],
    }


_BODIES: dict[str, Callable[[random.Random, datetime], Document]] = {
    FLAT: _flat,
    SEIZURE: _seizure,
}
