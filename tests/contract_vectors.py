"""The vectors of the contract, made from the shipped schemas: fingerprints, and tables.

.venv/bin/python tests/contract_vectors.py

It writes `vectors/contract/fingerprints.json` and `vectors/layout/tables.json` anew. A schema file
that has landed keeps its id and fingerprint: the command refuses to write other ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql

from sinergi_consumers.projections.projection import current, history
from sinergi_schemas.catalog import Catalog

VECTORS = Path(__file__).parent / "vectors"
FINGERPRINTS = VECTORS / "contract" / "fingerprints.json"
TABLES = VECTORS / "layout" / "tables.json"


def fingerprints() -> dict[str, list[Any]]:
    """Id and fingerprint of each shipped schema file, by its name."""
    return {each.name: [each.id, each.fingerprint.hex()] for each in Catalog.shipped().all()}


def tables() -> dict[str, Any]:
    """Every table of the shipped schemas: its comment, and each column's type and comment."""
    catalog = Catalog.shipped()
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types
    return {
        table.name: {
            "comment": table.comment,
            "key": [column.name for column in table.primary_key],
            "columns": {
                column.name: [
                    column.type.compile(dialect) + ("" if column.nullable else " NOT NULL"),
                    column.comment,
                ]
                for column in table.columns
            },
        }
        for event_type in catalog.event_types
        for kind in (current, history)
        for table in kind(catalog.newest(event_type)).tables
    }


def main() -> None:
    """Write both files."""
    landed = json.loads(FINGERPRINTS.read_text("utf-8"))
    found = fingerprints()
    changed = sorted(name for name, known in landed.items() if found.get(name) != known)
    if changed:
        sys.exit(f"these files have landed and must not change: {', '.join(changed)}")
    for path, document in ((FINGERPRINTS, found), (TABLES, tables())):
        indent = 2 if path == FINGERPRINTS else 1
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
