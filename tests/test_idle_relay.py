"""A relay to which nothing comes asks the database seldom, and finds the next event soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_pair import AgencyPair, running, transfer
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.idle_pause import idle_pause
from sinergi_schemas.clock import SYSTEM, SystemClock
from sinergi_schemas.timeouts import DEFAULT, RelayTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINUTE = 60.0
MOST_A_SECOND = 5.0
TRANSACTIONS = 24


class ClockAhead(SystemClock):
    """A clock that a test moves on, and that goes on by itself."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def clock() -> ClockAhead:
    return ClockAhead()


@pytest.fixture
def pair(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str], clock: ClockAhead
) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), publisher_clock=clock)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the relay in this process sends to its database: each transaction begins with BEGIN."""
    found: list[str] = []
    execute: Any = psycopg.Connection.execute

    def noted(connection: Any, query: str | bytes, *rest: Any, **options: Any) -> Any:
        found.append(query.decode() if isinstance(query, bytes) else query)
        return execute(connection, query, *rest, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    return found


def are_sent(pair: AgencyPair, count: int) -> bool:
    question = "SELECT coalesce(sum(sent_size), 0) FROM sinergi_producer.tree"
    return bool(pair.ask(question, pair.producer)[0][0] == count)


@pytest.mark.long
def test_a_relay_asks_less_than_five_queries_a_second_after_a_minute_without_events(
    pair: AgencyPair, clock: ClockAhead, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    with running(build_relay(pair.relay_setup).run) as stopping:
        wait = stopping.wait

        def noted(seconds: float | None = None) -> bool:
            pauses.append(seconds or 0.0)
            return wait(seconds)

        monkeypatch.setattr(stopping, "wait", noted)
        pair.publish(transfer("P/1"))
        pair.until(lambda: are_sent(pair, 1), "the event is sent")
        clock.ahead += MINUTE
        longest = DEFAULT.relay.idle_most
        # What the relay does once a minute comes first.
        pair.until(lambda: pauses[-9:] == [longest] * 9, "the pause has grown")
        begun = SYSTEM.monotonic()
        first = len(statements)
        pair.until(
            lambda: sum(each.startswith("BEGIN") for each in statements[first:]) >= TRANSACTIONS,
            "transactions of an idle relay",
        )
        asked, seconds = statements[first:], SYSTEM.monotonic() - begun
        pair.publish(transfer("P/2"))
        pair.until(lambda: are_sent(pair, 2), "the next event is sent")
        pair.until(lambda: pauses[-1] < longest, "the pause is short again")
    begins = [each for each in asked if each.startswith("BEGIN")]
    assert len(begins) / seconds < MOST_A_SECOND
    assert (len(asked) - len(begins)) / seconds < MOST_A_SECOND


@given(st.floats(0, 1e6), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_pause_lies_between_its_bounds_and_never_shrinks_while_no_row_comes(
    seconds: float, least: float, most: float
) -> None:
    timeouts = RelayTimeouts(idle=least, idle_most=most)
    found = idle_pause(seconds, timeouts)
    assert least <= found <= max(least, most)
    assert found <= idle_pause(2 * seconds, timeouts)


def test_a_pause_is_a_hundredth_of_the_time_for_which_no_row_came() -> None:
    assert [idle_pause(each, DEFAULT.relay) for each in (0.0, 5.0, 10.0, 23.0, 3_600.0)] == [
        pytest.approx(each) for each in (0.05, 0.05, 0.1, 0.23, 0.23)
    ]
