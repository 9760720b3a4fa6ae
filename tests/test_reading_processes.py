"""What surrounds the processes that read ahead: signals, paths, descriptors and limits."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import psutil
import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from long_cases import long_after
from sinergi_schemas.kafka.parsed_block import ParsedBlock
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.read_ahead import ReadAhead
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.kafka.unreadable import Unreadable
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import TopicPartition
from test_read_ahead import PART, ahead, contents, pair, pids, read
from test_unreadable_batches import BEYOND, CAUSE, bomb, plain, spread
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

    from agency_pair import AgencyPair

__all__ = ["ahead", "pair"]  # fixtures

# Reads a topic with processes that read ahead, and writes how many messages there were.
_SCRIPT = """
import os, sys
from pathlib import Path
import structlog
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.read_ahead import ReadAhead
from sinergi_schemas.topics import TopicPartition
kafka, topic, end, folder, result = sys.argv[1:]
os.chdir(folder)
ahead = ReadAhead(Connection(kafka), 2, fewest=1, part=40)
blocks = ahead.blocks(TopicPartition(topic, 0), range(int(end)))
Path(result).write_text(str(sum(len(each.messages) for each in blocks)))
ahead.close()
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with files that are named like modules, and leave a mark where they are loaded."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    text = f"open({str(folder / 'loaded')!r}, 'w').close()\nraise SystemExit(3)\n"
    for name in ("json", "queue", "structlog", "sinergi_schemas", "sitecustomize"):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def command(pair: AgencyPair, folder: Path, *flags: str) -> tuple[list[str], Path, int]:
    """How the script is run, where its result will be, and which result is right."""
    result = pair.folder / "result"
    end = len(read(pair, None)[0])
    arguments = [pair.kafka, pair.topic.name, str(end), str(folder), str(result)]
    return [sys.executable, *flags, "-c", _SCRIPT, *arguments], result, end


@pytest.mark.parametrize(
    ("flag", "path"), long_after(1, [("-I", True), ("-E", True), ("-u", False)])
)
def test_no_file_that_is_named_like_a_module_is_loaded(
    pair: AgencyPair, hostile: Path, flag: str, *, path: bool
) -> None:
    run, result, end = command(pair, hostile, flag)
    environment = os.environ | ({"PYTHONPATH": str(hostile)} if path else {})
    subprocess.run(run, env=environment, check=True)
    assert not (hostile / "loaded").exists()
    assert int(result.read_text()) == end


@pytest.mark.parametrize("closed", long_after(1, ["<&- >&- 2>&-", "<&-", ">&-", "2>&-"]))
def test_they_read_where_standard_descriptors_are_closed(
    pair: AgencyPair, tmp_path: Path, closed: str
) -> None:
    run, result, end = command(pair, tmp_path)
    subprocess.run(["/bin/sh", "-c", f"exec {shlex.join(run)} {closed}"], check=True)
    assert int(result.read_text()) == end


def test_they_read_where_the_working_directory_was_deleted(
    pair: AgencyPair, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    run, result, end = command(pair, gone)
    run[2] = run[2].replace("os.chdir(folder)", "os.chdir(folder); os.rmdir(folder)")
    subprocess.run(run, check=True)
    assert int(result.read_text()) == end


def test_ctrl_c_goes_to_the_command_alone_and_no_traceback_of_theirs_is_shown(
    pair: AgencyPair, ahead: ReadAhead, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, _ = read(pair, None)
    for each in ahead._start():
        assert os.getsid(each._process.pid) == each._process.pid
        each._process.send_signal(signal.SIGINT)  # while it loads its modules
        each._process.wait(PATIENCE_SECONDS)
    capfd.readouterr()
    with capture_logs() as logs:
        assert contents(read(pair, ahead)[0]) == contents(alone)
    assert "has ended with status" in logs[0]["why"]
    assert capfd.readouterr() == ("", "")


def test_a_process_that_hangs_in_the_middle_of_a_block_is_not_waited_for_for_ever(
    pair: AgencyPair,
) -> None:
    producer = Producer({"bootstrap.servers": pair.kafka})
    start = len(read(pair, None)[0])
    headers: dict[str, str | bytes | None] = {"sinergi_schema": b"0" * 64, "sinergi_leaf": b"1"}
    for _ in range(30):
        producer.produce(pair.topic.name, bytes(900_000), b"P/1", 0, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0
    timeouts = KafkaTimeouts(silence=2, answer=1)
    with closing(
        ReadAhead(replace(pair.connection, timeouts=timeouts), 1, fewest=1, part=PART)
    ) as ahead:
        (process,) = ahead._start()
        process.order(TopicPartition(pair.topic.name, 0), range(start, start + 30))
        until(lambda: process._channel.poll(0), "a block is on its way")
        psutil.Process(process._process.pid).suspend()
        with pytest.raises(OSError, match="did nothing for 3 s"):
            list(process.blocks())


@pytest.mark.parametrize("python", ["", None, "/nowhere/python", "/bin/false"])
def test_a_process_that_cannot_be_started_is_done_without(
    pair: AgencyPair, ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch, python: str | None
) -> None:
    alone, _ = read(pair, None)
    monkeypatch.setattr(sys, "executable", python)
    with capture_logs() as logs:
        assert contents(read(pair, ahead)[0]) == contents(alone)
    assert [each["event"] for each in logs] == ["reading in one process"]
    assert pids(ahead) == []


def test_without_free_descriptors_one_process_reads(pair: AgencyPair, tmp_path: Path) -> None:
    run, result, _ = command(pair, tmp_path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
    run[2] = run[2].replace("blocks = ", f"{limit}blocks = ").replace("Path(result)", "print")
    run[2] = run[2].replace("print.write_text", "print")
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert "reading in one process" in done.stdout
    assert not result.exists()


def test_an_option_that_is_a_function_is_no_fault(pair: AgencyPair) -> None:
    alone, _ = read(pair, None)
    options = cast("dict[str, str]", {"oauth_cb": print})
    connection = replace(pair.connection, options=options)
    with closing(ReadAhead(connection, 2, fewest=1, part=PART)) as ahead, capture_logs() as logs:
        assert contents(read(pair, ahead)[0]) == contents(alone)
    assert [each["event"] for each in logs] == ["reading in one process"]


def test_an_unreadable_batch_in_several_parts_is_reported_once(
    pair: AgencyPair, ahead: ReadAhead
) -> None:
    bomb(pair, "zstd", spread(BEYOND, 3 * PART))
    plain(pair, b"behind")
    alone, unreadable = read(pair, None)
    assert [each.cause for each in unreadable] == [CAUSE]
    also, reported = read(pair, ahead)
    assert (contents(also), reported) == (contents(alone), unreadable)


def test_an_unreadable_batch_is_reported_once_where_the_command_reads_on_from_its_middle(
    pair: AgencyPair, ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = len(read(pair, None)[0])
    bomb(pair, "zstd", spread(BEYOND, 10))
    plain(pair, b"behind")
    tp = TopicPartition(pair.topic.name, 0)
    block = ParsedBlock([], start + 5, [Unreadable(tp, start, CAUSE)])
    monkeypatch.setattr(ahead, "blocks", lambda *_: iter([block]))
    with closing(RangeReader(pair.connection)) as reader:
        scan = PartitionScan(reader, tp, ahead)
        (found,) = (each for part, _ in scan.parsed_parts(start, start + 11) for each in part)
        assert found.offset == start + 10
        assert scan.drain_unreadable() == [Unreadable(tp, start, CAUSE)]
