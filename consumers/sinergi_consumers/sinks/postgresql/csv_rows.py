"""Rows as CSV, which is how COPY reads them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import polars as pl

from sinergi_schemas import errors

if TYPE_CHECKING:
    import sqlalchemy as sa

# The database reads one part while Python writes the next one.
ROWS_IN_ONE_PART = 4_000


def as_csv(table: sa.Table, rows: pl.DataFrame) -> bytes:
    """Rows as CSV for `Merge.copy`, with the columns in the table's order.

    Raises:
        ProjectionFailed: a column has a type that CSV cannot hold, such as a list.
    """
    columns = [column.name for column in table.columns]
    octets = pl.selectors.binary().bin.encode("hex").str.replace("^", "\\x")
    text = BytesIO()
    try:
        rows.select(columns).with_columns(octets).write_csv(text, include_header=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as why:
        raise errors.ProjectionFailed(
            table.name, f"rows cannot be written as CSV: {type(why).__name__}"
        ) from None
    return text.getvalue()
