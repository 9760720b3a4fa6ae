"""`sinergi local`: real Kafka and PostgreSQL on this machine, in one folder."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sinergi.cli import terminal
from sinergi.local import Local, LocalStatus

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(
    name="local",
    add_completion=False,
    help="Kafka and PostgreSQL on this machine: 127.0.0.1, free ports, everything in one folder.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path,
    typer.Option(
        "--folder", file_okay=False, envvar="SINERGI_LOCAL", help="Where their data lies."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]

HERE = Path(".sinergi/local")


@app.command()
def up(
    folder: Folder = HERE,
    *,
    new_ports: Annotated[
        bool, typer.Option("--new-ports", help="Stop what runs and move it to other ports.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start them, with their data and addresses of last time; they run until `down`.

    Example: sinergi local up
    """
    signal.signal(signal.SIGTERM, _interrupt)
    _print(Local(folder, Console(stderr=True)).up(new_ports=new_ports), as_json=as_json)


@app.command()
def status(folder: Folder = HERE, *, as_json: AsJson = False) -> None:
    """Say what runs, and where. The exit status is 1 if something does not.

    Example: sinergi local status --json
    """
    found = Local(folder).status()
    _print(found, as_json=as_json)
    if not found.running:
        raise typer.Exit(1)


@app.command()
def down(folder: Folder = HERE, *, as_json: AsJson = False) -> None:
    """Stop them; their data stays.

    Example: sinergi local down
    """
    _print(Local(folder).down(), as_json=as_json)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Let SIGTERM stop what was half started, as Ctrl-C does."""
    raise KeyboardInterrupt


def _print(found: LocalStatus, *, as_json: bool) -> None:
    services = {"kafka": found.kafka, "postgresql": found.postgresql}
    if as_json:
        document = {
            "folder": str(found.folder),
            "running": found.running,
            **{name: {"address": one.address, "pid": one.pid} for name, one in services.items()},
        }
        terminal.show_json(document)
        return
    for name, one in services.items():
        state = f"pid {one.pid}" if one.pid else "stopped"
        terminal.say(f"{name:<12}{state:<14}{one.address}")
