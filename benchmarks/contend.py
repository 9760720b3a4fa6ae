"""One contender in a process of its own: `python contend.py NAME`, its order on standard input.

It prints one line of JSON: when it began and ended (the machine's monotonic clock, which all
processes share), the processor time that it took, and the most memory that it ever had.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import quiet
from country import Country
from stage import Stage


def peak_mib() -> float:
    """The most memory this process has held (VmHWM of proc(5))."""
    status = Path("/proc/self/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cpu_seconds() -> float:
    """The processor time of this process so far, and of its children that have ended."""
    times = os.times()
    return sum(times[:4])


def main() -> None:
    """Do as ordered."""
    quiet.logs()
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    place = order.pop("country", None)
    stage = Country(**place) if place else Stage(**order.pop("stage"))
    contender = import_module(f"peers.{sys.argv[1]}")
    before = cpu_seconds()
    began, ended = contender.run(stage, **order)
    cpu = cpu_seconds() - before
    print(json.dumps({"began": began, "ended": ended, "cpu": cpu, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
