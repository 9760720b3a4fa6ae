"""The outbox: `publish` puts an event into the agency's own database, in the agency's transaction.

The event exists exactly if that transaction commits. What needs no database is refused before it
is asked; the rest is one SQL function, one round trip. It takes the record's lock, gives out the
revision and stores the datum, and a refusal leaves the transaction as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import codec, errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from sinergi_schemas.agreement import Agreements
    from sinergi_schemas.catalog import Catalog, Schema
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.events import Event

MOST_BYTES = 256 * 1024
_CHUNK = 1_000

_COLUMNS = (
    ("event_id", "uuid"),
    ("event_type", "text"),
    ("record_id", "text"),
    ("action", "text"),
    ("recorded_at", "timestamptz"),
    ("fingerprint", "bytea"),
    ("datum_head", "bytea"),
    ("datum_tail", "bytea"),
    ("traceparent", "text"),
    ("backfill", "boolean"),
)
_RESULT = "status, revision, fingerprint, datum"
_PUT = f"SELECT {_RESULT} FROM sinergi_producer.put({', '.join(['%s'] * len(_COLUMNS))})"
_PUT_MANY = (
    f"SELECT done.{_RESULT.replace(', ', ', done.')}"
    f" FROM unnest({', '.join(f'%s::{kind}[]' for _, kind in _COLUMNS)}) WITH ORDINALITY"
    f" AS given ({', '.join(name for name, _ in _COLUMNS)}, place),"
    f" LATERAL sinergi_producer.put({', '.join(f'given.{name}' for name, _ in _COLUMNS)}) AS done"
    " ORDER BY given.place"
)


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event: itself with its revision, or the one stored under its id before."""

    event: Event
    is_new: bool


class Outbox:
    """An agency's way onto the bus. It may be shared by threads; it holds no connection.

    Args:
        agency: the publisher; the outbox refuses to speak for another.
        agreements: under which the agency publishes.
    """

    def __init__(
        self, agency: str, agreements: Agreements, catalog: Catalog, clock: Clock = SYSTEM
    ) -> None:
        self._agency = agency
        self._agreements = agreements
        self._catalog = catalog
        self._clock = clock

    def publish(
        self, session: Session | Connection, event: Event, *, traceparent: str | None = None
    ) -> Event:
        """Put an event into the caller's transaction; it as it goes onto the bus.

        Under READ COMMITTED nothing has to be retried; under stricter isolation a serialisation
        failure (40001) is the caller's to retry.

        Args:
            traceparent: the W3C trace context to hand on.

        Returns:
            The event with agency, revision, agreement and `recorded_at`; where its `event_id` is in
            the outbox already, the event that is stored there.

        Raises:
            EventRefused: it breaks a rule of the contract, or is above 256 KiB.
            NotAgreed: no agreement in force lets the agency publish this event type.
            ActionRefused: the record's state does not allow the action.
            EventIdTaken: the `event_id` belongs to another record.
        """
        issued, row = self._prepare(event, traceparent, backfill=False)
        (result,) = _connection(session).exec_driver_sql(_PUT, row).all()
        return self._published(issued, tuple(result)).event

    def publish_many(
        self, session: Session | Connection, events: Iterable[Event], *, backfill: bool = False
    ) -> list[Published]:
        """Put many events into the caller's transaction, all of them or none, in few round trips.

        Locks are taken in one order whatever the order of the events, so that two calls never wait
        for each other. Events of one record get their revisions in the order given.

        Args:
            backfill: they are history: the relay sends them when nothing live waits.

        Returns:
            What became of each, in the order given.

        Raises:
            EventsRefused: one of them is refused, for the reasons of `publish`; it says which.
        """
        prepared = [
            (place, *self._prepare_one_of(place, event, backfill=backfill))
            for place, event in enumerate(events)
        ]
        in_lock_order = sorted(
            prepared, key=lambda each: (each[1].event_type, each[1].record_id, each[0])
        )
        done: dict[int, Published] = {}
        connection = _connection(session)
        with connection.begin_nested():
            for start in range(0, len(in_lock_order), _CHUNK):
                chunk = in_lock_order[start : start + _CHUNK]
                columns = tuple(map(list, zip(*(row for _, _, row in chunk), strict=True)))
                results = connection.exec_driver_sql(_PUT_MANY, columns).all()
                for (place, issued, _), result in zip(chunk, results, strict=True):
                    try:
                        done[place] = self._published(issued, tuple(result))
                    except errors.Refused as why:
                        raise errors.EventsRefused(place, str(why)) from why
        return [done[place] for place in range(len(prepared))]

    def _prepare_one_of(
        self, place: int, event: Event, *, backfill: bool
    ) -> tuple[Event, tuple[object, ...]]:
        try:
            return self._prepare(event, None, backfill=backfill)
        except errors.Refused as why:
            raise errors.EventsRefused(place, str(why)) from why

    def _prepare(
        self, event: Event, traceparent: str | None, *, backfill: bool
    ) -> tuple[Event, tuple[object, ...]]:
        """Everything that can be refused or computed without the database."""
        now = self._clock.now()
        agreement = self._agreements.covering(self._agency, event.event_type, now)
        if agreement is None:
            raise errors.NotAgreed(f"sinergi.{self._agency}.{event.event_type}")
        issued = event.issued(
            agency=self._agency, agreement=agreement.hash, recorded_at=event.recorded_at or now
        )
        schema = self._catalog.newest(event.event_type)
        head, tail = codec.encode_around_revision(issued, schema)
        size = len(head) + len(tail)
        if size > MOST_BYTES:
            raise errors.EventRefused(
                event.event_type, (f"it is {size} bytes long, above {MOST_BYTES}",)
            )
        row = (
            issued.event_id,
            issued.event_type,
            issued.record_id,
            issued.action.value,
            issued.recorded_at,
            schema.fingerprint,
            head,
            tail,
            traceparent,
            backfill,
        )
        return issued, row

    def _published(self, issued: Event, result: Sequence[object]) -> Published:
        status, revision, fingerprint, datum = result
        match status:
            case "put":
                return Published(issued.model_copy(update={"revision": revision}), is_new=True)
            case "stored":
                schema = self._schema(fingerprint)
                stored = parse(issued.event_type, codec.decode(_bytes(datum), schema))
                return Published(stored, is_new=False)
            case "other-record":
                raise errors.EventIdTaken(str(issued.event_id))
            case _:
                raise errors.ActionRefused(issued.action.value, _WHY[str(status)])

    def _schema(self, fingerprint: object) -> Schema:
        schema = self._catalog.by_fingerprint(_bytes(fingerprint))
        if schema is None:
            raise errors.SchemaRefused(_bytes(fingerprint).hex(), "this version does not have it")
        return schema


_WHY = {
    "recorded-already": "the record exists already; publish a correction (CORRECTED)",
    "never-recorded": "the record was never published; publish it first (RECORDED)",
    "retracted": "the record was retracted; publish a new record under another record_id",
}


def _connection(session: Session | Connection) -> Connection:
    from sqlalchemy.orm import Session as OrmSession  # noqa: PLC0415 - Core is enough for some

    return session.connection() if isinstance(session, OrmSession) else session


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes | memoryview):
        raise TypeError(f"the database gave {type(value).__name__} where bytes stand")
    return bytes(value)
