"""A run that was killed leaves no part of its file for longer than until the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sinergi_schemas.errors import OutputExists
from sinergi_schemas.files.output_file import OutputFile
from test_output_file import entries, write

KILLED = """
import os, signal, sys
from pathlib import Path
from sinergi_schemas.files.output_file import OutputFile
with OutputFile.open(Path(sys.argv[1])) as target:
    target.write(b"half")
    target.settle()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path) -> Path:
    """The unfinished file of a run that was killed."""
    before = {*path.parent.iterdir()}
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (left,) = {*path.parent.iterdir()} - before
    assert left.read_bytes() == b"half"
    return left


def test_the_next_run_for_the_same_file_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "events.csv")
    killed(tmp_path / "events.csv")
    killed(tmp_path / "events.csv")
    write(tmp_path / "events.csv")
    assert entries(tmp_path) == {"events.csv": b"new", "link": str(tmp_path / "events.csv")}
    left = killed(tmp_path / "other.csv")
    write(link, force=True)
    assert left.exists()


def test_two_runs_for_the_same_file_leave_each_other_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    first = OutputFile.open(path)
    first.write(b"first")
    (unfinished,) = tmp_path.iterdir()
    write(path, b"second")
    assert {*tmp_path.iterdir()} == {path, unfinished}
    with pytest.raises(OutputExists):
        first.finish()
    assert entries(tmp_path) == {"events.csv": b"second"}


def test_any_number_of_runs_at_once_lose_no_file_to_one_another(tmp_path: Path) -> None:
    """Each is made while the others look for files that were left."""
    path = tmp_path / "events.csv"
    path.write_bytes(b"old")

    def run(number: int) -> None:
        for _ in range(20):
            write(path, b"%d" % number, force=True)

    with ThreadPoolExecutor(8) as runs:
        for each in [runs.submit(run, number) for number in range(8)]:
            each.result()
    assert [*entries(tmp_path)] == ["events.csv"]


def test_what_only_has_the_name_of_an_unfinished_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    left = killed(folder / "events.csv")
    left.unlink()
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody's")
    for end, make in (
        ("link", lambda path: path.symlink_to(outside)),
        ("folder", Path.mkdir),
        ("fifo", os.mkfifo),
    ):
        make(left.with_name(f"{left.name.rpartition('-')[0]}-{end}.unfinished"))
    kept = {*folder.iterdir()}
    write(folder / "events.csv")
    assert {*folder.iterdir()} - kept == {folder / "events.csv"}
    assert kept <= {*folder.iterdir()}
    assert outside.read_bytes() == b"somebody's"


def test_a_file_system_without_locks_keeps_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise PermissionError

    left = killed(tmp_path / "events.csv")
    monkeypatch.setattr("fcntl.flock", no_locks)
    write(tmp_path / "events.csv")
    assert entries(tmp_path) == {"events.csv": b"new", left.name: b"half"}
