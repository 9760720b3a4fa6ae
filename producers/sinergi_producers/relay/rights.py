"""What a relay needs in the agency's database.

It may not change what an event says, also before the event is sealed: of the outbox it updates the
mark of a sealed row and the reason of a held one. It deletes nothing. Of a receipt it cannot say
when it saw it: the database does.
"""

from __future__ import annotations

from sinergi_schemas.postgresql.rights import (
    DatabaseObject,
    DatabaseRight,
    ObjectKind,
    RoleRights,
    on_schema,
    on_table,
)

RELAY = RoleRights(
    "producer.database_roles.relay",
    (
        on_schema("sinergi_producer"),
        *on_table("sinergi_producer.outbox", "SELECT", UPDATE=("held", "leaf_index", "partition")),
        DatabaseRight(
            "SELECT", DatabaseObject(ObjectKind.SEQUENCE, "sinergi_producer", "outbox_id_seq")
        ),
        *on_table(
            "sinergi_producer.tree",
            "SELECT",
            INSERT=("epoch", "event_type", "partition"),
            UPDATE=("epoch", "frontier", "sent_size", "size"),
        ),
        *on_table(
            "sinergi_producer.checkpoint",
            "SELECT",
            INSERT=("event_type", "frontier", "note", "partition", "root", "size"),
        ),
        *on_table("sinergi_producer.lease", "SELECT", UPDATE=("epoch", "expires_at", "holder")),
        *on_table("sinergi_producer.known_schema", "SELECT"),
        *on_table(
            "sinergi_producer.seen_receipt",
            "SELECT",
            INSERT=("event_type", "note", "partition", "reader", "signed_by_reader_at", "size"),
        ),
    ),
)
