"""The type that a column has in a database, by the Avro type of its values.

Avro                               column
string, enum                       text
string/uuid                        uuid
int · long                         integer · bigint
int/date                           date
long/timestamp-micros              timestamptz
bytes/decimal(p, s)                numeric(p, s)
double, float · boolean            double precision · boolean
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sinergi_schemas.avro_types.nodes import DecimalType

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from sinergi_schemas.avro_types.nodes import ValueType


def column_type(node: ValueType) -> TypeEngine[Any]:
    """The type of a column whose values are of an Avro type that is no record and no list."""
    if isinstance(node, DecimalType):
        return sa.Numeric(node.precision, node.scale)
    return _by_kind()[node.kind]


@cache
def _by_kind() -> dict[str, TypeEngine[Any]]:
    return {
        "boolean": sa.Boolean(),
        "bytes": sa.LargeBinary(),
        "date": sa.Date(),
        "double": sa.Double(),
        "enum": sa.Text(),
        "float": sa.Double(),
        "int": sa.Integer(),
        "long": sa.BigInteger(),
        "string": sa.Text(),
        "timestamp-micros": sa.DateTime(timezone=True),
        "uuid": sa.Uuid(),
    }
