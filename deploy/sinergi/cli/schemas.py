"""`sinergi schemas`: list and show event types, and check whether a new version is compatible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import AsJson, command_group
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_consumers.sinks.postgresql import schema_tables
from sinergi_schemas import errors
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.avro_types.changes import changes
from sinergi_schemas.avro_types.fields import described_fields
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from sinergi_schemas.avro_types.changes import SchemaFieldChange
    from sinergi_schemas.avro_types.compatibility import Judgement, SchemaFinding
    from sinergi_schemas.avro_types.fields import DescribedField
    from sinergi_schemas.catalog import Schema

_SHORT = 16  # hexadecimal digits of a fingerprint that are enough to tell one by

_FIELDS = (
    TableColumn("field"),
    TableColumn("type"),
    TableColumn("protected"),
    TableColumn("meaning", ColumnKind.PROSE),
)

_CHANGES = (
    TableColumn("field"),
    TableColumn("change"),
    TableColumn("before", ColumnKind.PROSE),
    TableColumn("after", ColumnKind.PROSE),
    TableColumn("meaning", ColumnKind.PROSE),
)

app = command_group(
    "schemas", "The contract: event types, their fields, and whether a new version may join."
)


@app.command("list")
def list_schemas(*, as_json: AsJson = False) -> None:
    """List all versions of all event types.

    Example: sinergi schemas list
    """
    rows = [_row(each) for each in Catalog.shipped().all()]
    if as_json:
        terminal.show_json(rows)
        return
    short = [{**row, "fingerprint": row["fingerprint"][:_SHORT]} for row in rows]
    terminal.show_table(
        [*map(TableColumn, rows[0])], [[str(value) for value in row.values()] for row in short]
    )


@app.command("show")
def show_schema(
    name: Annotated[str, typer.Argument(metavar="TYPE[/VERSION]", help="The newest, if left out.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The file itself, byte by byte.")] = False,
) -> None:
    """Show the fields of an event type: name, type, whether protected, and what it means.

    Example: sinergi schemas show seizure/1
    """
    schema = Catalog.shipped().named(name)
    if raw:
        terminal.show_bytes(schema.text)
        return
    fields = list(described_fields(schema.event))
    terminal.show_line(f"{schema.name}, id {schema.id}, fingerprint {schema.fingerprint.hex()}")
    terminal.show_line(schema.event.doc)
    terminal.show_line("")
    terminal.show_table(_FIELDS, map(_cells, fields))
    terminal.show_line("")
    enums = {each.type.removeprefix("list of "): each.symbols for each in fields if each.symbols}
    for enum, symbols in enums.items():
        terminal.show_line(f"{enum}: {', '.join(symbols)}")


@app.command("check")
def check_schemas(
    folder: Annotated[
        Path | None,
        typer.Argument(help="With <event-type>/<n>.avsc and ids.toml; without it, the shipped."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check that each version reads the events of every other, and that tables can be made of it.

    The exit status is 0 if it does, 1 if it does not (each line says which field, and why),
    2 if the folder cannot be read.

    Example: sinergi schemas check my-schemas
    """
    shipped = Catalog.shipped()
    catalog = shipped if folder is None else Catalog.load(folder)
    judgements = [*compatibility.judge(catalog, shipped), *_judged_as_tables(catalog)]
    found = [(each, finding) for each in judgements for finding in each.findings]
    if as_json:
        document = {"compatible": not found, "findings": [_plain(*each) for each in found]}
        terminal.show_json(document)
    else:
        for each in found:
            terminal.show_line(_line(*each))
        if not found:
            names = ", ".join(each.name for each in catalog.all())
            terminal.show_line(f"each reads the events of every other version: {names}")
    if found:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command("diff")
def diff_schemas(
    old: Annotated[str, typer.Argument(metavar="TYPE/VERSION", help="The earlier version.")],
    new: Annotated[str, typer.Argument(metavar="TYPE[/VERSION]", help="The later one.")],
    *,
    folder: Annotated[
        Path | None,
        typer.Option(help="With <event-type>/<n>.avsc and ids.toml; without it, the shipped."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show field by field what changed between two versions, and whom it concerns.

    Those whom it concerns are the publishers and readers of the event type by the agreements in
    force; they are shown where there is a settings file. A reader of the earlier version reads
    events of the later one without the new fields, and a new code as UNKNOWN.

    The exit status is 0 also if the versions do not read each other; standard error says so then.

    Example: sinergi schemas diff transfer/1 transfer/2 --folder my-schemas
    """
    catalog = Catalog.shipped() if folder is None else Catalog.load(folder)
    before, after = catalog.named(old), catalog.named(new)
    if before.event_type != after.event_type:
        raise errors.SchemaRefused(after.name, f"it is no version of {before.event_type}")
    found = changes(before, after)
    concerned = _concerned(after.event_type)
    if as_json:
        terminal.show_json(
            {
                "old": before.name,
                "new": after.name,
                "changes": [{**each._asdict(), "kind": each.kind.value} for each in found],
                "publishers": None if concerned is None else concerned[0],
                "readers": None if concerned is None else concerned[1],
            }
        )
    else:
        _show_changes(before, after, found)
        for role, agencies in zip(("publishers", "readers"), concerned or (), strict=False):
            terminal.show_line(f"{role}: {', '.join(agencies) or 'none'}")
    if why := compatibility.why_incompatible(before, after):
        terminal.note(f"sinergi: {before.name} and {after.name} do not read each other: {why}")


def _show_changes(before: Schema, after: Schema, found: list[SchemaFieldChange]) -> None:
    terminal.show_line(f"{before.name} → {after.name}: {counted(len(found), 'change')}")
    if found:
        terminal.show_line("")
        rows = [[each.path, each.kind.value, each.before, each.after, each.doc] for each in found]
        terminal.show_table(_CHANGES, rows)
        terminal.show_line("")


def _concerned(event_type: str) -> tuple[list[str], list[str]] | None:
    """The publishers and readers of an event type; None where there is no settings file."""
    settings = root.settings()
    if settings.file is None:
        return None
    agreements, now = settings.agreements(), SYSTEM.now()
    topics = [each for each in agreements.topics(now) if each.event_type == event_type]
    readers = {reader for each in topics for reader in agreements.readers(each, now)}
    return sorted({each.agency for each in topics}), sorted(readers)


def _judged_as_tables(catalog: Catalog) -> list[Judgement]:
    """The reasons why readers cannot make tables of the schemas."""
    return schema_tables.judge(catalog)


def _row(schema: Schema) -> dict[str, Any]:
    fields = list(described_fields(schema.event))
    return {
        "event_type": schema.event_type,
        "version": schema.version,
        "id": schema.id,
        "fingerprint": schema.fingerprint.hex(),
        "fields": len(fields),
        "protected": sum(each.protected for each in fields),
    }


def _cells(field: DescribedField) -> list[str]:
    kind = f"{field.type}?" if field.optional else field.type
    return [field.path, kind, "yes" if field.protected else "", field.doc]


def _plain(judgement: Judgement, finding: SchemaFinding) -> dict[str, Any]:
    against = None if judgement.against is None else judgement.against.name
    return {"schema": judgement.schema.name, "against": against, **finding._asdict()}


def _line(judgement: Judgement, finding: SchemaFinding) -> str:
    against = "" if judgement.against is None else f" against {judgement.against.name}"
    return f"{judgement.schema.name}{against}: {finding.path or 'the event'}: {finding.text}"
