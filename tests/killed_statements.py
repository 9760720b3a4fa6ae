"""A process that ends itself as `kill -9` does, behind a statement that it has run."""

from __future__ import annotations

import signal
import subprocess
import sys

_KILLING = """
import os, signal, sys
import psycopg

execute = psycopg.Connection.execute

def killing(self, query, *args, **options):
    done = execute(self, query, *args, **options)
    text = query if isinstance(query, str) else query.as_string(self) if hasattr(
        query, "as_string") else query.decode()
    if sys.argv[1] in text:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

psycopg.Connection.execute = killing
"""


def run_killed(code: str, behind: str, *arguments: str) -> None:
    """Run code that a signal ends behind its first statement that contains a text.

    Args:
        code: Python; it has the text in `sys.argv[1]` and the arguments behind it.
        behind: the text.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{_KILLING}{code}", behind, *arguments],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
