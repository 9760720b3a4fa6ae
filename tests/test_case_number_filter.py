"""`--case` finds the events of a case, however the case number is written, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sinergi.cli.root import run
from sinergi_consumers.audit.evidence import archive, bag
from test_events import transfer as transfer_document
from test_replay_several_topics import Register, prepare, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from agency_pair import AgencyPair

CASE = "12/Pid.Sus/2026/PN Byw"
WRITTEN = [
    "12/Pid.Sus/2026/PN Byw",
    "12/PID.SUS/2026/PN BYW",
    "  12/pid.sus/2026/pn   byw ",
    "12 / Pid.Sus / 2026 / PN Byw",
    "12/Pid.Sus/2026/PN\u00a0Byw",
    "12/Pid.Sus/2026/PNByw",
]


@pytest.fixture(scope="module")
def filled_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """Events with the case number in three forms, with other numbers, and without one."""
    pair = pair_of_module()
    prepare(pair)
    numbers = {
        "T/1": CASE,
        "T/2": CASE.upper(),
        "T/3": "12 / Pid.Sus / 2026 / PN Byw",
        "T/4": "112/Pid.Sus/2026/PN Byw",
        "T/5": "12/Pid.Sus/2026/PN Byw/2",
        "T/6": None,
    }
    publish(pair, *(("transfer", document(each, number)) for each, number in numbers.items()))
    return pair


@pytest.fixture
def cases(filled_pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> Register:
    return Register(filled_pair, capsys)


def document(record_id: str, case_number: str | None) -> dict[str, Any]:
    given = {} if case_number is None else {"case_number": case_number}
    return transfer_document(record_id=record_id, **given)


def test_events_with_the_case_number_are_found_and_others_are_not(cases: Register) -> None:
    for written in WRITTEN:
        assert cases.records("--case", written) == ["T/1", "T/2", "T/3"], written
    assert cases.records("--case", "112/pid.sus/2026/pn byw") == ["T/4"]


def test_a_case_number_that_no_event_has_is_answered_by_the_nearest(cases: Register) -> None:
    status, out, err = cases.replay("--case", "13/Pid.Sus/2026/PN Byw", "--output", "ndjson")
    assert (status, out) == (0, "")
    assert CASE in err


def test_evidence_of_a_case_holds_its_events_however_its_number_is_written(
    cases: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    file = cases.pair.folder / "case.zip"
    for written in WRITTEN:
        words = ("evidence", "create", "--case", written, "--why", "x", "--force", "-o", str(file))
        status = run(["--config", str(cases.pair.reader_settings), *words])
        assert status == 0, capsys.readouterr().err
        payload = bag.payload_of(archive.unpack(file.read_bytes()).files)
        records = [
            json.loads(content)["event"]["record_id"]
            for path, content in payload.items()
            if "events/" in path and path.endswith(".json")
        ]
        assert sorted(records) == ["T/1", "T/2", "T/3"], written
