"""`sinergi init`: write an agency's settings and keys, and print its part of an agreement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sinergi.cli import terminal
from sinergi.cli.options import AsJson
from sinergi.settings.initialise import PlannedFiles, WrittenFiles, first_files
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER


def init(
    agency: Annotated[str, typer.Option(help="The agency's name on the bus.")],
    bus: Annotated[str, typer.Option(help="The bus's name, as sinergi.banyuwangi.example.")],
    full_name: Annotated[
        str, typer.Option(metavar="TEXT", help="The agency's name in the agreement.")
    ] = NAME_PLACEHOLDER,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="The agency's database, for both directions.")
    ] = None,
    name: Annotated[str, typer.Option(help="What that database is called on the bus.")] = "main",
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A broker to start from.")
    ] = None,
    kafka_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The authority's certificates, where the brokers use TLS."
        ),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write sinergi.toml and keys for an agency, and print its public keys for the agreement.

    Nothing is ever overwritten. Private keys are readable by their owner only; back them up.

    With --kafka-ca the relay and the materialiser log in with passwords that the brokers' operator
    hands over: they go into the folder passwords, under the names that `sinergi provision` gives.
    """
    plan = PlannedFiles(
        agency,
        bus,
        database=name,
        producer=database,
        consumer=database,
        kafka=kafka,
        ca_file=kafka_ca,
    )
    with first_files(folder, plan) as written:
        party = written.party(agency, full_name)
        _show(written, party, as_json=as_json)
        terminal.end()  # if the output fails, the block raises and the files are removed
    base = written.settings.parent
    if not as_json:
        what = "the lines on standard output are this agency's part of the agreement, whose file"
        terminal.note(f"{what} goes into the folder {base / 'agreements'}")
    terminal.note(f"wrote {written.settings} and keys in {base / 'keys'}")


def _show(written: WrittenFiles, party: str, *, as_json: bool) -> None:
    """Show the agency's part of an agreement, or which files were written."""
    if as_json:
        document = {
            "settings": str(written.settings),
            "key": str(written.key),
            "receipt_key": str(written.receipt_key),
        }
        terminal.show_json(document)
        return
    terminal.show_text(party)
