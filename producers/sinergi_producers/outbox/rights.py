"""What an application needs in the agency's database to publish: two functions, and no table.

`put` returns all that `publish` has to know, and `register_schema` stores a schema that the
database lacks. Both run with their owner's rights.
"""

from __future__ import annotations

from sinergi_schemas.postgresql.rights import (
    DatabaseObject,
    DatabaseRight,
    ObjectKind,
    RoleRights,
    on_schema,
)

APPLICATION = RoleRights(
    "producer.database_roles.application",
    (
        on_schema("sinergi_producer"),
        *(
            DatabaseRight("EXECUTE", DatabaseObject(ObjectKind.FUNCTION, "sinergi_producer", name))
            for name in ("put", "register_schema")
        ),
    ),
)
