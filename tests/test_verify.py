"""`sinergi verify` compares a database with the topics, row by row, and names every attack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from agency_pair import AgencyPair, transfer
from sinergi.cli.root import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 12


class VerifiedDatabase:
    """A reader's database, and the command line of its agency."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self._capsys = capsys

    def execute(self, *statements: str) -> None:
        """Run statements as with psql, as the owner of the tables."""
        with self.pair.consumer.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def verify(self, *options: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = run(["--config", str(self.pair.reader_settings), "verify", *options])
        return (status, *self._capsys.readouterr())

    def document(self, *options: str) -> tuple[int, dict[str, Any]]:
        status, out, err = self.verify("--json", *options)
        assert out, err
        return status, json.loads(out)

    def parts(self, verdict: str, *options: str) -> list[dict[str, Any]]:
        """The parts with a verdict."""
        _, found = self.document(*options)
        return [each for each in found["parts"] if each["verdict"] == verdict]


@pytest.fixture
def make_verified(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., VerifiedDatabase]:
    """Makes one that has materialised some transfers; the keyword arguments are of AgencyPair."""

    def make(**settings: Any) -> VerifiedDatabase:
        urls = databases(), databases()
        made = AgencyPair(tmp_path, kafka, agency_slug, *urls, **settings)
        made.publish(*(transfer(f"P/{number}") for number in range(COUNT - 1)))
        made.publish(
            transfer(
                "P/3",
                "CORRECTED",
                movement_id="m2",
                escort=({"escort_agency": "Brimob", "count": 5},),
            )
        )
        with made.relaying(), made.materialising():
            made.until_rows("sinergi.transfer_history", COUNT)
            made.until(
                lambda: made.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
                "receipts published",
            )
        return VerifiedDatabase(made, capsys)

    return make


@pytest.fixture
def verified(make_verified: Callable[..., VerifiedDatabase]) -> VerifiedDatabase:
    return make_verified()


def test_a_database_that_has_what_was_published_is_proved(verified: VerifiedDatabase) -> None:
    status, out, err = verified.verify()
    assert status == 0, (out, err)
    assert "verdict:" in err


def test_a_value_edited_with_psql_is_found(verified: VerifiedDatabase) -> None:
    verified.execute("UPDATE sinergi.transfer SET movement_id = 'x' WHERE record_id = 'P/3'")
    status, found = verified.document()
    assert (status, found["proved"], found["differing_rows"]) == (1, False, 1)
    (part,) = [each for each in found["parts"] if each["verdict"] != "proved"]
    assert (part["part"], part["of"]) == ("rows", "sinergi.transfer")
    assert "postgres" in part["could_be_done_by"]
    (difference,) = found["differences"]
    assert difference["kind"] == "changed"
    assert difference["key"] == {"agency": verified.pair.publisher, "record_id": "P/3"}
    assert difference["columns"] == ["movement_id"]
    assert (difference["expected"]["movement_id"], difference["found"]["movement_id"]) == (
        "m2",
        "x",
    )
    assert f"{difference['partition']}/{difference['leaf']}" in verified.verify()[1]
