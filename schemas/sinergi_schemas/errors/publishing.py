"""Errors of the outbox, the relay and the recovery of an outbox."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, Superseded


class EventsRefused(Refused):
    """Event {place} (counted from 0) is refused, and with it all the others: {why}"""

    place: int
    why: str


class TransactionRefused(Refused):
    """`publish` needs your own transaction on PostgreSQL, and {given} is none: {way}."""

    given: str
    way: str


class ActionRefused(Refused):
    """The action {action} is not possible: {why}."""

    action: str
    why: str


class EventIdTaken(Refused):
    """The event_id {event_id} belongs to an event of another record. Leave it out, and each event
    gets a new one. pydantic's `model_copy` keeps it: make the event anew.
    """

    event_id: str


class EventDiffers(Refused):
    """The event_id {event_id} was published before with other contents, or under an agreement that
    is not loaded. To change a record, publish its next revision (CORRECTED) under a new event_id.
    pydantic's `model_copy` keeps the event_id: make the event anew.
    """

    event_id: str


class OutboxBehindTopic(Refused):
    """{topic}/{partition} shows {shown:leaves}, this outbox has {known}: its database was
    restored from a backup, or another outbox writes there. Nothing is sealed, since that would make
    two histories. Stop every relay and run `sinergi outbox recover`, or find the other outbox.
    """

    topic: str
    partition: int
    known: int
    shown: int


class OutboxForked(Refused):
    """{origin} has two histories of {size:leaves}, and this agency has signed both: another outbox
    publishes in its name, or a database was restored from a backup and used again. Nothing is
    sealed. Stop every relay, keep both copies, and find out which history the readers follow.
    """

    origin: str
    size: int


class RecoveryRefused(Refused):
    """The outbox cannot be recovered: {what}. Nothing was changed."""

    what: str


class DiscardRefused(Refused):
    """Nothing was discarded: {what}. `sinergi outbox list --held` shows what is held, and why."""

    what: str


class PruneRefused(Refused):
    """User {user} does not own the outbox, and cannot prune it. Name the login of the owner
    of its tables in `producer.owner_database`; nothing was changed.
    """

    user: str


class OwnerDatabaseRefused(Refused):
    """The owner's database {what}. Nothing was changed. Correct `producer.owner_database`, or
    `producer.database`, which holds where the former is not set.
    """

    what: str


class LeaseLost(Superseded):
    """Another process has the lease {name} by now. Nothing more is written under epoch {epoch}."""

    name: str
    epoch: int
