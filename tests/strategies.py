"""Strategies for events: complete, valid, and with every unusual value that is allowed.

Those of parts are made once: hypothesis checks each new strategy, and looks for the zones of the
machine each time.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from sinergi_schemas import codes
from sinergi_schemas.codes import Action, Code, PersonRole
from sinergi_schemas.events import Event, Seizure, SuspiciousVisit, Transfer
from sinergi_schemas.events.values import MOST_INT

_INVISIBLE = {"Zs", "Zl", "Zp", "Cf"}
_MOST_WEIGHT = Decimal("99999999999999.9999")
_ZONES = ["Asia/Jakarta", "Asia/Pontianak", "Asia/Makassar", "Asia/Jayapura", "Pacific/Chatham"]


@cache
def texts(most: int = 30) -> st.SearchStrategy[str]:
    """Text of any script, without control characters and lone surrogates, and not blank."""
    characters = st.characters(exclude_categories=("Cc", "Cs"))
    return st.text(characters, min_size=1, max_size=most).filter(
        lambda text: any(unicodedata.category(each) not in _INVISIBLE for each in text)
    )


@cache
def keys() -> st.SearchStrategy[str]:
    """Identities of records: up to 256 bytes, two of them common, so that records recur."""
    return st.sampled_from(["R-1", "R-2"]) | texts(64)


@cache
def slugs() -> st.SearchStrategy[str]:
    """Names of agencies and units."""
    return st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,3}", fullmatch=True)


@cache
def offsets() -> st.SearchStrategy[timezone]:
    """Offsets from UTC that no zone need have, to the second."""
    most = 24 * 3600 - 1
    return st.integers(-most, most).map(lambda seconds: timezone(timedelta(seconds=seconds)))


@cache
def instants() -> st.SearchStrategy[datetime]:
    """Aware datetimes in odd zones and at odd offsets, in the years 1 to 9999 also in UTC."""
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    return st.sampled_from(ends) | st.datetimes(
        datetime(1, 1, 3),  # noqa: DTZ001 - the zone follows
        datetime(9999, 12, 29),  # noqa: DTZ001
        timezones=st.just(UTC) | st.timezones() | offsets(),
    )


@cache
def weights() -> st.SearchStrategy[Decimal]:
    """Grams with up to four places, from nothing to the most that the contract holds."""
    extremes = [Decimal(0), Decimal("-0"), Decimal("0.0001"), Decimal("1E+3"), _MOST_WEIGHT]
    return st.sampled_from(extremes) | st.decimals(0, _MOST_WEIGHT, places=4)


@cache
def counts() -> st.SearchStrategy[int]:
    """Numbers of things, from 1 to the most that 32 bits hold."""
    return st.integers(1, 50) | st.integers(1, MOST_INT)


@cache
def niks() -> st.SearchStrategy[str]:
    """Population numbers by their form; hardly one is plausible."""
    return st.from_regex(r"[0-9]{16}", fullmatch=True)


@cache
def one_of(code: type[Code]) -> st.SearchStrategy[Code]:
    """Any code of a list, UNKNOWN too."""
    return st.sampled_from(code)


def optional(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nothing, or some."""
    return st.none() | some


def listed(some: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Any]]:
    """A short list."""
    return st.lists(some, min_size=least, max_size=least + 2)


@cache
def set_of(code: type[Code]) -> st.SearchStrategy[list[Code]]:
    """Some codes of a list, none twice."""
    return st.lists(one_of(code), max_size=4, unique=True)


@cache
def persons(*roles: PersonRole) -> st.SearchStrategy[dict[str, Any]]:
    """A person in one of the roles."""
    return st.fixed_dictionaries(
        {"role": st.sampled_from(roles), "name": texts(), "nik": optional(niks())}
    )


@cache
def letters() -> st.SearchStrategy[dict[str, Any]]:
    """A letter."""
    return st.fixed_dictionaries(
        {
            "number": texts(),
            "issuer": optional(texts()),
            "date": optional(st.dates(date.min, date.max)),
        }
    )


@cache
def units() -> st.SearchStrategy[dict[str, Any]]:
    """A correctional unit."""
    return st.fixed_dictionaries(
        {
            "name": texts(),
            "code": optional(slugs()),
            "kind": optional(one_of(codes.UnitKind)),
            "security_level": optional(one_of(codes.SecurityLevel)),
        }
    )


@cache
def places() -> st.SearchStrategy[dict[str, Any]]:
    """A place, with both coordinates or none."""
    points = st.tuples(st.floats(-90, 90), st.floats(-180, 180)) | st.just((None, None))
    region = st.from_regex(r"[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?", fullmatch=True)
    return st.builds(
        lambda point, **rest: {"latitude": point[0], "longitude": point[1], **rest},
        point=points,
        name=texts(),
        region_code=optional(region),
        region_list_date=optional(st.dates()),
    )


def _common() -> dict[str, st.SearchStrategy[Any]]:
    related = st.fixed_dictionaries(
        {
            "other_agency": slugs(),
            "other_event_type": st.sampled_from(["seizure", "transfer", "suspicious-visit"]),
            "other_record_id": keys(),
            "relation": one_of(codes.RecordRelation),
        }
    )
    return {
        "event_id": st.uuids(),
        "record_id": keys(),
        "occurred_at": instants(),
        "occurred_precision": one_of(codes.Precision),
        "zone": st.sampled_from(_ZONES),
        "purpose": one_of(codes.Purpose),
        "handling": one_of(codes.Handling),
        "source_grade": optional(one_of(codes.SourceGrade)),
        "case_number": optional(texts()),
        "related": listed(related),
    }


def _exhibits() -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {
        "label": texts(),
        "substance": one_of(codes.Substance),
        "substance_as_written": texts(),
        "schedule": one_of(codes.Schedule),
        "schedule_regulation": optional(texts()),
        "form": st.sampled_from([form for form in codes.Form if form is not codes.Form.UNKNOWN]),
        "colour": texts(),
        "properties": texts(),
        "count": counts(),
        "gross_weight_g": optional(weights()),
        "net_weight_g": optional(weights()),
        "volume_ml": optional(weights()),
        "packaging": optional(one_of(codes.Packaging)),
        "sampled_weight_g": optional(weights()),
        "sampled_count": optional(counts()),
        "lab_result": one_of(codes.LabResult),
        "lab_letter": optional(letters()),
    }
    weighed = st.fixed_dictionaries(
        {**fields, "gross_weight_g": weights(), "count_unit": one_of(codes.CountUnit)}
    )
    pills = st.fixed_dictionaries({**fields, "count_unit": st.just(codes.CountUnit.TABLET)})
    return st.lists(
        weighed | pills, min_size=1, max_size=3, unique_by=lambda exhibit: exhibit["label"]
    )


@st.composite
def _events(draw: st.DrawFn, model: type[Event], document: Any, *, issued: bool) -> Any:
    revision = draw(st.integers(1, 3) | st.integers(1, MOST_INT)) if issued else 0
    action = draw(
        st.sampled_from(
            [each for each in Action if each is not Action.UNKNOWN]
            if revision == 0
            else [Action.RECORDED]
            if revision == 1
            else [Action.CORRECTED, Action.RETRACTED]
        )
    )
    event = model.model_validate({**draw(document), "action": action})
    if not issued:
        return event
    return event.issued(
        agency=draw(slugs()),
        agreement=draw(st.binary(min_size=32, max_size=32)).hex(),
        recorded_at=draw(instants()),
        revision=revision,
    )


@cache
def seizures(*, issued: bool = True) -> st.SearchStrategy[Seizure]:
    """Seizures, issued or as a caller hands them to `publish`."""
    fields = st.fixed_dictionaries(
        {
            **_common(),
            "order": optional(letters()),
            "sealing_order": optional(letters()),
            "court_permit": optional(letters()),
            "place": places(),
            "seized_at": instants(),
            "sealed_at": instants(),
            "offence_as_written": optional(texts()),
            "signed": st.just(value=True),
            "investigators": listed(persons(PersonRole.INVESTIGATOR), least=1),
            "witnesses": listed(persons(PersonRole.WITNESS), least=2),
            "exhibits": _exhibits(),
        }
    )
    roles = (PersonRole.OWNER, PersonRole.HOLDER, PersonRole.CLEARED)
    held = st.fixed_dictionaries({"holders": listed(persons(*roles), least=1)}) | st.just(
        {"holder_unknown": True}
    )
    return _events(Seizure, st.builds(dict.__or__, fields, held), issued=issued)


@cache
def transfers(*, issued: bool = True) -> st.SearchStrategy[Transfer]:
    """Transfers, issued or as a caller hands them to `publish`."""
    escort = st.fixed_dictionaries({"escort_agency": texts(), "count": optional(counts())})
    roles = (PersonRole.CONVICT, PersonRole.DETAINEE, PersonRole.CHILD)
    fields = st.fixed_dictionaries(
        {
            **_common(),
            "origin": units(),
            "destination": units(),
            "reason": one_of(codes.TransferReason),
            "reason_as_written": optional(texts()),
            "status_as_written": optional(texts()),
            "inmate": optional(persons(*roles)),
            "register_class": optional(one_of(codes.RegisterClass)),
            "register_number": optional(texts()),
            "risk": optional(one_of(codes.Risk)),
            "authority": optional(one_of(codes.Authority)),
            "approval": optional(letters()),
            "movement_id": optional(texts()),
            "escort": listed(escort),
        }
    )
    times = st.lists(instants(), min_size=1, max_size=2).map(sorted)
    moved = times.map(lambda found: dict(zip(("departed_at", "arrived_at"), found, strict=False)))
    return _events(Transfer, st.builds(dict.__or__, fields, moved), issued=issued)


@cache
def visits(*, issued: bool = True) -> st.SearchStrategy[SuspiciousVisit]:
    """Suspicious visits, issued or as a caller hands them to `publish`."""
    search = st.fixed_dictionaries(
        {"method": one_of(codes.SearchMethod), "result": one_of(codes.SearchResult)}
    )
    find = st.fixed_dictionaries(
        {
            "kind": one_of(codes.Goods),
            "description": texts(),
            "substance": optional(one_of(codes.Substance)),
            "concealment": optional(one_of(codes.Concealment)),
            "weight_g": optional(weights()),
        },
        optional={"count": counts()},
    )
    fields = st.fixed_dictionaries(
        {
            **_common(),
            "unit": units(),
            "inmate": optional(persons(PersonRole.CONVICT, PersonRole.DETAINEE)),
            "declared_relation": optional(one_of(codes.Relation)),
            "narrative": optional(texts(200)),
            "indicators": set_of(codes.Indicator),
            "searches": listed(search),
            "finds": listed(find),
            "outcomes": set_of(codes.Outcome),
        }
    )
    came = st.fixed_dictionaries(
        {
            "channel": st.sampled_from([codes.Channel.IN_PERSON, codes.Channel.COURIER]),
            "visitor": optional(persons(PersonRole.VISITOR, PersonRole.COURIER)),
        }
    )
    nobody = st.just({"channel": codes.Channel.NO_VISITOR})
    return _events(SuspiciousVisit, st.builds(dict.__or__, fields, came | nobody), issued=issued)


def events(*, issued: bool = True) -> st.SearchStrategy[Event]:
    """Events of every type."""
    return st.one_of(seizures(issued=issued), transfers(issued=issued), visits(issued=issued))
