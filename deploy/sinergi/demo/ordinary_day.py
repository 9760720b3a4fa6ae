"""An ordinary day: many officers write at once, some of them on one record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sinergi.demo.errors import DemoFailed
from sinergi.demo.fiction import at, changed, exhibit, holder, seizure
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from sinergi.demo.agencies import Agency
    from sinergi.demo.teller import Storyline
    from sinergi_schemas.events import Event, Seizure

_OFFICERS = 4
_CASES = 20


def ordinary_day(teller: Storyline) -> None:
    """Small cases of two agencies, each with a commit of its own, and one that all correct."""
    teller.screen.chapter(
        "An ordinary day",
        "Many write at once and commit in any order. Nobody waits for the bus, and none is lost.",
    )
    teller.clock.turn_to(at(28, 16))
    began = SYSTEM.monotonic()
    with ThreadPoolExecutor(2 * _OFFICERS) as officers:
        work = [
            officers.submit(_small_cases, agency, prefix, officer)
            for agency, prefix in ((teller.polresta, "LP/A/R"), (teller.bnnk, "LKN/R"))
            for officer in range(_OFFICERS)
        ]
        told = [event for each in work for event in each.result()]
    seconds = SYSTEM.monotonic() - began
    teller.told.note(told)
    teller.screen.say(
        f"{2 * _OFFICERS} officers of two agencies commit {len(told)} seizures in {seconds:.2f} s."
    )
    _all_correct(teller, _case("LP/A/R", 0, 0))


def _all_correct(teller: Storyline, case: Seizure) -> None:
    """Several officers correct one record at the same moment."""
    corrections = [changed(case, case_number=f"BP/{each}/III/2026") for each in range(_OFFICERS)]
    with ThreadPoolExecutor(_OFFICERS) as officers:
        revised = list(officers.map(teller.polresta.commits, corrections))
    teller.told.note(revised)
    revisions = sorted(each.revision for each in revised)
    if revisions != list(range(2, 2 + _OFFICERS)):
        raise DemoFailed(f"{case.record_id} has revisions {revisions}", "there is a hole")
    teller.screen.say(
        f"{_OFFICERS} of them correct the same record at the same moment: revisions"
        f" {', '.join(map(str, revisions))}, no hole and none twice."
    )


def _small_cases(agency: Agency, prefix: str, officer: int) -> list[Event]:
    return [agency.commits(_case(prefix, officer, number)) for number in range(_CASES)]


def _case(prefix: str, officer: int, number: int) -> Seizure:
    grams = Decimal(3_000 + 97 * number + officer).scaleb(-4)
    return seizure(
        f"{prefix}/{officer:02}/{number:02}/III/2026",
        at(28, 8) + timedelta(minutes=number),
        holders=(holder(f"Contoh Harian {officer}-{number}"),),
        exhibits=(exhibit("1", str(grams), 1),),
    )
