"""How wide lines are: as wide as a terminal or COLUMNS says on standard output, whole in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

from sinergi.cli import root, terminal
from test_replay_several_topics import Register, filled_pair, full
from test_terminal import LONG, captured, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

__all__ = ["filled_pair", "full"]  # fixtures

TEXT = "the agreement ended at 2026-03-17T06:05:00+07:00, ask the parties for another " * 3
COMMAND = "`kafka-acls --add --allow-principal 'User:lapas.producer' --operation Read`"


def test_lines_of_a_status_are_no_wider_than_columns_says() -> None:
    with captured(columns=100) as found:
        state(TEXT, LONG)
    assert max(map(len, found.lines)) <= 100
    with captured() as unknown:
        terminal.show_line(TEXT)
    assert unknown.lines == [TEXT]


def test_status_and_record_in_a_pipe_are_no_wider_than_columns_says(
    full: Register, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    settings = ("--config", str(full.pair.reader_settings))
    for words in (("status",), ("record", "transfer", "T/1")):
        capsys.readouterr()
        root.run([*settings, *words])
        lines = capsys.readouterr().out.splitlines()
        prose = [line for line in lines if " " in line and not line.startswith("— ")]
        assert prose
        assert [line for line in prose if len(line) > 60 and not is_one_value(line)] == []


def is_one_value(line: str) -> bool:
    """Whether a line holds a single value, as a name, which is never broken."""
    return " " not in line.strip(" ")


def test_an_error_in_a_pipe_is_one_line_whatever_columns_says() -> None:
    with captured(columns=40) as found:
        terminal.note(TEXT, "bold")
        terminal.note_lines(f"sinergi: {TEXT}\n  {TEXT}")
    assert found.lines == [TEXT, f"sinergi: {TEXT}", f"  {TEXT}"]


NOTING = f"""
from sinergi.cli import terminal
terminal.prepare()
terminal.note({TEXT!r}, "bold")
terminal.note_lines({f"sinergi: {TEXT}{COMMAND}"!r})
"""


def test_an_error_on_a_terminal_is_broken_between_words_and_never_within_a_command() -> None:
    lines = [*on_a_terminal(NOTING, 60)]
    words = f"{TEXT} sinergi: {TEXT}{COMMAND}".split()
    assert [word for line in lines for word in line.split()] == words
    assert all(len(line) <= 60 for line in lines if COMMAND not in line)
    assert sum(COMMAND in line for line in lines) == 1


def on_a_terminal(code: str, columns: int) -> Iterator[str]:
    """What a program writes to standard error, which is a terminal of so many columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # Linux says so of a terminal whose other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    yield from re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
