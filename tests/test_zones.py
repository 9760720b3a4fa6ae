"""Zones are found by their IANA names alone, and no foreign text does anything else."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi.cli.output import _in_zone
from sinergi_schemas.agreements.period import read_period
from sinergi_schemas.zones import find_zone, local_text, zone_names

# For the first three `ZoneInfo` raises a TypeError; the next are other zones on other machines.
NOT_ZONES = (
    "__init__/x", "Asia/__init__/x", "Asia/__pycache__/x",
    "localtime", "posixrules", "Factory", "posix/Asia/Jakarta", "right/Asia/Jakarta",
    "", ".", "..", "/", "../x", "/etc/passwd", "Asia", "Asia/", "asia/jakarta", "Mars/Base",
    "Asia/Jakarta\0", "Asia/Jakarta ", "\ud800", "x" * 100_000, None, 7, True, ["Asia/Jakarta"],
)  # fmt: skip


# In Jakarta it would be in the year 10000.
LAST = datetime(9999, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("name", NOT_ZONES, ids=lambda name: repr(name)[:20])
def test_what_names_no_zone_finds_none(name: object) -> None:
    assert find_zone(name) is None


def test_a_time_for_people_is_in_this_machines_zone_with_its_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    time.tzset()
    try:
        shown = [local_text(at) for at in (datetime(2026, 3, 9, 1, tzinfo=UTC), LAST)]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown == ["2026-03-09 08:00:00+07:00", "9999-12-31 23:00:00+00:00"]


@given(st.text() | st.sampled_from([*sorted(zone_names())]))
def test_any_text_finds_its_zone_or_none(name: str) -> None:
    expected = ZoneInfo(name) if name in zone_names() else None
    assert find_zone(name) == expected


@pytest.mark.parametrize("zone", [each for each in NOT_ZONES if isinstance(each, str)])
def test_an_agreement_with_another_zone_is_refused(zone: str) -> None:
    period = read_period({"from": date(2026, 1, 1), "until": date(2026, 12, 31), "zone": zone})
    assert [key for key, _ in period.problems][:1] == ["zone"]
    assert (period.starts, period.ends) == (None, None)


@pytest.mark.parametrize("zone", [each for each in NOT_ZONES if isinstance(each, str)])
def test_a_time_in_an_unknown_zone_is_shown_in_utc(zone: str) -> None:
    assert _in_zone(datetime(2026, 3, 9, tzinfo=UTC), zone) == "2026-03-09T00:00:00+00:00"
