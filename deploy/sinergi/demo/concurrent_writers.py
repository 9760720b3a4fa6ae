"""Many officers write at once, some of them about one record."""

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
    from sinergi.demo.scenario import Scenario
    from sinergi_schemas.events import Event, Seizure

_OFFICERS = 4
_CASES = 20


def concurrent_writers(scenario: Scenario) -> None:
    """Publish small cases of two agencies, one commit each; correct one of them concurrently."""
    scenario.screen.chapter(
        "6 · Concurrent writers",
        "Many write at once and commit in any order. Nobody waits for the bus; no event is lost.",
    )
    scenario.clock.turn_to(at(28, 16))
    began = SYSTEM.monotonic()
    with ThreadPoolExecutor(2 * _OFFICERS) as officers:
        work = [
            officers.submit(_publish_cases, agency, prefix, officer)
            for agency, prefix in ((scenario.polresta, "LP/A/R"), (scenario.bnnk, "LKN/R"))
            for officer in range(_OFFICERS)
        ]
        published = [event for each in work for event in each.result()]
    seconds = SYSTEM.monotonic() - began
    scenario.expected.add(published)
    scenario.screen.say(
        f"{2 * _OFFICERS} officers of two agencies commit {len(published)} seizures in"
        f" {seconds:.2f} s."
    )
    _correct_one_record(scenario, _case("LP/A/R", 0, 0))


def _correct_one_record(scenario: Scenario, case: Seizure) -> None:
    """Several officers correct one record at the same time."""
    corrections = [changed(case, case_number=f"BP/{each}/III/2026") for each in range(_OFFICERS)]
    with ThreadPoolExecutor(_OFFICERS) as officers:
        revised = list(officers.map(scenario.polresta.publish, corrections))
    scenario.expected.add(revised)
    revisions = sorted(each.revision for each in revised)
    if revisions != list(range(2, 2 + _OFFICERS)):
        raise DemoFailed(f"{case.record_id} has revisions {revisions}", "a revision is missing")
    scenario.screen.say(
        f"{_OFFICERS} of them correct the same record at the same time: revisions"
        f" {', '.join(map(str, revisions))}, none missing and none twice."
    )


def _publish_cases(agency: Agency, prefix: str, officer: int) -> list[Event]:
    return [agency.publish(_case(prefix, officer, number)) for number in range(_CASES)]


def _case(prefix: str, officer: int, number: int) -> Seizure:
    grams = Decimal(3_000 + 97 * number + officer).scaleb(-4)
    return seizure(
        f"{prefix}/{officer:02}/{number:02}/III/2026",
        at(28, 8) + timedelta(minutes=number),
        holders=(holder(f"Contoh Harian {officer}-{number}"),),
        exhibits=(exhibit("1", str(grams), 1),),
    )
