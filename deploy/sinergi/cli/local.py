"""`sinergi local`: Kafka and PostgreSQL on this machine, with all their files in one folder."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sinergi.cli import terminal
from sinergi.cli.options import AsJson, command_group
from sinergi.exit_status import ExitStatus
from sinergi.local import Local, LocalStatus
from sinergi.local.errors import LocalFolderRefused
from sinergi.local.state import LocalState
from sinergi_schemas.near_names import near_name

if TYPE_CHECKING:
    from types import FrameType

app = command_group(
    "local",
    "Kafka and PostgreSQL on this machine: 127.0.0.1, free ports, everything in one folder.",
)

Folder = Annotated[
    Path,
    typer.Option(
        "--folder", file_okay=False, envvar="SINERGI_LOCAL", help="Where their data lies."
    ),
]
_MOST_BROKERS = 9  # what one machine may bear; a bus has three
DEFAULT_FOLDER = Path(".sinergi/local")


@app.command()
def up(
    folder: Folder = DEFAULT_FOLDER,
    *,
    new_ports: Annotated[
        bool, typer.Option("--new-ports", help="Stop what runs and move it to other ports.")
    ] = False,
    plaintext: Annotated[
        bool,
        typer.Option(
            "--plaintext", help="In a new folder: a Kafka without TLS and without access control."
        ),
    ] = False,
    brokers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_BROKERS,
            help="How many brokers a new folder's Kafka has.",
            show_default="1",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start them with the data and the addresses of the last time; they run until `down`.

    On this Kafka an agency may do what `sinergi provision apply` has given it a right to, and
    nothing else. The operator may do everything: his settings are in the folder's operator.toml.
    With three brokers each event is on all of them, and one of them may be down.

    Example: sinergi local up
    """
    signal.signal(signal.SIGTERM, _interrupt)
    _note_new(folder)
    is_secured = False if plaintext else None
    services = Local(folder, Console(stderr=True), is_secured=is_secured, brokers=brokers)
    _print(services.up(new_ports=new_ports), as_json=as_json)


@app.command()
def status(folder: Folder = DEFAULT_FOLDER, *, as_json: AsJson = False) -> None:
    """Show what runs, and where. The exit status is 1 if something does not run.

    Example: sinergi local status --json
    """
    found = Local(folder).status()
    _print(found, as_json=as_json)
    if not found.running:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def down(folder: Folder = DEFAULT_FOLDER, *, as_json: AsJson = False) -> None:
    """Stop them; their data stays.

    Example: sinergi local down
    """
    _print(Local(folder).down(), as_json=as_json)


@app.command()
def database(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The database's name.")],
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print the URL of a database, which is created if it does not exist.

    The URL names the file that holds the password. Sinergi and SQLAlchemy take it. Standard error
    has the URL that psql and other programs of PostgreSQL take.

    Example: sinergi local database register
    """
    if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", name):
        what = "at most 63 lower-case letters, digits and underscores, and no digit first"
        raise typer.BadParameter(f"{name!r} is no name; write {what}", param_hint="NAME")
    url = Local(folder).database(name)
    terminal.show_line(url)
    terminal.note(f"for psql: {url.replace('postgresql+psycopg:', 'postgresql:', 1)}")


def _note_new(folder: Path) -> None:
    """Say that nothing was started in a folder before: its name may be mistyped."""
    if LocalState.read(folder) is not None:
        return
    beside = folder.absolute().parent
    others: list[str] = []
    with suppress(OSError):  # there is no such folder, or others may not list it
        others = [each.name for each in beside.iterdir() if _is_local(each)]
    near = near_name(folder.absolute().name, others)
    hint = f"; did you mean {near}, which is beside it?" if near else ""
    terminal.note(f"{folder} is new: its Kafka and its PostgreSQL are empty{hint}")


def _is_local(folder: Path) -> bool:
    """Whether services were started in a folder that can be read."""
    try:
        return folder.is_dir() and LocalState.read(folder) is not None
    except LocalFolderRefused:
        return False


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Let SIGTERM stop services that are half started, as Ctrl-C does."""
    raise KeyboardInterrupt


def _print(found: LocalStatus, *, as_json: bool) -> None:
    if as_json:
        document = {
            "folder": str(found.folder),
            "running": found.running,
            "kafka": {
                "address": found.bootstrap,
                "brokers": [asdict(each) for each in found.brokers],
            },
            "postgresql": asdict(found.postgresql),
            "security": None if found.security is None else asdict(found.security),
        }
        terminal.show_json(document, default=str)
        return
    services = [*(("kafka", each) for each in found.brokers), ("postgresql", found.postgresql)]
    for name, one in services:
        state = f"pid {one.pid}" if one.pid else "stopped"
        terminal.show_line(f"{name:<12}{state:<14}{one.address}")
    if len(found.brokers) > 1:
        terminal.show_line(f"{'bootstrap':<26}{found.bootstrap}")
    if found.security is None:
        terminal.note("Kafka has no access control: whoever reaches it may do everything")
        return
    terminal.show_line(f"{'ca_file':<26}{found.security.ca_file}")
    terminal.show_line(f"{'operator':<26}{found.security.operator_settings}")
