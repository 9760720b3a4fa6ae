"""At an agreement's end the clocks of the agencies differ, and no event is lost."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair, transfer
from long_cases import long_after
from sinergi.cli.root import run
from sinergi_schemas import errors
from sinergi_schemas.clock import SystemClock
from test_least_privilege import SecuredPair
from test_relay import sent
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secured_kafka import Secured

MINUTE = timedelta(minutes=1)


class ShiftedClock(SystemClock):
    """The clock of a machine that is ahead of the others, or behind."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


@pytest.fixture
def pair(
    tmp_path: Path, broker: Secured, agency_slug: str, databases: Callable[[], str]
) -> AgencyPair:
    """Under an agreement that ended ten minutes ago, by the clock of the operator."""
    broker.forget()
    pair = AgencyPair(tmp_path, broker.bootstrap, agency_slug, databases(), databases())
    ended = datetime.now(UTC) - 10 * MINUTE
    pair.agreement["in_force"] = {"from": datetime(2020, 1, 1, tzinfo=UTC), "until": ended}
    return pair


@pytest.mark.parametrize("reader", long_after(1, [-1, 0, 1]), ids=["behind", "equal", "ahead"])
def test_what_was_recorded_before_the_end_arrives_after_it_whatever_time_the_reader_has(
    pair: AgencyPair, broker: Secured, reader: int
) -> None:
    pair.publisher_clock = ShiftedClock(-20 * MINUTE)
    pair.reader_clock = ShiftedClock(timedelta(days=reader))
    bus = SecuredPair(pair, broker)
    pair.publish(transfer("P/1"))
    with bus.relaying(), bus.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
        bus.until_receipted()
    assert pair.count("sinergi_consumer.quarantine") == 0


def test_a_publisher_whose_clock_is_ahead_publishes_nothing_after_the_end_by_its_own_clock(
    pair: AgencyPair,
) -> None:
    pair.publisher_clock = ShiftedClock(-9 * MINUTE)
    pair.agree(pair.agreement)
    with pytest.raises(errors.EventsRefused, match=r"pks.toml was in force until"):
        pair.publish(transfer("P/1"))
    assert sent(pair) == 0


@pytest.mark.long
def test_what_could_not_be_sent_when_the_rights_ended_is_sent_under_the_next_agreement(
    pair: AgencyPair, broker: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.publisher_clock = ShiftedClock(-20 * MINUTE)
    bus = SecuredPair(pair, broker)
    ended = ["--config", str(bus.operator), "--set", "provision.grace_hours=0"]
    assert run([*ended, "provision", "plan", "--clock-is-right"]) == 1
    assert "every agreement that names it has ended" in " ".join(capsys.readouterr().out.split())
    said: list[str] = []

    def has_said(*texts: str) -> bool:
        said.append(capsys.readouterr().err)  # and not captured logs: a command sets logging up
        return any(each in "".join(said) for each in texts)

    # A relay that is stopped raises why it could not send what it had sealed, if it had sealed it.
    with suppress(errors.Unavailable), bus.relaying():
        until(lambda: has_said("leading"), "the relay leads")
        assert run([*ended, "provision", "apply", "--clock-is-right"]) == 0
        pair.publish(transfer("P/1"))
        until(
            lambda: has_said("lacks the right Write", "does not know this user"),
            "the relay is refused",
        )
    assert sent(pair) == 0
    (before,) = pair.agreements
    following = {"from": before.ends, "until": datetime(2100, 1, 1, tzinfo=UTC)}
    pair.agree(pair.agreement | {"in_force": following, "replaces": [before.hash]}, "next.toml")
    pair.__dict__.pop("agreements")
    bus.provision()
    with bus.relaying(), bus.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
    assert pair.count("sinergi_consumer.quarantine") == 0
