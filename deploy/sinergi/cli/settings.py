"""`sinergi settings`: show each setting, its value, and where it comes from."""

from __future__ import annotations

from dataclasses import asdict

from sinergi.cli import root, terminal
from sinergi.cli.options import AsJson
from sinergi.cli.tables import TableColumn
from sinergi.settings.near_keys import stray_variables

_SETTINGS = (TableColumn("setting"), TableColumn("value"), TableColumn("from"))


def settings(as_json: AsJson = False) -> None:
    """Show each setting, its value and where it comes from; passwords are masked."""
    found = root.settings()
    for stray in stray_variables():
        terminal.note(f"sinergi: no setting is named {stray}")
    if as_json:
        file = str(found.file) if found.file else None
        entries = [asdict(each) for each in found.entries()]
        terminal.show_json({"file": file, "settings": entries})
        return
    terminal.show_line(f"settings file: {found.file or 'none'}")
    rows = [
        (each.key, "" if each.value is None else str(each.value), each.origin)
        for each in found.entries()
    ]
    terminal.show_table(_SETTINGS, rows)
