"""A look at a service costs a tenth of the time at most, and shows nothing that is no longer so."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sinergi.metrics import definitions
from sinergi.metrics.families import gauge
from sinergi.metrics.health import Health
from sinergi.metrics.looks import Look, LooksCollector
from sinergi_schemas.clock import SystemClock
from sinergi_schemas.errors import BrokerAway, DatabaseAway, LockHeld, SinergiError, TopicMissing
from sinergi_schemas.observer import WorkState
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

PAUSE_SECONDS = 10.0


@dataclass
class SetClock(SystemClock):
    """A clock that a test sets."""

    at: float = 0.0

    def monotonic(self) -> float:
        return self.at


def families(found: float) -> Iterator[Metric]:
    yield gauge(definitions.LEASE_HELD, found)


def look_of(
    read: Callable[[], float], clock: SystemClock, pause: float = PAUSE_SECONDS
) -> Look[float]:
    return Look("database", read, families, pause, clock)


def shown(look: Look[float]) -> dict[str, float]:
    """The value of each metric that is shown."""
    found = LooksCollector([look]).collect()
    return {family.name: each.value for family in found for each in family.samples}


def test_before_its_first_look_has_ended_nothing_is_shown() -> None:
    assert shown(look_of(lambda: 1.0, SetClock())) == {"sinergi_look_up": 0}


def test_what_a_look_has_found_is_shown_until_the_next_one() -> None:
    clock = SetClock()
    look = look_of(lambda: 1.0, clock)
    look.look()
    clock.at = 7
    assert shown(look) == {
        "sinergi_look_up": 1,
        "sinergi_look_seconds": 0,
        "sinergi_look_age_seconds": 7,
        "sinergi_lease_held": 1,
    }


def test_a_process_is_not_ready_after_a_look_that_the_brokers_did_not_answer() -> None:
    """Until it looks again, or until its own messages come through."""
    clock = SetClock()
    found: list[float | SinergiError] = [1.0, BrokerAway("refused"), TopicMissing("a"), 1.0]
    answers = iter(found)

    def read() -> float:
        answer = next(answers)
        if isinstance(answer, float):
            return answer
        raise answer

    look = look_of(read, clock)
    health = Health(clock, 600, [look])
    health.entered(WorkState.WORKING, "")
    for at, is_ready in ((1, True), (2, False), (3, True), (4, True)):
        clock.at = at
        look.look()
        assert health.ready().is_well == is_ready
    look.failure = BrokerAway("refused")
    assert "BrokerAway" in health.ready().text
    clock.at = 5
    health.served()
    assert health.ready().is_well


@pytest.mark.parametrize(
    ("failure", "is_ready"),
    [
        (DatabaseAway("none", "connection timeout expired"), False),
        (DatabaseAway("none", "connection refused"), False),
        (DatabaseAway("none", "FATAL: sorry, too many clients already"), True),
        (DatabaseAway("57014"), True),
        (LockHeld("55P03"), True),
    ],
)
def test_a_database_that_gives_a_look_no_answer_makes_a_process_not_ready(
    failure: DatabaseAway, *, is_ready: bool
) -> None:
    """Its loop may wait for the same database without an end, and says nothing meanwhile."""
    clock = SetClock()

    def read() -> float:
        raise failure

    look = look_of(read, clock)
    health = Health(clock, 600, [look])
    health.entered(WorkState.WORKING, "")
    clock.at = 1
    look.look()
    assert health.ready().is_well == is_ready
    assert (
        is_ready or health.ready().text == "working, but cannot look at the database: DatabaseAway"
    )
    clock.at = 2
    health.served()
    assert health.ready().is_well


@pytest.mark.parametrize("fault", [DatabaseAway("57P01"), KeyError("a fault of ours")])
def test_after_a_look_that_failed_nothing_is_shown_and_its_reason_is_logged_once(
    fault: Exception,
) -> None:
    clock, answers = SetClock(), iter([1.0, fault, fault, 2.0])

    def read() -> float:
        answer = next(answers)
        if isinstance(answer, float):
            return answer
        raise fault

    look = look_of(read, clock)
    with capture_logs() as logs:
        for _ in range(3):
            look.look()
        assert shown(look) == {
            "sinergi_look_up": 0,
            "sinergi_look_seconds": 0,
            "sinergi_look_age_seconds": 0,
        }
        look.look()
    assert shown(look)["sinergi_lease_held"] == 2
    events = [each["event"] for each in logs if each["event"] != "a look failed"]
    assert events == ["metrics not read", "metrics are read again"]


def test_what_was_found_before_a_look_that_never_ends_is_shown_for_ten_pauses() -> None:
    clock = SetClock()
    look = look_of(lambda: 1.0, clock)
    look.look()
    clock.at = 10 * PAUSE_SECONDS
    assert shown(look)["sinergi_lease_held"] == 1
    clock.at += 1
    assert shown(look) == {
        "sinergi_look_up": 0,
        "sinergi_look_seconds": 0,
        "sinergi_look_age_seconds": 10 * PAUSE_SECONDS + 1,
    }


def test_a_look_that_takes_long_is_taken_less_often() -> None:
    clock = SetClock()

    def read() -> float:
        clock.at += 60
        return 1.0

    look = look_of(read, clock)
    look.look()
    clock.at += 10 * 9 * 60
    assert shown(look)["sinergi_look_up"] == 1
    clock.at += 1
    assert shown(look)["sinergi_look_up"] == 0


@pytest.mark.parametrize(
    ("pause", "after_failure", "after_success"), [(60.0, 10.0, 72.0), (1.0, 10.0, 72.0)]
)
def test_after_a_look_that_failed_the_next_one_comes_soon(
    pause: float, after_failure: float, after_success: float
) -> None:
    """The brokers did not answer for eight seconds; readiness may not wait nine times as long."""
    clock, pauses = SetClock(), list[float | None]()

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return super().wait(0)

    def read() -> float:
        clock.at += 8
        if not pauses:
            raise BrokerAway("no answer")
        stopping.set()
        return 1.0

    look = look_of(read, clock, pause)
    look._stopping = stopping = Stopping()
    look._run()
    assert pauses == [after_failure, after_success]


def test_looks_go_on_until_they_are_stopped() -> None:
    seen: list[str] = []

    def read() -> float:
        seen.append(threading.current_thread().name)
        return float(len(seen))

    # Its clock stands still: what was found is shown for three pauses only.
    look = look_of(read, SetClock(), pause=0.001)
    look.start()
    until(lambda: len(seen) > 3, "it looks again and again")
    look.stop()
    count = len(seen)
    assert set(seen) == {"look-database"}
    assert shown(look)["sinergi_lease_held"] == count
