"""The outbox: `publish` puts an event into the agency's own database, in the agency's transaction.

The event exists exactly if that transaction commits. Everything that can be checked without the
database is checked first. The rest is one SQL function, in one round trip: it locks the record,
gives out the revision and stores the datum. If it refuses the event, the transaction stays as it
was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_producers.outbox.caller_transaction import join
from sinergi_schemas import codec, errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events import Event, parse, revalidated
from sinergi_schemas.limits import MOST_DATUM_BYTES
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from uuid import UUID

    from sinergi_producers.outbox.caller_transaction import CallerTransaction, Transaction
    from sinergi_schemas.agreements.collection import Agreement, Agreements
    from sinergi_schemas.catalog import Catalog, Schema
    from sinergi_schemas.clock import Clock

_REVISION_BYTES = 5
_CHUNK = 1_000
_HASH = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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


_TYPES = {"event_id": "uuid", "recorded_at": "timestamptz", "backfill": "bool"} | dict.fromkeys(
    ("fingerprint", "datum_head", "datum_tail"), "bytea"
)
# In binary form, since the meaning of text depends on the caller's standard_conforming_strings,
# array_nulls and DateStyle.
_TYPED = [(f"%({name})b", f"pg_catalog.{_TYPES.get(name, 'text')}") for name in _Row._fields]
# For a single event, arrays cost twice as much as plain values.
_PUT_ONE = (
    "SELECT status, revision, fingerprint, datum FROM sinergi_producer.put("  # noqa: S608 - ours
    f"{', '.join(f'{given}::{kind}' for given, kind in _TYPED)})"
)
_PUT_MANY = (
    "SELECT done.status, done.revision, done.fingerprint, done.datum"  # noqa: S608 - our own names
    # With several arrays `unnest` is syntax, so it is always PostgreSQL's own function.
    " FROM unnest("
    f"{', '.join(f'{given}::{kind}[]' for given, kind in _TYPED)})"
    f" WITH ORDINALITY AS given ({', '.join(_Row._fields)}, place),"
    f" LATERAL sinergi_producer.put({', '.join(f'given.{name}' for name in _Row._fields)}) AS done"
    " ORDER BY given.place"
)
# `put` names the schema of an event that it has stored only if the database does not have it.
_REGISTER = (
    "SELECT sinergi_producer.register_schema(%(event_type)b::pg_catalog.text, %(version)b,"
    " %(id)b, %(text)b::pg_catalog.bytea, %(sinergi)b::pg_catalog.text)"
)
_REFUSED = "refused: "


@dataclass(frozen=True, slots=True)
class Published:
    """The result for one event: it with its revision, or the one that has its event_id already."""

    event: Event
    is_new: bool


class Outbox:
    """Publishes the events of one agency. Threads may share it; it holds no connection.

    Args:
        agency: the publisher; events of another agency are refused.
        agreements: those under which the agency publishes.
    """

    def __init__(
        self, agency: str, agreements: Agreements, catalog: Catalog, clock: Clock = SYSTEM
    ) -> None:
        self._agency = agency
        self._agreements = agreements
        self._catalog = catalog
        self._clock = clock

    def publish(
        self, session: Transaction, event: Event, *, traceparent: str | None = None
    ) -> Event:
        """Put an event into the caller's transaction.

        Under READ COMMITTED nothing has to be retried. Under stricter isolation the caller retries
        after a serialisation failure (40001). Errors of the database are those of the caller's
        library, but their text quotes nothing of the event.

        Args:
            session: whatever holds the transaction: a Session or Connection of SQLAlchemy's, a
                psycopg.Connection, or django.db.connection. With an AsyncSession call
                `await session.run_sync(lambda sync: outbox.publish(sync, event))`.
            traceparent: the W3C trace context that the message carries on.

        Returns:
            The event with agency, revision, agreement and `recorded_at`; or, if its `event_id` is
            in the outbox already, the event that is stored there.

        Raises:
            TransactionRefused: `session` is none of these, or in autocommit.
            EventRefused: it breaks a rule of the contract, is above 256 KiB, or is no event.
            NotAgreed: no agreement in force lets the agency publish this event type.
            ActionRefused: the record's state does not allow the action.
            EventIdTaken: the `event_id` belongs to another record.
            EventDiffers: it was published before, with other contents.
            TablesMissing: `sinergi db upgrade` has not prepared the database.
            DatabaseBroken: the application's user may not use sinergi_producer.
        """
        event = _valid(event)
        if not _is_trace(traceparent):
            raise errors.EventRefused(event.event_type, ("traceparent: is not of version 00",))
        joined = join(session)
        issued, row = self._prepare(event, traceparent, backfill=False)
        results = _put(joined, [row])
        self._register_schemas(joined, results)
        return self._published(issued, results[0]).event

    def publish_many(
        self, session: Transaction, events: Iterable[Event], *, backfill: bool = False
    ) -> list[Published]:
        """Put many events into the caller's transaction, all of them or none, in few round trips.

        Locks are taken in one order whatever the order of the events, so that two calls never wait
        for each other. Events of one record get their revisions in the order given.

        Args:
            backfill: the events are of the past: the relay sends them when no live row waits.

        Returns:
            The result for each event, in the order given.

        Raises:
            EventsRefused: one event is refused, for the reasons of `publish`; the error says which.
            TransactionRefused, …: as for `publish`.
        """
        _require_iterable(events)
        joined = join(session)
        prepared = [
            (place, *self._prepare_one_of(place, event, backfill=backfill))
            for place, event in enumerate(events)
        ]
        in_lock_order = sorted(
            prepared, key=lambda each: (each[1].event_type, each[1].record_id, each[0])
        )
        done: dict[int, Published] = {}
        with joined.savepoint():
            for start in range(0, len(in_lock_order), _CHUNK):
                chunk = in_lock_order[start : start + _CHUNK]
                results = _put(joined, [row for _, _, row in chunk])
                self._register_schemas(joined, results)
                for (place, issued, _), result in zip(chunk, results, strict=True):
                    try:
                        done[place] = self._published(issued, result)
                    except errors.Refused as why:
                        raise errors.EventsRefused(place, str(why)) from why
        return [done[place] for place in range(len(prepared))]

    def check(self, event: Event) -> None:
        """Check an event as `publish` does, as far as that is possible without the database.

        Raises:
            EventRefused, NotAgreed: as for `publish`.
        """
        self._prepare(_valid(event), None, backfill=True)

    def _prepare_one_of(self, place: int, event: Event, *, backfill: bool) -> tuple[Event, _Row]:
        try:
            return self._prepare(_valid(event), None, backfill=backfill)
        except errors.Refused as why:
            raise errors.EventsRefused(place, str(why)) from why

    def _prepare(
        self, event: Event, traceparent: str | None, *, backfill: bool
    ) -> tuple[Event, _Row]:
        """Do everything that can be checked or computed without the database."""
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
        size = len(head) + len(tail) + _REVISION_BYTES
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
        """The agreement of an event. Readers check that it was in force at `recorded_at`."""
        found = self._agreements.covering(self._agency, event_type, now)
        if found is None:
            why = self._agreements.why_not_in_force(self._agency, event_type, now)
            raise errors.NotAgreed(f"sinergi.{self._agency}.{event_type}", why)
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
            case "pruned" | "stored":
                return Published(self._repeated(issued, result), is_new=False)
            case "other-record":
                raise errors.EventIdTaken(str(issued.event_id))
            case status if status.startswith(_REFUSED):
                problem = status.removeprefix(_REFUSED)
                raise errors.EventRefused(issued.event_type, (problem,))
            case status:
                raise errors.ActionRefused(issued.action.value, _WHY[status])

    def _register_schemas(self, joined: CallerTransaction, results: Iterable[_Result]) -> None:
        """Register the schemas of stored events that the database lacks, for an older relay."""
        lacking = {bytes(each.fingerprint or b"") for each in results if each.status == "put"}
        for schema in filter(None, map(self._catalog.by_fingerprint, lacking)):
            given = {
                "event_type": schema.event_type,
                "version": schema.version,
                "id": schema.id,
                "text": schema.text,
                "sinergi": version("sinergi"),
            }
            joined.rows(_REGISTER, given)

    def _repeated(self, issued: Event, result: _Result) -> Event:
        """The event that is stored under the same event_id, if it has the same contents.

        `put` tells only the hash of its leaf, so that nobody reads there what another application
        has published. So the event is encoded as it was then: under each agreement that is loaded,
        since it is not known under which it was.
        """
        schema = self._stored_schema(result)
        leaf, recorded_at = _told(issued, result, schema)
        for agreement in dict.fromkeys(
            [issued.agreement, *(each.hash for each in self._agreements)]
        ):
            event = issued.model_copy(
                update={
                    "agreement": agreement,
                    "recorded_at": recorded_at,
                    "revision": result.revision,
                }
            )
            datum = codec.encode(event, schema)
            # An older schema lacks fields, which encoding leaves out.
            if (
                _leaf(event, schema, datum) == leaf
                and parse(event.event_type, codec.decode(datum, schema)) == event
            ):
                return event
        raise errors.EventDiffers(str(issued.event_id))

    def _stored_schema(self, result: _Result) -> Schema:
        """The schema of an event that was published before."""
        fingerprint = bytes(result.fingerprint or b"")
        schema = self._catalog.by_fingerprint(fingerprint)
        if schema is None:
            raise errors.SchemaRefused(fingerprint.hex(), "this version does not have it")
        return schema


class _Result(NamedTuple):
    """The result of the SQL function `put`; it returns a datum only if the event was stored before.

    Of an event that it has stored now, the fingerprint is given if the database lacks the schema.
    That is the hash of the leaf, then 8 bytes: `recorded_at` in microseconds since 1970. Before
    migration 0005 it was the whole datum (status `stored`), unless the row was pruned.
    """

    status: str
    revision: int | None
    fingerprint: bytes | None
    datum: bytes | None


def _told(issued: Event, result: _Result, schema: Schema) -> tuple[bytes, datetime | None]:
    """The hash of the leaf that is stored, and its `recorded_at`."""
    datum = bytes(result.datum or b"")
    if result.status == "stored":
        stored = parse(issued.event_type, codec.decode(datum, schema))
        return _leaf(issued, schema, datum), stored.recorded_at
    microseconds = int.from_bytes(datum[_HASH:], "big", signed=True)
    return datum[:_HASH], _EPOCH + timedelta(microseconds=microseconds)


def _leaf(event: Event, schema: Schema, datum: bytes) -> bytes:
    return leaf_hash(leaf_data(schema.fingerprint, event.record_id.encode(), datum))


_WHY = {
    "recorded-already": "the record exists already; publish a correction (CORRECTED)",
    "never-recorded": "the record was never published; publish it first (RECORDED)",
    "retracted": "the record was retracted; publish a new record under another record_id",
}


def _put(joined: CallerTransaction, rows: list[_Row]) -> list[_Result]:
    given: dict[str, Any] = rows[0]._asdict()
    if len(rows) == 1:
        return [_Result(*row) for row in joined.rows(_PUT_ONE, given)]
    given = dict(zip(_Row._fields, map(list, zip(*rows, strict=True)), strict=True))
    # An array that holds only NULL would be sent as text.
    given["traceparent"] = [each or "" for each in given["traceparent"]]
    return [_Result(*row) for row in joined.rows(_PUT_MANY, given)]


def _is_trace(given: object) -> bool:
    return given is None or (isinstance(given, str) and bool(_TRACEPARENT.fullmatch(given)))


def _require_iterable(given: object) -> None:
    if not isinstance(given, Iterable) or isinstance(given, Event):
        what = "is not a list of events: give it to publish, or give a list"
        raise errors.EventRefused(f"{type(given).__name__} given to publish_many", (what,))


def _valid(given: object) -> Event:
    """The event, validated again: pydantic's model_copy validates nothing."""
    if not isinstance(given, Event):
        what = "is none: make one, such as sinergi.Transfer(…)"
        raise errors.EventRefused(f"{type(given).__name__} given as an event", (what,))
    return revalidated(given)
