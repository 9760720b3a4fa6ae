"""Every line on standard error is a line of our log, whatever native libraries write there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import AgencyPair, send
from sinergi_consumers.testing.sinks import BUS, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A datum of which polars panics: its last string claims more bytes than there are.
_PANICS = """
import os, sys
from sinergi.cli.logs import set_up
from sinergi.cli.native_output import logged_native_output
set_up("info", as_json=True)
with logged_native_output():
    {}
print("behind", file=sys.stderr)
"""
_DECODE = """
    from sinergi_consumers.decode.frames import decode
    from sinergi_schemas.catalog import Catalog
    schema = Catalog.shipped().newest("transfer")
    for length in range(1, 300):
        decode([bytes([0xA0, 0x01]) * length, b"\\x48" + b"a" * 36 + b"\\x7e"], schema)
"""
_FILL = """
    for _ in range(20_000):
        try:
            os.write(2, b"y" * 50 + b"\\n")
        except BlockingIOError:
            break
"""
_CRASH = "import faulthandler; faulthandler._sigabrt()"


def run(block: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _PANICS.format(block)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.splitlines()


def test_a_panic_is_one_line_of_the_log_that_names_its_place_and_no_content() -> None:
    block = 'import polars as pl; os.write(2, b"thread x panicked at src/a.rs:7:1:\\nS3CRET\\n")'
    status, lines = run(block)
    *told, last = lines
    assert (status, last) == (0, "behind")
    (said,) = map(json.loads, told)
    assert said["event"] == "native library wrote to standard error"
    assert (said["lines"], said["panicked_at"]) == (2, ["src/a.rs:7"])
    assert "S3CRET" not in told[0]


@pytest.mark.long
def test_real_panics_leave_no_raw_line() -> None:
    status, lines = run(_DECODE)
    *told, last = lines
    assert (status, last) == (0, "behind")
    places = [each for line in told for each in json.loads(line)["panicked_at"]]
    assert places, "polars did not panic: these bytes try nothing any more"


def test_a_library_that_writes_more_than_a_pipe_holds_is_never_waited_for() -> None:
    status, lines = run(_FILL)
    assert (status, lines[-1]) == (0, "behind")
    assert all(json.loads(line)["bytes"] for line in lines[:-1])


def test_a_process_with_thousands_of_open_files_loses_no_line() -> None:
    """`select.select` takes no descriptor above 1,023."""
    opened = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
    opened += "held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]\n"
    code = _PANICS.replace("with logged", f"{opened}with logged")
    done = subprocess.run(
        [sys.executable, "-c", code.format('os.write(2, b"S3CRET\\n")')],
        capture_output=True,
        text=True,
        check=True,
    )
    *told, last = done.stderr.splitlines()
    assert last == "behind"
    assert [json.loads(each)["lines"] for each in told] == [1]


def test_a_crash_is_told_on_the_true_standard_error() -> None:
    status, lines = run(_CRASH)
    assert status < 0
    assert any("Fatal Python error" in line for line in lines)


@pytest.mark.long
def test_a_materialiser_with_json_logs_writes_nothing_but_json_whatever_it_reads(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    tape = Tape(BUS, pair.topic, key=pair.key)
    issued = [pair.issued(transfer(f"P/{number}")) for number in range(60)]
    datums = [codec.encode(each, tape.schema) for each in issued]
    for at in range(0, 60, 2):
        datums[at] = datums[at][:60] + b"\xa0\x01" * 20
    send(
        pair,
        tape.write_datums(
            [(each.event_id, each.record_id, datums[at]) for at, each in enumerate(issued)]
        ),
    )
    with pair.worker("w") as worker:
        pair.until(lambda: worker.claimed == {0}, "claimed")
        pair.until_rows("sinergi.transfer_history", 30)
        pair.until(lambda: pair.count("sinergi_consumer.quarantine") == 60, "set apart")
        worker.process.terminate()
        assert worker.process.wait(30) == 0
    said: list[dict[str, Any]] = [
        json.loads(line) for line in worker.log.read_text(encoding="utf-8").splitlines()
    ]
    assert any(each["event"] == "events quarantined" for each in said)
