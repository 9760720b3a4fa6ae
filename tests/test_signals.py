"""An orderly stop, in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair
from long_cases import long_after
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = """
import sys
from threading import Event
from sinergi.signals import stopping
event = stopping()
print("ready", flush=True)
event.wait()
print("in order", flush=True)
if sys.argv[1] == "twice":
    Event().wait()
"""


def started(how: str) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_lets_the_work_in_hand_be_finished(number: signal.Signals) -> None:
    with started("once") as program:
        program.send_signal(number)
        assert program.communicate(timeout=PATIENCE_SECONDS)[0].endswith("in order\n")
    assert program.returncode == 0


def test_a_process_under_nohup_goes_on_when_its_terminal_is_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        program = started("once")
    finally:
        signal.signal(signal.SIGHUP, before)
    with program:
        program.send_signal(signal.SIGHUP)
        program.send_signal(signal.SIGTERM)
        out, _ = program.communicate(timeout=PATIENCE_SECONDS)
    assert "signal=SIGTERM" in out
    assert out.endswith("in order\n")
    assert program.returncode == 0


def test_a_second_signal_ends_the_process_at_once() -> None:
    with started("twice") as program:
        program.send_signal(signal.SIGTERM)
        assert program.stdout is not None
        assert "in order\n" in iter(program.stdout.readline, "")
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=PATIENCE_SECONDS)
    assert program.returncode == 130


@pytest.mark.parametrize("command", ["relay", "materialise"])
def test_a_process_that_is_stopped_while_it_waits_for_a_broker_ends_with_0(
    command: str, tmp_path: Path, agency_slug: str, kafka: str, databases: Callable[[], str]
) -> None:
    """It may wait for a broker for ever, so that an error would say nothing of the stop."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    settings = pair.agency_settings if command == "relay" else pair.reader_settings
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        quick = ("--set", "timeouts.kafka.answer=2")
        address = ("--set", f"kafka.bootstrap=127.0.0.1:{silent.getsockname()[1]}")
        options = ("--config", str(settings), *quick, *address)
        process = subprocess.Popen(
            [sys.executable, "-m", "sinergi", *options, command], stderr=subprocess.PIPE, text=True
        )
        with process, silent.accept()[0]:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    assert "stopping" in err
    assert "sinergi: " not in err


EARLIER = """
import signal
from threading import Event, Thread
from sinergi.signals import stopping
signal.signal(signal.SIGTERM, signal.default_int_handler)
Thread(target=Event().wait, daemon=True).start()
event = stopping()
print("ready", flush=True)
event.wait()
"""


def test_sigterm_ends_a_process_in_which_a_thread_from_before_takes_the_signal() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EARLIER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=PATIENCE_SECONDS)
    assert program.returncode in (0, -signal.SIGTERM)


INTERRUPTED_COLLECTION = """
import os
import signal
import sys
import sinergi.cli.root
from sinergi.cli import main

class Collected:
    def __del__(self):
        if not lost:
            lost.append(1)
            os.kill(os.getpid(), number)

def settings():
    del kept[:]
    while True:
        pass

number, lost, kept = int(sys.argv.pop()), [], [Collected()]
sinergi.cli.root.settings = settings
main()
"""


@pytest.mark.parametrize("number", long_after(1, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
def test_a_command_is_stopped_by_a_signal_that_comes_during_garbage_collection(
    number: signal.Signals,
) -> None:
    """Python drops an exception that is raised there."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_COLLECTION, "status", str(int(number))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "sinergi: stopped\n")


LOST_INTERRUPT = """
import os
import sys
import sinergi.cli.root
from sinergi.cli import main

def settings():
    try:
        os.kill(os.getpid(), number)
        while True:
            pass
    except KeyboardInterrupt:
        pass
    raise TypeError("as a library in C raises it")

number = int(sys.argv.pop())
sinergi.cli.root.settings = settings
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_error_that_a_library_raises_in_place_of_an_interrupt_is_no_bug(
    number: signal.Signals,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST_INTERRUPT, "status", str(int(number))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "sinergi: stopped\n")


INTERRUPTED_START = """
import os
import sys
from sinergi.cli import main

def interrupt(event, _arguments):
    global left
    if event in ("import", "open", "exec"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

number, left = int(sys.argv.pop()), int(sys.argv.pop())
sys.addaudithook(interrupt)
main()
"""


@pytest.mark.parametrize("moment", [1, 2, 5, 10, 25, 50, 100, 200, 400])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_stopped_while_it_loads_says_only_that(
    number: signal.Signals, moment: int
) -> None:
    """The moment is a number of modules and files."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            INTERRUPTED_START,
            "status",
            "--help",
            str(moment),
            str(int(number)),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "sinergi: stopped\n")


def test_a_command_handles_signals_before_it_loads_what_takes_long() -> None:
    script = (
        "import importlib, signal, sys; known = set(sys.modules);"
        "from sinergi.cli import main; print(*sorted(set(sys.modules) - known))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    loaded = {each for each in done.stdout.split() if not each.startswith("sinergi")}
    assert loaded == {"__future__"}
