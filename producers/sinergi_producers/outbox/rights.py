"""What an application needs in the agency's database to publish: one function, and no table.

`put` returns all that `publish` has to know, and runs with its owner's rights.
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
        DatabaseRight("EXECUTE", DatabaseObject(ObjectKind.FUNCTION, "sinergi_producer", "put")),
    ),
)
