"""A command whose output cannot be written ends with 2: neither "yes" nor "no" was read by anybody.

Python itself would end with 1, which means "no" here, or with 120.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair, transfer
from sinergi.cli import root
from sinergi.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SINERGI = f"'{sys.executable}' -m sinergi"
# Both streams, and each command writes to the one that cannot be written.
COMMANDS = {
    "a note": "init --agency a-b --bus a.b --folder new",
    "help": "--help",
    "a table": "schemas list",
    "JSON": "schemas list --json",
    "bytes": "schemas show seizure/1 --raw",
    "an error": "status",
    "a usage error": "relay --no-such-option",
}
SMALL_FILE_BYTES = 512  # of `ulimit -f 1` in a POSIX shell
ERRORS_LOST = ("2>/dev/full", "2>&-", "2>/dev/full >/dev/full", ">&- 2>&-")
DATA_LOST = (">/dev/full", ">&-", ">/dev/full 2>&1")


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SINERGI_")}
    return subprocess.run(  # noqa: S602 - the shell's redirections are the subject
        line, shell=True, cwd=folder, env=kept, capture_output=True, check=False
    )


@pytest.mark.parametrize("redirection", ERRORS_LOST)
@pytest.mark.parametrize("command", ["a note", "an error", "a usage error"])
def test_a_standard_error_that_cannot_be_written_is_status_2(
    tmp_path: Path, command: str, redirection: str
) -> None:
    done = shell(tmp_path, f"{SINERGI} {COMMANDS[command]} {redirection}")
    assert (done.returncode, done.stderr) == (ExitStatus.ERROR, b"")


@pytest.mark.parametrize("redirection", DATA_LOST)
@pytest.mark.parametrize("command", ["help", "a table", "JSON", "bytes"])
def test_a_standard_output_that_cannot_be_written_is_status_2(
    tmp_path: Path, command: str, redirection: str
) -> None:
    done = shell(tmp_path, f"{SINERGI} {COMMANDS[command]} {redirection}")
    assert done.returncode == ExitStatus.ERROR
    if "2>&1" not in redirection:
        assert done.stderr.startswith(b"sinergi: standard output cannot be written (")


def test_a_limit_on_the_size_of_files_is_status_2(tmp_path: Path) -> None:
    done = shell(tmp_path, f"ulimit -f 0; {SINERGI} schemas list >out")
    assert done.returncode == ExitStatus.ERROR
    done = shell(tmp_path, f"ulimit -f 0; {SINERGI} status 2>err")
    assert done.returncode == ExitStatus.ERROR


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["JSON", "bytes"])
def test_an_output_that_is_written_only_in_part_is_status_2(
    tmp_path: Path, command: str, unbuffered: str
) -> None:
    """Without a buffer Python takes a write that was done in part for one that was done."""
    whole = shell(tmp_path, f"{SINERGI} {COMMANDS[command]}")
    assert len(whole.stdout) > SMALL_FILE_BYTES
    line = f"ulimit -f 1; PYTHONUNBUFFERED={unbuffered} {SINERGI} {COMMANDS[command]} >out"
    done = shell(tmp_path, line)
    assert done.returncode == ExitStatus.ERROR
    assert b"standard output cannot be written (File too large)" in done.stderr


def test_output_that_nobody_needs_may_be_closed(tmp_path: Path) -> None:
    """What a command does not write cannot be lost."""
    assert shell(tmp_path, f"{SINERGI} schemas list 2>&-").returncode == 0
    assert shell(tmp_path, f"{SINERGI} schemas list 2>/dev/full").returncode == 0


def test_a_log_that_cannot_be_written_ends_no_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relay whose log is full goes on. At its end, the status says that the log is incomplete."""
    done: list[str] = []

    def work() -> None:
        import structlog

        for number in range(20_000):
            structlog.get_logger().info("still working", number=number)
        done.append("all of it")

    monkeypatch.setattr("sinergi.cli.relay.relay", work)
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        status = root.run(["relay"])
        monkeypatch.undo()
        discard(full.fileno())
    assert (status, done) == (ExitStatus.ERROR, ["all of it"])
    assert capsys.readouterr().out == ""


def discard(descriptor: int) -> None:
    """Let what a test's stream still holds be written, so that closing it does not fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


@pytest.fixture
def replay(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> Iterator[str]:
    """A replay of a topic that holds, as a command line."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    with pair.relaying():
        pair.publish(transfer("P/1"))
        sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
        pair.until(lambda: pair.ask(sent, pair.producer) == [(1,)], "it is sent")
        yield f"{SINERGI} --config '{pair.agency_settings}' replay {pair.topic.name}"


OUTPUTS = (
    "",
    "--output csv",
    "--output ndjson",
    "--output parquet",
    "--json",
    "--output csv --out /dev/stdout",
)


@pytest.mark.long
def test_no_kind_of_replay_whose_output_is_lost_is_a_verdict(tmp_path: Path, replay: str) -> None:
    assert shell(tmp_path, replay).returncode == 0
    for output in OUTPUTS:
        for lost in (">/dev/full", ">&-", ">/dev/null 2>/dev/full", ">/dev/null 2>&-"):
            done = shell(tmp_path, f"{replay} {output} {lost}")
            assert done.returncode == ExitStatus.ERROR, (output, lost, done.stderr)
    for number, lost in enumerate(("2>/dev/full", "2>&-")):
        done = shell(tmp_path, f"{replay} --output csv --out {number}.csv {lost}")
        assert done.returncode == ExitStatus.ERROR
        assert (tmp_path / f"{number}.csv").read_bytes()
    done = shell(tmp_path, f"{replay} --output csv --out /dev/full")
    assert done.returncode == ExitStatus.ERROR
