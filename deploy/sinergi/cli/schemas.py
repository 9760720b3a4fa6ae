"""`sinergi schemas`: which event types there are, what they hold, and what a change would break."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi_schemas import compatibility, errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.fields import Types

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.compatibility import Finding, Judgement
    from sinergi_schemas.fields import Field

_SHORT = 16  # hexadecimal digits of a fingerprint that are enough to tell one by

_UNFOLDED = 10_000

app = typer.Typer(
    name="schemas",
    help="The contract: event types, their fields, and whether a new version may join.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]


@app.command("list")
def list_schemas(*, as_json: AsJson = False) -> None:
    """List all versions of all event types.

    Example: sinergi schemas list
    """
    rows = [_row(each) for each in Catalog.shipped().all()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    short = [{**row, "fingerprint": row["fingerprint"][:_SHORT]} for row in rows]
    _print_table(list(rows[0]), [[str(value) for value in row.values()] for row in short])


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
        typer.echo(schema.text, nl=False)
        return
    fields = list(Types(schema).fields())
    typer.echo(f"{schema.name}, id {schema.id}, fingerprint {schema.fingerprint.hex()}")
    typer.echo(f"{schema.parsed.get('doc', '')}\n")
    _print_table(["field", "type", "protected", "meaning"], map(_cells, fields))
    typer.echo()
    enums = {each.type.removeprefix("list of "): each.symbols for each in fields if each.symbols}
    for enum, symbols in enums.items():
        typer.echo(f"{enum}: {', '.join(symbols)}")


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
        typer.echo(json.dumps(document, indent=2))
    else:
        for each in found:
            typer.echo(_line(*each))
        if not found:
            names = ", ".join(each.name for each in catalog.all())
            typer.echo(f"each reads the events of every other version: {names}")
    if found:
        raise typer.Exit(1)


def _judged_as_tables(catalog: Catalog) -> list[Judgement]:
    """What keeps readers from making tables of the schemas.

    Raises:
        ExtraMissing: the libraries of a reader are not installed.
    """
    try:
        from sinergi_consumers import schema_tables  # noqa: PLC0415 - list and show need no polars
    except ModuleNotFoundError as why:
        library = (why.name or "").partition(".")[0]
        raise errors.ExtraMissing("sinergi schemas check", library, "consumers") from None
    return schema_tables.judge(catalog)


def _row(schema: Schema) -> dict[str, Any]:
    fields = list(Types(schema).fields())
    return {
        "event_type": schema.event_type,
        "version": schema.version,
        "id": schema.id,
        "fingerprint": schema.fingerprint.hex(),
        "fields": len(fields),
        "protected": sum(each.protected for each in fields),
    }


def _cells(field: Field) -> list[str]:
    kind = f"{field.type}?" if field.optional else field.type
    return [field.path, kind, "yes" if field.protected else "", field.doc]


def _plain(judgement: Judgement, finding: Finding) -> dict[str, Any]:
    against = None if judgement.against is None else judgement.against.name
    return {"schema": judgement.schema.name, "against": against, **finding._asdict()}


def _line(judgement: Judgement, finding: Finding) -> str:
    against = "" if judgement.against is None else f" against {judgement.against.name}"
    return f"{judgement.schema.name}{against}: {finding.path or 'the event'}: {finding.text}"


def _print_table(heads: list[str], rows: Iterable[list[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where there is something to show
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    # A terminal folds the cells; a file or a pipe gets one line a row, for grep.
    Console(width=None if sys.stdout.isatty() else _UNFOLDED).print(table)
