"""A Parquet file of any number of rows, and of large ones, is written in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

PARTS, ROWS, ROW_BYTES = 200, 2_000, 1_000
MOST_MIB = 350
# Each write takes longer than the events that it has took to come.
_WRITE = f"""
import os, re, sys, time
from pathlib import Path
import polars as pl
from sinergi.cli import parquet_output
from sinergi.cli.destination import Destination, Output
from sinergi.cli.output import open_writer
from sinergi_schemas.topics import Topic

class SlowDisk(parquet_output._Stream):
    def write(self, data):
        time.sleep(0.01)
        return super().write(data)

parquet_output._Stream = SlowDisk
topic = Topic("lapas", "transfer")
destination = Destination(Output.PARQUET, Path(sys.argv[1]))
with open_writer(destination, {{"transfer"}}) as writer:
    for _ in range({PARTS}):
        rows = [os.urandom({ROW_BYTES}) for _ in range({ROWS})]
        writer.add(topic, pl.DataFrame({{"incompressible": rows}}))
        del rows
    writer.finish({{}})
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_a_slow_disk_takes_a_file_larger_than_the_memory_that_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    command = [sys.executable, "-c", _WRITE, str(file)]
    many = os.environ | {"POLARS_MAX_THREADS": "8"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=many)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_size > PARTS * ROWS * ROW_BYTES
    assert int(done.stdout) / 1024 < MOST_MIB
    assert pl.scan_parquet(file).select(pl.len()).collect().item() == PARTS * ROWS
