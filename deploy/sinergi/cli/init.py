"""`sinergi init`: settings and keys for an agency, and the lines that its agreement has to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sinergi.cli import terminal
from sinergi.settings.initialise import PlannedFiles, WrittenFiles, founding


def init(
    agency: Annotated[str, typer.Option(help="The agency's name on the bus.")],
    bus: Annotated[str, typer.Option(help="The bus's name, as sinergi.banyuwangi.example.")],
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="The agency's database, for both directions.")
    ] = None,
    name: Annotated[str, typer.Option(help="What that database is called on the bus.")] = "main",
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A broker to start from.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """Write sinergi.toml and keys for an agency, and print its public keys for the agreement.

    Nothing is ever overwritten. Private keys are readable by their owner only; back them up.
    """
    plan = PlannedFiles(
        agency, bus, database=name, producer=database, consumer=database, kafka=kafka
    )
    with founding(folder, plan) as made:
        _tell(made, agency, name, as_json=as_json)
        terminal.end()  # where nobody can be told the keys, none are made


def _tell(made: WrittenFiles, agency: str, name: str, *, as_json: bool) -> None:
    """Say what was made, and what has to stand in the agreement."""
    folder = made.settings.parent
    terminal.note(f"wrote {made.settings} and keys in {folder / 'keys'}")
    if as_json:
        document = {
            "settings": str(made.settings),
            "key": str(made.key),
            "receipt_key": str(made.receipt_key),
        }
        terminal.show_json(document)
        return
    terminal.note(f"for the agreement that goes into the folder {folder / 'agreements'}:")
    terminal.note("")
    terminal.show_text(made.party(agency, name))
