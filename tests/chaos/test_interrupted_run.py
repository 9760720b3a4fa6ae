"""An interrupted `make chaos` leaves no process and no folder, gives one line, and exits with 2."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from chaos.lanes import Lanes, Undecided
from chaos.timing import until
from waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.long

RUN = Path(__file__).with_name("run.py")


class Usage(NamedTuple):
    free: int


def test_who_breaks_a_run_off_finds_no_process_and_no_folder_of_it_left() -> None:
    with tempfile.TemporaryDirectory(prefix="room-") as room:
        running = subprocess.Popen(
            [sys.executable, str(RUN), "--only", "kill"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": room},
        )
        until(
            lambda: [*Path(room).glob("chaos-*/*/services/*/*.log")],
            PATIENCE_SECONDS,
            "a server starts",
        )
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=PATIENCE_SECONDS)
        assert running.returncode == 2
        assert said.splitlines()[1:] == ["make chaos: it was broken off"]
        assert not [*Path(room).iterdir()]
        assert not [
            each.pid
            for each in psutil.process_iter(["cmdline"])
            if any(room in word for word in each.info["cmdline"] or ())
        ]


def test_a_run_without_room_is_told_so_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=2**20))
    with pytest.raises(Undecided, match="has 1 MiB left, and 512 are needed; TMPDIR names another"):
        Lanes({}, (), "seed", lambda _: None).run([], 0)
