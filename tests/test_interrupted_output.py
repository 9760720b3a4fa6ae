"""No file of an audit has its name before the verdict was given: an interrupt leaves none."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from long_cases import long_after
from sinergi.cli import terminal
from sinergi.exit_status import ExitStatus
from test_reconcile import Desk, desk, desk_pair
from test_replay_several_topics import TYPES, Register, filled_pair, full
from test_verify import verified, verified_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verified_database import VerifiedDatabase

__all__ = [  # fixtures
    "desk",
    "desk_pair",
    "filled_pair",
    "full",
    "verified",
    "verified_pair",
]


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Presses Ctrl-C when a command is about to say a line that begins with some word."""

    def interrupt(word: str) -> None:
        note = terminal.note

        def interrupted(text: str, style: str = "") -> None:
            if text.startswith(word):
                signal.raise_signal(signal.SIGINT)
            note(text, style)

        monkeypatch.setattr(terminal, "note", interrupted)

    return interrupt


@contextmanager
def nothing_is_left(folder: Path) -> Iterator[None]:
    """The files of a folder are after the block what they were before it."""
    before = {each: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    yield
    assert {each: each.read_bytes() for each in folder.iterdir() if each.is_file()} == before


@pytest.mark.parametrize("kind", long_after(2, ["csv", "ndjson", "parquet"]))
@pytest.mark.parametrize("is_forced", long_after(1, [True, False]))
def test_a_replay_that_is_interrupted_before_its_verdict_leaves_no_file(
    full: Register,
    tmp_path: Path,
    interrupting: Callable[[str], None],
    kind: str,
    *,
    is_forced: bool,
) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    several = kind != "ndjson"
    to = ("--output", kind, "--out", str(folder if several else folder / "events.ndjson"))
    forced: tuple[str, ...] = ()
    if is_forced:
        assert full.replay("--key", "T/1", *to)[0] == 0
        forced = ("--force",)
    with nothing_is_left(folder):
        interrupting("verdict")
        assert full.replay(*to, *forced)[0] == ExitStatus.STOPPED


def test_a_replay_of_a_single_topic_and_one_as_json_leave_no_file_either(
    full: Register, tmp_path: Path, interrupting: Callable[[str], None]
) -> None:
    to = ("--output", "csv", "--out", str(tmp_path / "events.csv"))
    interrupting("verdict")
    for options in (to, (*to, "--json"), ("--notes", str(tmp_path))):
        with nothing_is_left(tmp_path):
            status, _, _ = full.replay(full.topic("transfer"), *options)
            assert status == ExitStatus.STOPPED


def test_tables_of_a_replay_have_no_file_before_the_verdict(
    full: Register,
    tmp_path: Path,
    databases: Callable[[], str],
    interrupting: Callable[[str], None],
) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    into = ("--into", databases(), "--output", "csv", "--out", str(folder))
    interrupting("verdict")
    with nothing_is_left(folder):
        assert full.replay(*into)[0] == ExitStatus.STOPPED


@pytest.mark.parametrize("has_tables", [False, True], ids=["events", "tables"])
def test_a_folder_that_an_interrupted_replay_has_made_is_removed_and_no_other(
    full: Register,
    tmp_path: Path,
    databases: Callable[[], str],
    interrupting: Callable[[str], None],
    *,
    has_tables: bool,
) -> None:
    into = ("--into", databases()) if has_tables else ()
    there = tmp_path / "there"
    there.mkdir()
    interrupting("verdict")
    for folder in (there / "new" / "newer", there):
        to = (*into, "--output", "csv", "--out", str(folder))
        assert full.replay(*to)[0] == ExitStatus.STOPPED
        assert [*there.iterdir()] == []


def test_files_of_differences_have_no_name_before_the_verdict(
    verified: VerifiedDatabase, tmp_path: Path, interrupting: Callable[[str], None]
) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    out = ("--out", str(folder / "differences.ndjson"))
    verified.execute("DELETE FROM sinergi.transfer WHERE record_id = 'P/3'")
    for word, command in (("verdict", ("verify",)), ("transfer: ", ("rebuild", "transfer"))):
        interrupting(word)
        with nothing_is_left(folder):
            assert verified.run(*command, *out)[0] == ExitStatus.STOPPED


def test_files_of_a_reconciliation_have_no_name_before_the_verdict(
    desk: Desk, tmp_path: Path, interrupting: Callable[[str], None]
) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    files = ("--out", str(folder / "x.ndjson"), "--write-counts", str(folder / "counts.note"))
    interrupting("verdict")
    with nothing_is_left(folder):
        assert desk.reconcile(*files)[0] == ExitStatus.STOPPED


def test_all_files_have_their_names_once_the_verdict_was_given(
    full: Register, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    status, _, err = full.replay("--output", "csv", "--out", str(folder))
    assert status == 0
    assert {each.stem for each in folder.iterdir()} == {*TYPES}
    lines = err.splitlines()
    verdict = next(at for at, line in enumerate(lines) if line.startswith("verdict of all"))
    assert all("wrote" in line for line in lines[verdict + 1 :])
    assert len(lines[verdict + 1 :]) == len(TYPES)
