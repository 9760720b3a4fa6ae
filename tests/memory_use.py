"""Run commands in processes of their own, and measure the most memory that each used."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The peak of the process itself: what getrusage says holds that of the process that forked, too.
_RUN = """
import sys
from pathlib import Path
from sinergi.cli.root import run
status = run(sys.argv[2:])
Path(sys.argv[1]).write_text(Path("/proc/self/status").read_text())
sys.exit(status)
"""


@dataclass(frozen=True)
class Measured:
    """A command that has ended: its exit status, what it wrote, and its peak in MiB."""

    status: int
    out: str
    err: str
    mib: float


def measured(folder: Path, *arguments: str) -> Measured:
    """Run `sinergi …` to its end."""
    file = folder / "peak"
    command = [sys.executable, "-c", _RUN, str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Measured(done.returncode, done.stdout, done.stderr, _peak(file))


def peak(pid: int) -> float:
    """The peak of a process that runs, in MiB."""
    return _peak(Path(f"/proc/{pid}/status"))


def _peak(status: Path) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return int(found[1]) / 1024
