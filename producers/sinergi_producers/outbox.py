"""The outbox: `publish` puts an event into the agency's own database, in the agency's transaction.

The event exists exactly if that transaction commits. What needs no database is refused before it
is asked; the rest is one SQL function, one round trip. It takes the record's lock, gives out the
revision and stores the datum, and a refusal leaves the transaction as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from sinergi_schemas import codec, errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events import parse
from sinergi_schemas.limits import MOST_DATUM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from sinergi_schemas.agreement import Agreement, Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.events import Event

_CHUNK = 1_000

# W3C Trace Context §3.2, version 00.
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class _Row(NamedTuple):
    """What the SQL function `put` is given for one event."""

    event_id: UUID
    event_type: str
    record_id: str
    action: str
    recorded_at: datetime
    fingerprint: bytes
    datum_head: bytes
    datum_tail: bytes
    traceparent: str | None
    backfill: bool


_TYPES = {"event_id": "uuid", "recorded_at": "timestamptz", "backfill": "boolean"} | dict.fromkeys(
    ("fingerprint", "datum_head", "datum_tail"), "bytea"
)
# Arrays cost twice as much as the values by themselves, where there is one of each.
_PUT_ONE = sa.text(
    "SELECT status, revision, fingerprint, datum FROM"  # noqa: S608 - our own names
    f" sinergi_producer.put({', '.join(f':{name}' for name in _Row._fields)})"
)
_GIVEN = ", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')}[])" for name in _Row._fields)
_PUT_MANY = sa.text(
    "SELECT done.status, done.revision, done.fingerprint, done.datum"  # noqa: S608 - our own names
    f" FROM unnest({_GIVEN}) WITH ORDINALITY AS given ({', '.join(_Row._fields)}, place),"
    f" LATERAL sinergi_producer.put({', '.join(f'given.{name}' for name in _Row._fields)}) AS done"
    " ORDER BY given.place"
)
_UNDEFINED = ("42883", "3F000")
_NOT_PERMITTED = "42501"


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
        self, session: Session | sa.Connection, event: Event, *, traceparent: str | None = None
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
            EventDiffers: it was published before, with other contents.
            TablesMissing: `sinergi db upgrade` has not prepared the database.
            DatabaseBroken: the application's user may not use sinergi_producer.
        """
        if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
            raise errors.EventRefused(event.event_type, ("traceparent: is not of version 00",))
        issued, row = self._prepare(event, traceparent, backfill=False)
        (result,) = _put(_connection(session), [row])
        return self._published(issued, result).event

    def publish_many(
        self, session: Session | sa.Connection, events: Iterable[Event], *, backfill: bool = False
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
                results = _put(connection, [row for _, _, row in chunk])
                for (place, issued, _), result in zip(chunk, results, strict=True):
                    try:
                        done[place] = self._published(issued, result)
                    except errors.Refused as why:
                        raise errors.EventsRefused(place, str(why)) from why
        return [done[place] for place in range(len(prepared))]

    def _prepare_one_of(self, place: int, event: Event, *, backfill: bool) -> tuple[Event, _Row]:
        try:
            return self._prepare(event, None, backfill=backfill)
        except errors.Refused as why:
            raise errors.EventsRefused(place, str(why)) from why

    def _prepare(
        self, event: Event, traceparent: str | None, *, backfill: bool
    ) -> tuple[Event, _Row]:
        """Everything that can be refused or computed without the database."""
        now = self._clock.now()
        recorded_at = event.recorded_at or now
        agreement = self._agreement(event.event_type, now, recorded_at)
        purposes = agreement.events[event.event_type].purposes
        if event.purpose not in purposes:
            agreed = ", ".join(purposes)
            what = f"purpose: the agreement shares this event type for {agreed} only"
            raise errors.EventRefused(event.event_type, (what,))
        issued = event.issued(
            agency=self._agency, agreement=agreement.hash, recorded_at=recorded_at
        )
        schema = self._catalog.newest(event.event_type)
        head, tail = codec.encode_around_revision(issued, schema)
        size = len(head) + len(tail)
        if size > MOST_DATUM_BYTES:
            raise errors.EventRefused(
                event.event_type, (f"it is {size} bytes long, above {MOST_DATUM_BYTES}",)
            )
        row = _Row(
            issued.event_id,
            issued.event_type,
            issued.record_id,
            issued.action.value,
            issued.recorded_at or now,
            schema.fingerprint,
            head,
            tail,
            traceparent,
            backfill,
        )
        return issued, row

    def _agreement(self, event_type: str, now: datetime, recorded_at: datetime) -> Agreement:
        """The agreement under which an event is published: readers hold it to `recorded_at`."""
        found = self._agreements.covering(self._agency, event_type, now)
        if found is None:
            raise errors.NotAgreed(f"sinergi.{self._agency}.{event_type}")
        if not found.in_force(recorded_at):
            found = self._agreements.covering(self._agency, event_type, recorded_at)
        if found is None:
            what = "recorded_at: no agreement on this event type was in force then"
            raise errors.EventRefused(event_type, (what,))
        return found

    def _published(self, issued: Event, result: _Result) -> Published:
        match result.status:
            case "put":
                event = issued.model_copy(update={"revision": result.revision})
                return Published(event, is_new=True)
            case "stored":
                return Published(self._stored(issued, result), is_new=False)
            case "other-record":
                raise errors.EventIdTaken(str(issued.event_id))
            case status:
                raise errors.ActionRefused(issued.action.value, _WHY[status])

    def _stored(self, issued: Event, result: _Result) -> Event:
        """The event that is there under the same id, if it says the same."""
        fingerprint = bytes(result.fingerprint or b"")
        schema = self._catalog.by_fingerprint(fingerprint)
        if schema is None:
            raise errors.SchemaRefused(fingerprint.hex(), "this version does not have it")
        stored = parse(issued.event_type, codec.decode(bytes(result.datum or b""), schema))
        published_now = {name: getattr(stored, name) for name in issued.ISSUED}
        if issued.model_copy(update=published_now) != stored:
            raise errors.EventDiffers(str(issued.event_id))
        return stored


class _Result(NamedTuple):
    """What the SQL function `put` says of one event; the last two where it was stored before."""

    status: str
    revision: int | None
    fingerprint: bytes | None
    datum: bytes | None


_WHY = {
    "recorded-already": "the record exists already; publish a correction (CORRECTED)",
    "never-recorded": "the record was never published; publish it first (RECORDED)",
    "retracted": "the record was retracted; publish a new record under another record_id",
}


def _put(connection: sa.Connection, rows: list[_Row]) -> list[_Result]:
    given: dict[str, Any] = rows[0]._asdict()
    if len(rows) > 1:
        given = dict(zip(_Row._fields, map(list, zip(*rows, strict=True)), strict=True))
    try:
        found = connection.execute(_PUT_ONE if len(rows) == 1 else _PUT_MANY, given)
        return [_Result(*row) for row in found]
    except sa.exc.ProgrammingError as why:
        # Not from `why`: SQLAlchemy's text quotes what was sent, and so the event.
        state = getattr(why.orig, "sqlstate", None)
        if state in _UNDEFINED:
            raise errors.TablesMissing("sinergi_producer.put", "producer") from why.orig
        if state == _NOT_PERMITTED:
            raise errors.DatabaseBroken(state, str(why.orig).partition("\n")[0]) from why.orig
        raise


def _connection(session: Session | sa.Connection) -> sa.Connection:
    return session if isinstance(session, sa.Connection) else session.connection()
