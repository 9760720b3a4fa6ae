"""Commands that run in the process of a test."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from sinergi.cli.root import run


def sinergi(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command.

    Unlike `capsys` it also serves a fixture that several tests share.
    """
    out, err = _Output(), _Output()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(words)
    return status, out.text, err.text


class _Output(io.TextIOWrapper):
    def __init__(self) -> None:
        self._written = io.BytesIO()
        super().__init__(self._written, "utf-8", newline="", write_through=True)

    @property
    def text(self) -> str:
        return self._written.getvalue().decode()
