"""`sinergi settings`: each setting, its value, and who said so."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sinergi.cli import root
from sinergi.settings import stray_variables


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """Each setting, its value and where it comes from; passwords are masked."""
    found = root.settings()
    for stray in stray_variables():
        typer.echo(f"sinergi: no setting is named {stray}", err=True)
    if as_json:
        file = str(found.file) if found.file else None
        entries = [asdict(each) for each in found.entries()]
        typer.echo(json.dumps({"file": file, "settings": entries}, indent=2))
        return
    table = Table("setting", "value", "from", title=f"settings file: {found.file or 'none'}")
    for each in found.entries():
        table.add_row(each.key, "" if each.value is None else str(each.value), each.origin)
    Console().print(table)
