"""The rules of events: what is refused, with which words, and what only warns."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sinergi_schemas.codes import Action, Code, Form
from sinergi_schemas.errors import EventRefused, EventTypeUnknown
from sinergi_schemas.events import MODELS, Event, Person, Seizure, Transfer, nik, parse, revalidated
from sinergi_schemas.events.deadlines import working_days_after
from strategies import events, instants, seizures, weights

SECRET = "Contoh Rahasia"
NIK = "9999990101900001"
NAIVE = datetime(2026, 3, 3)  # noqa: DTZ001 - to be refused
ISSUE: dict[str, Any] = {
    "agency": "lapas-rekaan",
    "agreement": "ab" * 32,
    "recorded_at": datetime(2026, 3, 3, 6, 0, tzinfo=UTC),
    "revision": 1,
}


def common(**changed: Any) -> dict[str, Any]:
    return {
        "record_id": "R-1",
        "action": "RECORDED",
        "occurred_at": "2026-03-03T10:40:00+07:00",
        "zone": "Asia/Jakarta",
        "purpose": "INVESTIGATION",
        "handling": "R",
        **changed,
    }


def transfer(**changed: Any) -> dict[str, Any]:
    return common(
        origin={"name": "Lapas Kelas IIA Rekaan"},
        destination={"name": "Lapas Khusus Rekaan"},
        departed_at="2026-03-03T10:40:00+07:00",
        reason="SECURITY",
        **changed,
    )


def exhibit(**changed: Any) -> dict[str, Any]:
    return {
        "label": "A",
        "substance": "METHAMPHETAMINE",
        "substance_as_written": "sabu",
        "schedule": "NARCOTIC_I",
        "schedule_regulation": "UU 35/2009",
        "form": "CRYSTAL",
        "colour": "putih bening",
        "properties": "tidak berbau",
        "count": 12,
        "count_unit": "PACKET",
        "gross_weight_g": "4.82",
        "lab_result": "SUSPECTED",
        **changed,
    }


def person(role: str, name: str = "Contoh Satu") -> dict[str, Any]:
    return {"role": role, "name": name, "nik": NIK}


def seizure(**changed: Any) -> dict[str, Any]:
    return {
        **common(),
        "order": {"number": "SP.Sita/1/III/2026", "date": "2026-03-03"},
        "place": {"name": "Lapas Kelas IIA Rekaan", "region_code": "35.10"},
        "seized_at": "2026-03-03T10:40:00+07:00",
        "sealed_at": "2026-03-03T11:00:00+07:00",
        "signed": True,
        "holders": [person("HOLDER")],
        "investigators": [person("INVESTIGATOR")],
        "witnesses": [person("WITNESS"), person("WITNESS", "Contoh Tiga")],
        "exhibits": [exhibit()],
        **changed,
    }


def visit(**changed: Any) -> dict[str, Any]:
    return common(
        **{
            "unit": {"name": "Lapas Kelas IIA Rekaan"},
            "channel": "IN_PERSON",
            "visitor": person("VISITOR"),
            "inmate": person("CONVICT", "Contoh Dua"),
            "indicators": ["NEAR_CLOSING", "HURRIED"],
            **changed,
        }
    )


WHOLE = {"seizure": seizure, "transfer": transfer, "suspicious-visit": visit}


def problems(event_type: str, document: dict[str, Any]) -> list[str]:
    with pytest.raises(EventRefused) as caught:
        parse(event_type, document)
    assert caught.value.event_type == event_type
    return list(caught.value.problems)


def warnings(event_type: str, document: dict[str, Any]) -> list[str]:
    return parse(event_type, document).warnings()


# What is refused in every event


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_whole_event_is_taken_without_a_warning(event_type: str) -> None:
    assert warnings(event_type, WHOLE[event_type]()) == []


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("record_id", "", "is blank, but it is required"),
        ("record_id", "é" * 129, "is longer than 256 bytes"),
        ("record_id", 7, "is not text"),
        ("case_number", "LP/1\x00", "contains a control character"),
        ("case_number", "LP/1\n", "contains a control character"),
        ("case_number", "LP/1\x7f", "contains a control character"),
        ("case_number", "LP/1\x9f", "contains a control character"),
        ("case_number", "\ud800", "contains half of a surrogate pair, which is not a character"),
        ("case_number", "\u200b \u00a0", "is blank: leave it out if nothing is known"),
        ("case_number", "x" * 301, "is longer than 300 characters"),
        ("zone", "Asia/Banyuwangi", "is not an IANA zone, such as Asia/Jakarta"),
        ("zone", "asia/jakarta", "is not an IANA zone, such as Asia/Jakarta"),
        ("zone", "../../etc/passwd", "is not an IANA zone, such as Asia/Jakarta"),
        ("zone", "localtime", "is not an IANA zone, such as Asia/Jakarta"),
        ("occurred_at", "2026-03-03T10:40:00", "has no offset from UTC: state its zone"),
        ("occurred_at", NAIVE, "has no offset from UTC: state its zone"),
        ("occurred_at", 1772500000, "is not a time, such as 2026-03-03T09:50:00+07:00"),
        ("occurred_at", "1772500000", "is not a time, such as 2026-03-03T09:50:00+07:00"),
        ("occurred_at", "2026-02-30T10:40Z", "is not a time, such as 2026-03-03T09:50:00+07:00"),
        (
            "occurred_at",
            "2026-03-03T10:40:00.1234567Z",
            "is not a time, such as 2026-03-03T09:50:00+07:00",
        ),
        (
            "occurred_at",
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=7))),
            "is outside the years 1 to 9999 in UTC",
        ),
        ("handling", "SECRET", "is not a code of its list; state UNKNOWN if nothing else fits"),
        ("purpose", None, "is not a code of its list; state UNKNOWN if nothing else fits"),
        ("source_grade", "G7", "is not a code of its list; state UNKNOWN if nothing else fits"),
        ("event_id", "not-one", "is not a UUID"),
        ("revision", True, "is not a whole number"),
        ("revision", "1", "is not a whole number"),
        ("revision", 2**31, "is more than 2147483647"),
        ("agency", "Lapas Rekaan", "is not a slug: lower-case words joined by hyphens, 63 at most"),
        ("agreement", "AB" * 32, "is not a SHA-256 in lower-case hexadecimal"),
        ("action", "UNKNOWN", "is UNKNOWN; state RECORDED, CORRECTED or RETRACTED"),
        ("surprise", 1, "is not a field of Transfer; did you mean purpose?"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused(field: str, value: object, rule: str) -> None:
    assert problems("transfer", transfer(**{field: value})) == [f"{field}: {rule}"]


@pytest.mark.parametrize("written", ["990101900001", NIK + "0", "99999901019000O1", "٩" * 16, " "])
def test_a_nik_that_is_not_16_digits_is_refused(written: str) -> None:
    inmate = {**person("CONVICT"), "nik": written}
    assert problems("transfer", transfer(inmate=inmate)) == ["inmate.nik: is not 16 digits"]


def test_a_nik_is_never_a_number() -> None:
    inmate = {**person("CONVICT"), "nik": int(NIK)}
    assert problems("transfer", transfer(inmate=inmate)) == ["inmate.nik: is not text"]


def test_all_problems_are_named_at_once_and_in_no_other_words_than_the_rules() -> None:
    document = transfer(
        zone="Nowhere",
        arrived_at="2026-03-02T00:00:00Z",
        inmate={"role": "WITNESS", "name": SECRET, "nik": NIK},
        related=[{"other_agency": SECRET, "other_event_type": "seizure", "other_record_id": "1"}],
    )
    assert problems("transfer", document) == [
        "zone: is not an IANA zone, such as Asia/Jakarta",
        "related[0].other_agency: is not a slug: lower-case words joined by hyphens, 63 at most",
        "related[0].relation: is required",
        "arrived_at: is before departed_at",
        "inmate: does not have the role CONVICT or DETAINEE or CHILD",
    ]


def garbage() -> st.SearchStrategy[Any]:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.decimals()
        | st.dates()
        | st.datetimes()
        | st.just(SECRET)
        | st.binary(max_size=4)
    )
    return st.recursive(
        leaves,
        lambda some: (
            st.lists(some, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "nik", "label", "form", "number"]), some)
        ),
        max_leaves=6,
    )


def refusal_of(event_type: str, document: dict[str, Any]) -> EventRefused | None:
    try:
        parse(event_type, document)
    except EventRefused as refusal:
        return refusal
    return None


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_no_garbage_does_more_than_be_refused_and_no_refusal_tells_a_value(
    event_type: str, data: st.DataObject
) -> None:
    names = st.sampled_from(list(MODELS[event_type].model_fields))
    document = WHOLE[event_type]() | data.draw(
        st.dictionaries(names, garbage(), min_size=1, max_size=3)
    )
    refusal = refusal_of(event_type, document)
    if refusal is not None:
        assert refusal.problems
        assert SECRET not in str(refusal)
        assert NIK not in str(refusal)
        assert "breaks the rule" not in str(refusal)


def test_an_unknown_event_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EventTypeUnknown, match=", ".join(MODELS)):
        parse("parole", {})


def test_what_pydantic_raises_tells_no_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Person(role="VISITOR", name=SECRET, nik=SECRET)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)
    assert str(caught.value).splitlines() == [
        "1 validation error for Person",
        "nik",
        "  is not 16 digits [type=string_pattern_mismatch]",
    ]


def test_an_event_cannot_be_changed() -> None:
    event = parse("transfer", transfer())
    with pytest.raises(ValidationError):
        event.record_id = "R-2"


# What values become


@given(instants())
def test_a_time_is_kept_to_the_microsecond_in_utc(instant: datetime) -> None:
    event = parse("transfer", transfer() | {"departed_at": instant, "occurred_at": instant})
    # Across zones Python calls no time equal to one that its zone's clocks left out.
    assert event.occurred_at == instant.astimezone(UTC)
    assert event.occurred_at.tzinfo is UTC


@given(weights())
def test_a_weight_keeps_its_value_and_has_four_places(weight: Decimal) -> None:
    (found,) = parsed_seizure(exhibits=[exhibit(gross_weight_g=weight)]).exhibits
    assert found.gross_weight_g == weight
    assert found.gross_weight_g is not None
    assert found.gross_weight_g.as_tuple().exponent == -4
    assert not found.gross_weight_g.is_signed()


@pytest.mark.parametrize(
    ("weight", "rule"),
    [
        ("0.00001", "has more than 4 decimal places"),
        (Decimal("4.82000001"), "has more than 4 decimal places"),
        ("-1", "is negative"),
        ("100000000000000", "has more than 14 whole digits"),
        (4.82, "is not a decimal: give text or a Decimal, never a binary float"),
        (True, "is not a decimal: give text or a Decimal, never a binary float"),
        ("4,82", "is not a plain number: write 4.82, with a decimal point"),
        ("1e3", "is not a plain number: write 4.82, with a decimal point"),
        (Decimal("NaN"), "is not a finite number"),
        (Decimal("Infinity"), "is not a finite number"),
        (Decimal("1e-400"), "has more than 4 decimal places"),
        (Decimal("1e400"), "has more than 14 whole digits"),
    ],
)
def test_no_weight_is_ever_rounded_or_guessed(weight: object, rule: str) -> None:
    found = problems("seizure", seizure(exhibits=[exhibit(gross_weight_g=weight)]))
    assert found == [f"exhibits[0].gross_weight_g: {rule}"]


def parsed_seizure(**changed: Any) -> Seizure:
    event = parse("seizure", seizure(**changed))
    assert isinstance(event, Seizure)
    return event


@given(events())
def test_an_event_comes_through_its_own_json_unchanged(event: Event) -> None:
    document = json.loads(event.model_dump_json(), parse_float=Decimal)
    assert parse(event.event_type, document) == event


@given(events())
def test_warnings_of_a_valid_event_name_a_field_and_a_rule(event: Event) -> None:
    for warning in event.warnings():
        path, _, rule = warning.partition(": ")
        assert path.split(".")[0].split("[")[0] in type(event).model_fields
        assert rule


# Issuing


def test_an_issued_event_has_all_that_publish_adds() -> None:
    event = Transfer.model_validate(transfer())
    assert not event.is_issued
    assert event.event_id.version == 7
    issued = event.issued(**ISSUE)
    assert issued.is_issued
    assert (issued.agency, issued.revision) == ("lapas-rekaan", 1)
    assert issued.event_id == event.event_id
    assert parse("transfer", issued.model_dump()) == issued


def test_an_event_issued_for_the_database_to_number_is_not_issued_yet() -> None:
    event = parse("transfer", transfer()).issued(**ISSUE | {"revision": 0})
    assert not event.is_issued
    assert event.issued(**ISSUE).is_issued


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"agency": ""}, "agency: is not a slug: lower-case words joined by hyphens, 63 at most"),
        ({"agreement": ""}, "agreement: is not a SHA-256 in lower-case hexadecimal"),
        (
            {"recorded_at": NAIVE},
            "recorded_at: has no offset from UTC: state its zone",
        ),
        ({"revision": -1}, "revision: is less than 0"),
        (
            {"revision": 2},
            "action: only revision 1 may be RECORDED; a later one must be CORRECTED or RETRACTED",
        ),
    ],
)
def test_an_event_is_not_issued_with_what_breaks_a_rule(changed: dict[str, Any], rule: str) -> None:
    with pytest.raises(EventRefused) as caught:
        parse("transfer", transfer()).issued(**ISSUE | changed)
    assert list(caught.value.problems) == [rule]


def test_an_event_of_another_agency_than_the_topics_owner_is_not_issued() -> None:
    event = parse("transfer", transfer(agency="polresta-rekaan"))
    with pytest.raises(EventRefused, match="agency: is not the value"):
        event.issued(**ISSUE)


@pytest.mark.parametrize(
    ("action", "revision", "fits"),
    [
        (Action.RECORDED, 1, True),
        (Action.RECORDED, 2, False),
        (Action.CORRECTED, 1, False),
        (Action.CORRECTED, 2, True),
        (Action.RETRACTED, 1, False),
        (Action.RETRACTED, 9, True),
    ],
)
def test_only_the_first_revision_is_recorded(action: Action, revision: int, fits: bool) -> None:  # noqa: FBT001
    document = transfer(action=action, revision=revision)
    if fits:
        assert parse("transfer", document).revision == revision
    else:
        (problem,) = problems("transfer", document)
        assert problem.startswith("action: ")


# Seizures


ART_14_3 = "PP 40/2013 art. 14(3) requires the "


def test_an_incomplete_seizure_is_refused_with_all_that_is_missing_named_at_once() -> None:
    bare = {"label": "A", "schedule": "NARCOTIC_I", "lab_result": "SUSPECTED"}
    document = common(exhibits=[{**bare, "count_unit": "PACKET"}], witnesses=[person("WITNESS")])
    assert problems("seizure", document) == [
        f"{path}: {ART_14_3}{item}"
        for path, item in [
            ("place", "place (tempat)"),
            (
                "seized_at",
                (
                    "hour, day, date, month and year of seizure"
                    " (jam, hari, tanggal, bulan, dan tahun penyitaan)"
                ),
            ),
            (
                "sealed_at",
                (
                    "hour, day, date, month and year of sealing"
                    " (jam, hari, tanggal, bulan, dan tahun penyegelan)"
                ),
            ),
            ("investigators", "full identity of the investigators (identitas lengkap penyidik)"),
            ("holders", "owner or holder, or holder_unknown (pemilik atau yang menguasai)"),
            ("witnesses", "full identity of two witnesses (identitas lengkap 2 saksi)"),
            (
                "signed",
                (
                    "signatures of the investigators and two witnesses"
                    " (tanda tangan penyidik dan 2 saksi)"
                ),
            ),
            ("exhibits[0].substance_as_written", "name (nama)"),
            ("exhibits[0].substance", "kind (jenis)"),
            ("exhibits[0].form", "form (bentuk)"),
            ("exhibits[0].colour", "colour (warna)"),
            ("exhibits[0].properties", "properties (sifat)"),
            ("exhibits[0].count", "number of pieces (jumlah barang)"),
            ("exhibits[0]", "weight or number of pills (berat atau butir)"),
        ]
    ]


def test_what_is_missing_is_named_beside_what_is_wrong() -> None:
    document = seizure(zone="Nowhere", signed=False, exhibits=[exhibit(colour=" ", count="12")])
    found = problems("seizure", document)
    assert f"exhibits[0].colour: {ART_14_3}colour (warna)" in found
    assert "zone: is not an IANA zone, such as Asia/Jakarta" in found
    assert "exhibits[0].count: is not a whole number" in found
    assert len(found) == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"place": None},
        {"place": {"name": "  "}},
        {"seized_at": None},
        {"sealed_at": None},
        {"investigators": []},
        {"witnesses": []},
        {"witnesses": [person("WITNESS")]},
        {"holders": []},
        {"holders": [], "holder_unknown": False},
        {"signed": False},
        {"exhibits": []},
        *(
            {"exhibits": [exhibit(**{name: None})]}
            for name in (
                "substance",
                "substance_as_written",
                "form",
                "colour",
                "properties",
                "count",
            )
        ),
        {"exhibits": [exhibit(form=Form.UNKNOWN)]},
        {"exhibits": [exhibit(gross_weight_g=None)]},
    ],
    ids=str,
)
def test_nothing_that_the_law_lists_may_be_missing(changed: dict[str, Any]) -> None:
    (problem,) = problems("seizure", seizure(**changed))
    assert ART_14_3 in problem


def test_an_owner_who_is_not_known_is_stated_and_not_left_out() -> None:
    assert parsed_seizure(holders=[], holder_unknown=True).holders == ()
    assert problems("seizure", seizure(holder_unknown=True)) == [
        "holders: are named, but holder_unknown is true"
    ]


def test_pills_may_be_counted_instead_of_weighed_and_packets_may_not() -> None:
    pills = exhibit(count_unit="TABLET", form="TABLET", count=49, gross_weight_g=None)
    assert parsed_seizure(exhibits=[pills]).exhibits[0].count == 49
    liquid = exhibit(form="LIQUID", gross_weight_g=None, volume_ml="2.5")
    assert parsed_seizure(exhibits=[liquid]).exhibits[0].volume_ml == Decimal("2.5000")


def test_two_exhibits_under_one_label_are_refused() -> None:
    assert problems("seizure", seizure(exhibits=[exhibit(), exhibit()])) == [
        "exhibits: two exhibits have the same label"
    ]


def test_persons_stand_where_their_role_belongs() -> None:
    document = seizure(holders=[person("WITNESS")], investigators=[person("UNKNOWN")])
    assert problems("seizure", document) == [
        "holders[0]: does not have the role OWNER or HOLDER or CLEARED",
        "investigators[0]: does not have the role INVESTIGATOR",
    ]


def test_a_seizure_made_in_python_is_held_to_the_law_too() -> None:
    with pytest.raises(ValidationError) as caught:
        Seizure(**common())
    assert len(caught.value.errors()) == 8


@given(seizures(issued=False))
def test_a_complete_seizure_is_never_called_incomplete(event: Seizure) -> None:
    assert parse("seizure", event.model_dump()) == event
    assert revalidated(event) == event


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"order": None}, "order: is not stated; PP 40/2013 art. 14(2) requires one"),
        ({"order": {"number": "1", "date": "2026-03-04"}}, "order: is dated after the seizure"),
        ({"sealed_at": "2026-03-03T10:00:00+07:00"}, "sealed_at: is before seized_at"),
        ({"sealed_at": "2026-03-04T00:10:00+07:00"}, "sealed_at: is not on the day of the seizure"),
        ({"occurred_at": "2026-03-03T10:41:00+07:00"}, "occurred_at: differs from seized_at"),
        (
            {"court_permit": {"number": "1", "date": "2026-03-13"}},
            "court_permit: is not within 5 and 2 working days",
        ),
        (
            {"exhibits": [exhibit(net_weight_g="4.8201")]},
            "exhibits[0].net_weight_g: is above the gross weight",
        ),
        (
            {"exhibits": [exhibit(sampled_weight_g="5")]},
            "exhibits[0].sampled_weight_g: is above the weight",
        ),
        (
            {"exhibits": [exhibit(sampled_count=13)]},
            "exhibits[0].sampled_count: is above the count",
        ),
        (
            {"exhibits": [exhibit(schedule_regulation=None)]},
            "exhibits[0].schedule_regulation: is not stated",
        ),
        (
            {"exhibits": [exhibit(lab_letter={"number": "1/NNF/2026", "date": "2026-03-10"})]},
            "exhibits[0].lab_result: is not within 3×24 h",
        ),
        (
            {"investigators": [{"role": "INVESTIGATOR", "name": "Contoh"}]},
            "investigators[0].nik: is not stated",
        ),
    ],
    ids=str,
)
def test_what_only_looks_wrong_in_a_seizure_warns(changed: dict[str, Any], warning: str) -> None:
    (found,) = warnings("seizure", seizure(**changed))
    assert found.startswith(warning)


def test_deadlines_kept_on_their_last_day_do_not_warn() -> None:
    kept = seizure(
        court_permit={"number": "1", "date": "2026-03-12"},
        exhibits=[exhibit(lab_letter={"number": "1", "date": "2026-03-09"})],
    )
    assert warnings("seizure", kept) == []


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (6, []),
        (7, ["exhibits[0].lab_result"]),
        (9, ["exhibits[0].lab_result"]),
        (10, ["court_permit", "exhibits[0].lab_result"]),
    ],
)
def test_a_deadline_that_passed_without_a_word_warns_when_told(
    days: int, expected: list[str]
) -> None:
    told = datetime(2026, 3, 3, 6, 0, tzinfo=UTC) + timedelta(days=days)
    event = parse("seizure", seizure()).issued(**ISSUE | {"recorded_at": told})
    assert [warning.partition(":")[0] for warning in event.warnings()] == expected


def test_the_deadline_for_the_permit_does_not_reach_back_before_its_law() -> None:
    old = {"seized_at": "2025-12-30T10:40:00+07:00", "sealed_at": "2025-12-30T10:40:00+07:00"}
    permit = {"number": "1", "date": "2026-02-13"}
    order = {"number": "1", "date": "2025-12-30"}
    document = seizure(**old, occurred_at=old["seized_at"], order=order, court_permit=permit)
    assert warnings("seizure", document) == []


def test_working_days_pass_over_saturdays_and_sundays() -> None:
    friday = date(2026, 3, 6)
    assert working_days_after(friday, 1) == date(2026, 3, 9)
    assert working_days_after(friday, 7) == date(2026, 3, 17)
    assert working_days_after(date(2026, 3, 7), 1) == date(2026, 3, 9)


# Transfers and visits


def test_an_arrival_at_the_moment_of_departure_is_taken() -> None:
    event = parse("transfer", transfer(arrived_at="2026-03-03T03:40:00Z"))
    assert isinstance(event, Transfer)
    assert event.arrived_at == event.departed_at


@pytest.mark.parametrize(
    ("origin", "destination", "same"),
    [
        ({"name": "Lapas  Kelas IIA"}, {"name": "lapas kelas IIA "}, True),
        ({"name": "Lapas A", "code": "lapas-a"}, {"name": "Lapas A", "code": "lapas-b"}, False),
        ({"name": "Lapas A", "code": "lapas-a"}, {"name": "Lapas B", "code": "lapas-a"}, True),
        ({"name": "Lapas A", "code": "lapas-a"}, {"name": "Lapas A"}, True),
        ({"name": "Lapas A"}, {"name": "Lapas B"}, False),
    ],
)
def test_a_transfer_to_the_same_unit_warns(
    origin: dict[str, str],
    destination: dict[str, str],
    same: bool,  # noqa: FBT001
) -> None:
    document = transfer() | {"origin": origin, "destination": destination}
    expected = ["destination: is the same unit as origin"] if same else []
    assert warnings("transfer", document) == expected


def test_a_transfer_under_way_that_is_held_openly_warns() -> None:
    moving = transfer(inmate=person("CONVICT")) | {"handling": "T"}
    warning = "handling: a transfer under way must be at least R (rahasia)"
    assert warnings("transfer", moving) == [warning]
    assert warnings("transfer", {**moving, "arrived_at": "2026-03-04T00:00:00Z"}) == []
    assert warnings("transfer", {**moving, "inmate": None}) == []


def test_a_visitor_where_nobody_came_is_refused() -> None:
    assert problems("suspicious-visit", visit(channel="NO_VISITOR")) == [
        "visitor: is named, but the channel is NO_VISITOR"
    ]


def test_a_drone_has_no_visitor_and_is_no_reason_to_warn() -> None:
    find = {"kind": "NARCOTICS", "description": "30 g", "weight_g": "30", "concealment": "DRONE"}
    drone = visit(channel="NO_VISITOR", visitor=None, inmate=None, finds=[find])
    assert warnings("suspicious-visit", drone) == []


def test_an_indicator_named_twice_is_refused() -> None:
    document = visit(indicators=["HURRIED", "HURRIED"])
    assert problems("suspicious-visit", document) == ["indicators: contains a value twice"]


def test_a_unit_of_counting_needs_a_count() -> None:
    find = {"kind": "MEDICINE", "description": "pil", "count_unit": "TABLET"}
    assert problems("suspicious-visit", visit(finds=[find])) == [
        "finds[0].count_unit: is stated without a count"
    ]


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"indicators": []}, "indicators: are empty, and finds are empty as well"),
        ({"visitor": None}, "visitor: is not named, but the channel is IN_PERSON"),
        (
            {"finds": [{"kind": "PHONE", "description": "hp"}], "outcomes": ["NOTHING_FOUND"]},
            "outcomes: contains NOTHING_FOUND, but there are finds",
        ),
    ],
)
def test_what_only_looks_wrong_in_a_visit_warns(changed: dict[str, Any], warning: str) -> None:
    assert warnings("suspicious-visit", visit(**changed)) == [warning]


# Population numbers


@pytest.mark.parametrize(
    ("number", "doubt"),
    [
        ("9999990101900001", None),
        ("3510010101900001", None),
        ("3510014101900001", None),
        ("3510017112000001", None),
        ("3510012902000001", None),
        ("0010010101900001", "its first six digits are not a region"),
        ("3500010101900001", "its first six digits are not a region"),
        ("9899990101900001", "its first six digits are not a region"),
        ("3510013201900001", "its digits 7 to 10 are not a day and month"),
        ("3510014001900001", "its digits 7 to 10 are not a day and month"),
        ("3510010013900001", "its digits 7 to 10 are not a day and month"),
        ("3510013002900001", "its digits 7 to 10 are not a day and month"),
        ("3510010101900000", "its serial number is 0000"),
    ],
)
def test_an_implausible_nik_warns_and_is_never_refused(number: str, doubt: str | None) -> None:
    assert nik.doubt(number) == doubt
    expected = [f"inmate.nik: {doubt}"] if doubt else []
    inmate = {**person("CONVICT"), "nik": number}
    assert warnings("transfer", transfer(inmate=inmate)) == expected


def test_no_list_of_codes_takes_a_code_of_another() -> None:
    event = parse("suspicious-visit", visit())
    assert all(isinstance(each, Code) for each in event.indicators)  # type: ignore[attr-defined]
    assert problems("suspicious-visit", visit(outcomes=["HURRIED"])) == [
        "outcomes[0]: is not a code of its list; state UNKNOWN if nothing else fits"
    ]


def test_event_ids_are_fresh() -> None:
    one, other = (Transfer.model_validate(transfer()) for _ in range(2))
    assert isinstance(one.event_id, UUID)
    assert one.event_id != other.event_id
