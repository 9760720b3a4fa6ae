"""A later agreement takes the place of the one that it replaces, as a whole."""

from __future__ import annotations

import copy
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.agreements.replacement import ending
from sinergi_schemas.topics import Topic
from test_agreement import (
    BNNK,
    EXAMPLE,
    LAPAS,
    POLRESTA,
    read,
    refused,
    successor,
    together,
)


@pytest.fixture
def raw() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def title_of(agreements: Agreements, event_type: str, year: int) -> str:
    found = agreements.covering(LAPAS, event_type, datetime(year, 6, 1, tzinfo=UTC))
    return found.title if found else ""


def test_a_later_version_holds_as_a_whole_from_its_beginning_on(raw: dict[str, Any]) -> None:
    later = successor(raw)
    del later["events"]["suspicious-visit"]
    agreements = together(raw, later)
    assert title_of(agreements, "transfer", 2027) == "addendum"
    assert title_of(agreements, "suspicious-visit", 2027) == ""
    why = agreements.why_not_in_force(LAPAS, "suspicious-visit", datetime(2027, 6, 1, tzinfo=UTC))
    assert why.endswith(" was replaced at 2026-01-01 00:00+00:00")
    assert title_of(agreements, "transfer", 2025) == ""
    assert agreements.partitions(Topic(LAPAS, "suspicious-visit")) == 3


def test_an_agreement_that_was_replaced_is_not_in_force_again_when_the_later_one_ends(
    raw: dict[str, Any],
) -> None:
    later = successor(raw)
    later["in_force"]["until"] = datetime(2027, 1, 1, tzinfo=UTC)
    agreements = together(raw, later)
    assert title_of(agreements, "transfer", 2026) == "addendum"
    assert title_of(agreements, "transfer", 2027) == ""
    assert agreements.topics(datetime(2027, 6, 1, tzinfo=UTC)) == []
    first, last = datetime(2025, 12, 31, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
    changes = [later["in_force"][each] for each in ("from", "until")]
    assert agreements.changes_between(first, last) == changes


def test_what_a_later_version_does_not_say_any_more_is_named_for_a_month(
    raw: dict[str, Any],
) -> None:
    later = successor(raw)
    del later["events"]["suspicious-visit"]
    later["events"]["transfer"]["readers"].remove(BNNK)
    agreements = tuple(together(raw, later))
    before = datetime(2026, 1, 1, tzinfo=UTC)
    after, long_after = before + timedelta(days=29), before + timedelta(days=30)
    (line,) = ending(agreements, before)
    assert line.endswith(f"{POLRESTA} reads suspicious-visit")
    assert "is replaced, and this ended at 2026-01-01 00:00:00+00:00: " in line
    assert f"{BNNK} reads transfer" in line
    assert f"{LAPAS} publishes suspicious-visit" in line
    assert "seizure" not in line
    (line,) = ending(agreements, datetime(2025, 12, 31, tzinfo=UTC))
    assert "this ends at 2026-01-01" in line
    assert len(list(ending(agreements, after))) == 1
    assert list(ending(agreements, long_after)) == []
    assert list(ending(tuple(together(raw, successor(raw))), before)) == []


def test_what_two_later_versions_say_together_does_not_end(raw: dict[str, Any]) -> None:
    one, two = successor(raw), successor(raw)
    del one["events"]["transfer"]
    two["events"] = {"transfer": two["events"]["transfer"]}
    first = read(raw)
    files = [
        parse(Path(f"{name}.toml"), tomli_w.dumps({"replaces": [first.hash]} | each).encode())
        for name, each in (("one", one), ("two", two))
    ]
    agreements = tuple(Agreements([first, *files]))
    assert list(ending(agreements, datetime(2025, 12, 31, tzinfo=UTC))) == []


def test_an_agreement_cannot_replace_one_that_begins_later(raw: dict[str, Any]) -> None:
    later = successor(raw)
    later["in_force"]["from"] = datetime(2025, 2, 1, tzinfo=UTC)
    assert any(
        "in_force.from: is before that of" in line and "which this file replaces" in line
        for line in refused(raw, later)
    )


def test_a_reader_counts_from_the_beginning_of_the_agreement_that_names_it(
    raw: dict[str, Any],
) -> None:
    first, later = copy.deepcopy(raw), successor(raw)
    first["events"]["transfer"]["readers"].remove(BNNK)
    agreements, topic = together(first, later), Topic(LAPAS, "transfer")
    before, after = (datetime(year, 12, 31, tzinfo=UTC) for year in (2025, 2026))
    assert BNNK not in agreements.readers_since(topic, before)
    for found in (agreements.readers_since(topic, after), agreements.readers_since(topic)):
        assert found[BNNK].title == "addendum"
