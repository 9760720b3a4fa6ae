"""Which columns of a projection's tables may be shown without being asked for.

The columns of the ready projections follow the fields of the schema, which says which are personal
data. An integrator's code may put any value into any column, so all of its columns count as
personal data, except those that every table has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.decode.layout import POSITION
from sinergi_consumers.projections.projection import PROVENANCE, current, history
from sinergi_schemas.avro_types.fields import described_fields

if TYPE_CHECKING:
    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.catalog import Catalog


def shown_columns(projection: Projection, catalog: Catalog) -> dict[str, frozenset[str]]:
    """The columns of each table, by its name, that hold no personal data."""
    schema = catalog.newest(projection.event_type)
    always = frozenset((*PROVENANCE, POSITION))
    if projection.name not in {kind(schema).name for kind in (current, history)}:
        return {table.name: frozenset(PROVENANCE) for table in projection.tables}
    found = {table.name: set(always) for table in projection.tables}
    for each in described_fields(schema.event):
        if each.protected:
            continue
        name, mark, inner = each.path.partition("[]")
        if not mark and each.type.startswith("list of "):
            inner = ".value"
        if mark or inner:
            table, column = f"{projection.record.name}_{name}", inner.removeprefix(".")
        else:
            table, column = projection.record.name, name
        if table in found:
            found[table].add(column.replace(".", "_"))
    return {table: frozenset(columns) for table, columns in found.items()}
