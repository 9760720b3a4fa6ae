"""A filter of a replay returns the events that meet its conditions, and no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from sinergi_consumers.audit.event_filter import (
    CaseCondition,
    LeafCondition,
    PersonCondition,
    RecordCondition,
    RegionCondition,
    ReplayFilter,
    SimilarNameCondition,
    TimeCondition,
    UnitCondition,
)
from sinergi_consumers.audit.similar_names import SimilarName, is_similar, words_of
from sinergi_consumers.decode import frames
from sinergi_consumers.decode.layout import Layout
from sinergi_schemas import codec
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events.common import Part, Person, Place, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_consumers.audit.event_filter import EventCondition
    from sinergi_schemas.events import Event

    Holds = Callable[[Event], bool]

CATALOG = Catalog.shipped()
OTHER = "no event has this"


def parts_of(value: object) -> Iterator[Part]:
    """Every part of an event at any depth."""
    if isinstance(value, Part):
        yield value
        for name in type(value).model_fields:
            yield from parts_of(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from parts_of(each)


def persons(event: Event) -> list[Person]:
    return [each for each in parts_of(event) if isinstance(each, Person)]


def units(event: Event) -> list[Unit]:
    return [each for each in parts_of(event) if isinstance(each, Unit)]


def regions(event: Event) -> list[str]:
    places = (each for each in parts_of(event) if isinstance(each, Place))
    return [each.region_code for each in places if each.region_code]


def frame_of(*events: Event) -> pl.DataFrame:
    schema = CATALOG.newest(events[0].event_type)
    decoded = frames.decode([codec.encode(each, schema) for each in events], schema)
    assert not decoded.refused
    return Layout.of(schema).flatten(decoded.frame)


def chosen(events: list[Event], *conditions: EventCondition) -> list[Event]:
    schema = CATALOG.newest(events[0].event_type).event
    frame = frame_of(*events).with_row_index("at")
    found = ReplayFilter(conditions=conditions).choose(frame, schema)
    return [events[at] for at in found["at"]]


@cache
def some_events() -> st.SearchStrategy[list[Event]]:
    kinds = (strategies.seizures, strategies.transfers, strategies.visits)
    return st.one_of(*(st.lists(kind(), min_size=1, max_size=4) for kind in kinds))


@st.composite
def events_and_value(
    draw: st.DrawFn, values: Callable[[Event], list[str]]
) -> tuple[list[Event], str]:
    """Some events, and a value of one of them, or one that no event has."""
    events = draw(some_events())
    return events, draw(st.sampled_from([OTHER, *(each for e in events for each in values(e))]))


@given(events_and_value(lambda event: [each.nik for each in persons(event) if each.nik]))
def test_a_nik_finds_every_event_with_such_a_person_in_any_role(
    given_: tuple[list[Event], str],
) -> None:
    events, nik = given_
    expected = [each for each in events if any(one.nik == nik for one in persons(each))]
    assert chosen(events, PersonCondition("nik", nik)) == expected


@given(events_and_value(lambda event: [each.name for each in persons(event)]))
def test_a_name_finds_the_events_with_a_person_of_this_name(
    given_: tuple[list[Event], str],
) -> None:
    events, name = given_
    expected = [each for each in events if any(one.name == name for one in persons(each))]
    of_this_name = chosen(events, PersonCondition("name", name))
    assert [each for each in expected if each not in of_this_name] == []
    folded = " ".join(name.split()).casefold()
    for each in of_this_name:
        assert folded in {" ".join(one.name.split()).casefold() for one in persons(each)}
    if SimilarName(name).words:
        similar = SimilarNameCondition(SimilarName(name))
        found = chosen(events, similar)
        assert [each for each in expected if each not in found] == []
        assert {one.name for each in expected for one in persons(each) if one.name == name} <= (
            similar.spellings
        )


@given(events_and_value(lambda event: [name for each in units(event) for name in names(each)]))
def test_a_unit_is_found_by_its_code_and_by_its_name(given_: tuple[list[Event], str]) -> None:
    events, unit = given_
    expected = [each for each in events if any(unit in names(one) for one in units(each))]
    found = chosen(events, UnitCondition(unit))
    assert [each for each in expected if each not in found] == []
    if unit == OTHER:
        assert found == []


def names(unit: Unit) -> list[str]:
    return [unit.name, unit.code] if unit.code else [unit.name]


@given(events_and_value(regions), st.integers(min_value=1, max_value=4))
def test_a_region_is_found_by_its_code_and_by_that_of_a_region_around_it(
    given_: tuple[list[Event], str], parts: int
) -> None:
    events, region = given_
    around = ".".join(region.split(".")[:parts])
    expected = [
        each for each in events if any(f"{one}.".startswith(f"{around}.") for one in regions(each))
    ]
    assert chosen(events, RegionCondition(around)) == expected


@given(some_events(), st.data())
def test_several_conditions_hold_together(events: list[Event], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(events))
    assert one.recorded_at
    conditions: dict[EventCondition, Holds] = {
        RecordCondition(one.record_id): lambda each: each.record_id == one.record_id,
        TimeCondition("occurred_at", since=one.occurred_at): lambda each: (
            each.occurred_at >= one.occurred_at
        ),
        TimeCondition("recorded_at", until=one.recorded_at): lambda each: (
            not each.recorded_at or not one.recorded_at or each.recorded_at < one.recorded_at
        ),
    }
    asked = data.draw(st.lists(st.sampled_from([*conditions]), unique=True))
    expected = [each for each in events if all(conditions[it](each) for it in asked)]
    assert chosen(events, *asked) == expected


@given(some_events(), st.data())
def test_a_case_number_is_found_in_any_case_and_with_any_spaces(
    events: list[Event], data: st.DataObject
) -> None:
    def folded(number: str | None) -> str | None:
        return number and "".join(number.split()).lower()

    cases = [each.case_number for each in events if each.case_number]
    if not cases:
        assert chosen(events, CaseCondition(OTHER)) == []
        return
    case = data.draw(st.sampled_from(cases))
    expected = [each for each in events if folded(each.case_number) == folded(case)]
    for asked in (case, f"  {case.replace(' ', '   ')} ", case.replace(" ", "")):
        assert chosen(events, CaseCondition(asked)) == expected


def test_a_leaf_is_found_in_its_partition() -> None:
    frame = pl.DataFrame({"partition": [0, 0, 1, 1], "leaf_index": [3, 4, 3, 9]})
    schema = CATALOG.newest("transfer").event
    met = LeafCondition(1, 3, 8).expression(frame, schema)
    assert frame.filter(met).rows() == [(1, 3)]


def test_the_end_of_an_interval_is_not_within_it() -> None:
    at = datetime(2026, 3, 3, 10, tzinfo=UTC)
    frame = pl.DataFrame({"recorded_at": [at, at + timedelta(microseconds=1)]})
    schema = CATALOG.newest("transfer").event
    assert frame.filter(TimeCondition("recorded_at", at, at).expression(frame, schema)).is_empty()
    until = at + timedelta(microseconds=1)
    within = TimeCondition("recorded_at", at, until).expression(frame, schema)
    assert frame.filter(within)["recorded_at"].to_list() == [at]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("Slamet Riyadi", "SLAMET RIYADI"),
        ("Slamet Riyadi", "Riyadi, Slamet"),
        ("Slamet Riyadi", "Slamet Rijadi"),
        ("Slamet Riyadi", "Slamet Riyadi bin Soekarno"),
        ("Sukarno", "Soekarno"),
        ("Joyoboyo", "Djojobojo"),
        ("Cokroaminoto", "Tjokroaminoto"),
        ("Muhammad Arif", "M. Arif"),
        ("Muhammad Arif", "Mohammad Arief"),
        ("Ma'ruf", "Maruf"),
        ("José", "Jose"),
        ("Budi", "Budy"),
        ("Andi", "Adni"),
        ("Rudi Budi", "Budi Ruda"),
    ],
)
def test_a_similar_name_may_be_written_in_another_way(wanted: str, found: str) -> None:
    assert SimilarName(wanted).matches(found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("Slamet Riyadi", "Slamet"),
        ("Slamet Slamet", "Slamet Riyadi"),
        ("Budi", "Joko"),
        ("Ali", "Adi"),
        ("Sukarno", "Suharto"),
        ("A. Budi", "Budi"),
        ("...", "Budi"),
        ("", "Budi"),
    ],
)
def test_another_name_is_not_similar(wanted: str, found: str) -> None:
    assert not SimilarName(wanted).matches(found)


@given(strategies.texts(), strategies.texts())
def test_every_name_is_similar_to_itself_and_to_itself_with_more_words(
    name: str, more: str
) -> None:
    if SimilarName(name).words:
        assert SimilarName(name).matches(name)
        assert SimilarName(name).matches(f"{more} {name.upper()}")


few_words = st.lists(
    st.one_of(st.text("abu", min_size=1, max_size=2), st.text("bdru", min_size=4, max_size=5)),
    max_size=5,
)


@given(few_words, few_words)
def test_names_are_similar_if_any_assignment_of_their_words_is(
    wanted: list[str], found: list[str]
) -> None:
    name, other = " ".join(wanted), " ".join(found)
    words = words_of(name)
    expected = any(
        all(is_similar(word, each) for word, each in zip(words, order, strict=True))
        for order in permutations(words_of(other), len(words))
    )
    assert SimilarName(name).matches(other) == (bool(words) and expected)


@given(st.text("abcdefgh", min_size=1, max_size=9), st.text("abcdefgh", min_size=1, max_size=9))
def test_two_words_are_similar_in_either_order(one: str, other: str) -> None:
    assert is_similar(one, other) == is_similar(other, one)


def test_words_are_compared_in_todays_spelling() -> None:
    assert words_of("DJOEANDA  Kartawidjaja") == ("juanda", "kartawijaja")
