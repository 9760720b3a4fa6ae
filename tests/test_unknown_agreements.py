"""An agreement that is not here makes no row wrong that a database has by it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING

from sinergi.cli.root import run
from test_reconcile import Desk, desk, desk_pair

if TYPE_CHECKING:
    import pytest

__all__ = ["desk", "desk_pair"]  # fixtures


def without_its_agreement(desk: Desk) -> str:
    """The folder has another version in place of the one that the events name; its hash."""
    (agreed,) = desk.pair.agreements
    other = deepcopy(desk.pair.agreement)
    desk.pair.agree(other | {"title": "Kerja sama lain"})
    return agreed.hash


def test_verify_accuses_nobody_of_rows_by_an_agreement_that_is_not_here(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = without_its_agreement(desk)
    capsys.readouterr()
    status = run(["--config", str(desk.pair.reader_settings), "verify", "--json"])
    shown = capsys.readouterr()
    assert shown.out, shown.err
    found = json.loads(shown.out)
    parts = {(each["part"], each["of"]): each for each in found["parts"]}
    assert {each["verdict"] for each in found["parts"]} == {"proved", "not checked"}
    assert status == 2
    detail = parts["rows", "sinergi.transfer"]["found"]
    assert f"12 records not compared: leaf 0 names the hash {digest}, and no agree" in detail
    detail = parts["quarantine", "transfer"]["found"]
    assert "is a row or in quarantine cannot be told: it names the hash" in detail


def test_rows_that_somebody_deleted_are_not_proved_where_their_agreement_is_not_here(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("transfer", "transfer_history", "transfer_escort", "transfer_history_escort")
    tables = ", ".join(f"sinergi.{each}" for each in names)
    desk.execute(desk.pair.consumer, f"TRUNCATE {tables}")
    without_its_agreement(desk)
    capsys.readouterr()
    assert run(["--config", str(desk.pair.reader_settings), "verify"]) == 2


def test_rebuild_deletes_no_rows_by_an_agreement_that_is_not_here(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = without_its_agreement(desk)
    for options in ([], ["--apply", "--why", "ticket 17"]):
        capsys.readouterr()
        settings = ["--config", str(desk.pair.reader_settings)]
        assert run([*settings, "rebuild", "transfer", *options]) == 2
        err = capsys.readouterr().err
        assert f"it names the hash {digest}, and no agreement here has it" in err
        assert "put that agreement into the folder" in err
    assert desk.pair.count("sinergi.transfer") == 12
