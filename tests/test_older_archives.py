"""Audits of an archive that is older than a database: what it lacks is not held against anybody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import transfer
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.reconciliation import signed_counts
from test_archive import ArchivedPair, archive
from verified_database import until_receipted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agency_pair import AgencyPair


@pytest.fixture(scope="module")
def outgrown_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """An archive of 30 leaves, and a database that has 36 by now."""
    pair = archive(pair_of_module())
    pair.publish(*(transfer(f"Q/{number}") for number in range(5)))
    pair.publish(transfer("P/3", "CORRECTED", movement_id="m2"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 36)
        until_receipted(pair)
    return pair


@pytest.fixture
def outgrown(
    outgrown_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> ArchivedPair:
    """One with copies of databases and archive. All tests share its topics; none changes them."""
    return ArchivedPair(outgrown_pair.copied(tmp_path, databases), capsys)


def audited(outgrown: ArchivedPair, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, document and standard error of an audit of the archive."""
    status, out, err = outgrown.run(*words, "--archive", str(outgrown.file), "--json")
    return status, json.loads(out), err


def test_verify_accuses_nobody_of_what_an_older_archive_lacks(outgrown: ArchivedPair) -> None:
    status, document, err = audited(outgrown, "verify")
    assert status == ExitStatus.ERROR, err
    assert not [each for each in document["parts"] if each["verdict"] == "disproved"]
    (receipts,) = (each for each in document["parts"] if each["part"] == "receipts")
    assert receipts["verdict"] == "not checked"
    assert "the archive may be older than that receipt" in receipts["found"]
    assert outgrown.run("verify")[0] == ExitStatus.SUCCESS


def test_verify_still_finds_a_changed_row_by_an_older_archive(outgrown: ArchivedPair) -> None:
    with outgrown.pair.consumer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sinergi.transfer SET purpose = 'changed' WHERE record_id = 'P/7'"
        )
    status, document, _ = audited(outgrown, "verify")
    assert status == ExitStatus.NEGATIVE
    wrong = [each["of"] for each in document["parts"] if each["verdict"] == "disproved"]
    assert wrong == ["sinergi.transfer"]


def test_reconcile_does_not_compare_what_an_older_archive_lacks(outgrown: ArchivedPair) -> None:
    pair = outgrown.pair
    status, document, err = audited(outgrown, "reconcile")
    assert status == ExitStatus.ERROR, err
    assert (document["equal"], document["difference_count"]) == (None, 0)
    side = f"{pair.reader}/main"
    assert document["beyond_archive"] == [{"side": side, "topic": pair.topic.name, "leaves": 6}]
    assert f"{side} has 6 leaves of {pair.topic.name} that the archive does not have" in err
    assert f"not checked: {side} beyond the archive" in err
    assert outgrown.run("reconcile")[0] == ExitStatus.SUCCESS


def test_reconcile_still_finds_a_deleted_row_by_an_older_archive(outgrown: ArchivedPair) -> None:
    with outgrown.pair.consumer.begin() as connection:
        for table in ("transfer", "transfer_history"):
            connection.exec_driver_sql(f"DELETE FROM sinergi.{table} WHERE record_id = 'P/7'")
    status, document, _ = audited(outgrown, "reconcile")
    assert (status, document["difference_count"]) == (ExitStatus.NEGATIVE, 1)


def test_signed_counts_that_go_beyond_an_archive_are_not_compared_with_it(
    outgrown: ArchivedPair, tmp_path: Path
) -> None:
    pair, counts = outgrown.pair, tmp_path / "counts"
    settings = pair.agency_settings
    status, _, err = outgrown.run("reconcile", "--write-counts", str(counts), settings=settings)
    assert status == ExitStatus.SUCCESS, err
    status, document, err = audited(outgrown, "reconcile", "--counts", str(counts))
    assert status == ExitStatus.ERROR, err
    assert document["difference_count"] == 0
    beyond = {(each["side"], each["leaves"]) for each in document["beyond_archive"]}
    assert beyond == {(f"{pair.reader}/main", 6), (f"{pair.publisher}/outbox", 6)}


def test_counts_of_an_older_archive_are_signed_up_to_its_end(
    outgrown: ArchivedPair, tmp_path: Path
) -> None:
    pair, counts = outgrown.pair, tmp_path / "counts"
    words = ("reconcile", "--archive", str(outgrown.file), "--write-counts", str(counts))
    assert outgrown.run(*words, settings=pair.agency_settings)[0] == ExitStatus.ERROR
    keys = {pair.publisher: pair.agreements.keys(pair.publisher)}
    found = signed_counts.verify(counts.read_text(encoding="utf-8"), pair.agreements.bus, keys)
    assert sum(found.sizes.values()) == sum(each.events for each in found.days.values()) == 30
