"""A history that is partitioned by month is verified, rebuilt and reconciled as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair, transfer
from long_cases import long_after
from sinergi import migrate
from verified_database import COUNT, VerifiedDatabase, copied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HISTORY = "sinergi.transfer_history"
ESCORT = "sinergi.transfer_history_escort"
OF_P3 = "WHERE record_id = 'P/3' AND revision = 1"


def partition(pair: AgencyPair) -> None:
    migrate.partition(pair.consumer_url, pair.projections, lambda _: None, is_wanted=True)


@pytest.fixture
def partitioned(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> VerifiedDatabase:
    """One that has rows from before its history was partitioned, and from after."""
    found = VerifiedDatabase(
        AgencyPair(tmp_path, kafka, agency_slug, databases(), databases()), capsys
    )
    found.fill()
    partition(found.pair)
    with found.working():
        found.pair.publish(transfer("P/100"), transfer("P/3", "CORRECTED", movement_id="m3"))
        found.pair.until_rows(HISTORY, COUNT + 2)
        found.until_receipted()
    return found


def test_it_is_proved_and_equal_to_the_outbox(partitioned: VerifiedDatabase) -> None:
    status, out, err = partitioned.run("verify")
    assert status == 0, (out, err)
    assert err.splitlines()[-1] == "verdict: 11 of 11 parts proved"
    status, out, err = partitioned.run("rebuild", "transfer_history")
    assert status == 0, (out, err)


ATTACKS = {
    "a value edited": (f"UPDATE {HISTORY} SET reason = 'SECURITY' {OF_P3}", HISTORY),
    "a row deleted": (f"DELETE FROM {HISTORY} WHERE record_id = 'P/100'", HISTORY),
    "a row added": (copied(HISTORY, "P/100", record_id="P/666"), HISTORY),
    "a row moved to another month": (
        f"UPDATE {HISTORY} SET recorded_at = '2001-01-01' WHERE record_id = 'P/100'",
        HISTORY,
    ),
    "a revision there twice, in two months": (
        copied(HISTORY, "P/100", recorded_at="2001-01-01T00:00:00+00:00"),
        HISTORY,
    ),
    "an item edited": (f"UPDATE {ESCORT} SET count = 50 {OF_P3}", ESCORT),
    "an item deleted": (f"DELETE FROM {ESCORT} WHERE record_id = 'P/100'", ESCORT),
    "an item there twice, in two months": (
        copied(ESCORT, "P/100", event_recorded_at="2001-01-01T00:00:00+00:00"),
        ESCORT,
    ),
    "a partition dropped": (f"DROP TABLE {HISTORY}_p_older", HISTORY),
}


@pytest.mark.parametrize(
    "attacks", long_after(1, [[*ATTACKS][-1:], [*ATTACKS]]), ids=["one", "all"]
)
def test_every_attack_is_found_and_a_rebuild_puts_it_right(
    partitioned: VerifiedDatabase, attacks: list[str]
) -> None:
    before = [partitioned.rows(name) for name in (HISTORY, ESCORT)]
    for attack in attacks:
        statement, table = ATTACKS[attack]
        partitioned.execute(statement)
        found = partitioned.parts("disproved")
        assert [each["part"] for each in found] == ["rows"], attack
        assert found[0]["of"] == table, attack
        status, out, err = partitioned.run("rebuild", "transfer_history", "--apply")
        assert status == 0, (attack, out, err)
        status, out, err = partitioned.run("verify")
        assert status == 0, (attack, out, err)
    after = [partitioned.rows(name) for name in (HISTORY, ESCORT)]
    assert [len(each) for each in after] == [len(each) for each in before]


def test_whoever_may_write_to_one_partition_alone_is_named(partitioned: VerifiedDatabase) -> None:
    role = f"a_{partitioned.pair.publisher.rpartition('-')[2]}"
    partitioned.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT INSERT ON {HISTORY}_p_older TO {role}",
        f"UPDATE {HISTORY} SET reason = 'SECURITY' {OF_P3}",
    )
    try:
        (part,) = partitioned.parts("disproved")
    finally:
        partitioned.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert role in part["could_be_done_by"]
