"""Checks whether a row of the outbox can be sent, before it is sealed.

`publish` stores only rows that can. But anybody who may call the SQL function `put`, or write to
the table, can store any bytes. A sealed row must be sent and can never be changed, even if no
reader accepts it. So the relay holds such a row, and the reason says what to do about it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import codec
from sinergi_schemas.avro_types.datum import MalformedDatum
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long
from sinergi_schemas.avro_types.nodes import EnumType
from sinergi_schemas.avro_types.quick_datum import quick_reader
from sinergi_schemas.limits import MOST_DATUM_BYTES, MOST_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_producers.relay.registered_schemas import UsableSchemas
    from sinergi_producers.relay.sealing import OutboxRow
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Schema

TOO_LONG = "it is above 256 KiB"
UNKNOWN_SCHEMA = "this relay does not have its schema"
"""The beginning of the reason for holding a row with a newer schema; the version follows."""

# The database turns the event_id into text, which is quicker than in the driver. It also finds
# values that Python cannot hold, and such a row is held.
ROW = f"""id, event_id::pg_catalog.text, pg_catalog.left(event_type, 64),
    pg_catalog.convert_to(pg_catalog.left(record_id, {MOST_DATUM_BYTES}), 'UTF8'),
    CASE WHEN recorded_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        THEN recorded_at ELSE '1970-01-01 00:00:00+00' END,
    pg_catalog.substring(fingerprint, 1, 33),
    CASE WHEN pg_catalog.length(datum) > {MOST_DATUM_BYTES} THEN '' ELSE datum END,
    pg_catalog.left(traceparent, 55), revision,
    CASE WHEN pg_catalog.length(datum) > {MOST_DATUM_BYTES} THEN '{TOO_LONG}'
        WHEN pg_catalog.octet_length(record_id) NOT BETWEEN 1 AND {MOST_KEY_BYTES}
            THEN 'its record_id is empty or longer than 256 bytes'
        WHEN recorded_at NOT BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
            THEN 'its recorded_at lies outside the years 1 to 9999'
        WHEN pg_catalog.octet_length(traceparent) <> 55
            THEN 'its traceparent is not of version 00'
    END"""
# Nearly always no row is held, and then nothing is looked up.
IS_BEHIND = """(SELECT EXISTS (SELECT FROM sinergi_producer.outbox WHERE held IS NOT NULL))
    AND EXISTS (SELECT FROM sinergi_producer.outbox AS earlier
        WHERE earlier.held IS NOT NULL AND earlier.leaf_index IS NULL
        AND earlier.event_type = waiting.event_type AND earlier.record_id = waiting.record_id
        AND earlier.id < waiting.id)"""

UNKNOWN_AGREEMENT = "the agreement that it names is not in the folder"
_NOT_ITS_PUBLISHER = "the agreement that it names does not let this agency publish it"
_NOT_IN_FORCE = "the agreement that it names was not in force when it was recorded"
_OTHER_PURPOSE = "the agreement that it names does not share it for its purpose"
_OTHER_TYPE = "its schema is one of another event type"
_OTHER_EVENT = "its datum is not the event that its row says it is"
_OTHER_ACTION = "its action does not fit its revision: RECORDED is revision 1 and no other is"
_IDENTITY = [
    ("event_id", "uuid"),
    ("agency", "string"),
    ("record_id", "string"),
    ("revision", "int"),
]
# The next byte is the action's enum index as a varint: 0x00 is RECORDED; 0x80 or more begins a
# varint of several bytes.
_RECORDED, _LONGER = 0x00, 0x80


class AgreementTerms(NamedTuple):
    """What an agreement says about one event type that this agency may publish.

    Attributes:
        starts, ends: when it is in force, in microseconds since 1970.
    """

    starts: int
    ends: float
    purposes: frozenset[str]


class StatedTerms(NamedTuple):
    """What an event says about its agreement; `recorded_at` in microseconds since 1970."""

    recorded_at: int
    agreement: bytes
    purpose: str


_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_STATED = [
    ("action", "enum"),
    ("occurred_at", "timestamp-micros"),
    ("occurred_precision", "enum"),
    ("zone", "string"),
    ("recorded_at", "timestamp-micros"),
    ("agreement", "string"),
    ("purpose", "enum"),
]
# Action, occurred_at, occurred_precision, and the length of the zone.
_BEFORE_ZONE = re.compile(
    rb"[\x00-\x7f][\x80-\xff]{0,9}[\x00-\x7f][\x00-\x7f]([\x00-\x7f])", re.DOTALL
)
# After the zone: recorded_at, an agreement of 64 bytes, the purpose.
_TERMS = re.compile(rb"([\x80-\xff]{0,9}[\x00-\x7f])\x80\x01(.{64})([\x00-\x7f])", re.DOTALL)


class RowCheck:
    """Checks the rows of one agency.

    Args:
        schemas: those that the relay can use, and those that the database names.
        agreements: those that events may name; None: they are not compared.
    """

    def __init__(
        self,
        agency: str,
        schemas: UsableSchemas,
        agreements: Agreements | None = None,
    ) -> None:
        self._agreements = agreements
        self._terms = {
            (name, each.hash.encode()): AgreementTerms(
                _microseconds(each.starts),
                inf if each.ends is None else _microseconds(each.ends),
                frozenset(purpose.value for purpose in agreed.purposes),
            )
            for each in agreements or ()
            for name, agreed in each.events.items()
            if agency in agreed.publishers
        }
        self._agency = agency
        self._agency_text = encode_bytes(agency.encode())
        self._schemas = schemas
        self._forms = {each.fingerprint: _Form(each) for each in schemas.catalog.all()}

    def fault(self, row: OutboxRow) -> str | None:
        """Why a row cannot be sent, in words that quote no value of it; None if it can."""
        _, event_id, event_type, key, _, fingerprint, datum, _, revision, row_fault, _ = row
        if row_fault is not None:
            return row_fault
        form = self._forms.get(fingerprint)
        if form is None:
            return self._unknown(fingerprint)
        if form.event_type != event_type:
            return _OTHER_TYPE
        try:
            form.check(datum)
        except MalformedDatum as why:
            return f"its datum is not one of {form.name}: {why}"
        # Nearly always the datum begins with the identity, in its shortest encoding.
        written = (
            str(event_id).encode(),
            self._agency_text,
            encode_long(len(key)),
            key,
            encode_long(revision),
        )
        begins = b"H%b%b%b%b%b" % written
        at = len(begins)
        if form.begins_with_identity and datum.startswith(begins) and datum[at] < _LONGER:
            is_recorded = datum[at] == _RECORDED
        else:
            *identity, action = form.identity(datum)
            if identity != [str(event_id), self._agency, key.decode(), revision]:
                return _OTHER_EVENT
            is_recorded = action == "RECORDED"
        if is_recorded != (revision == 1):
            return _OTHER_ACTION
        return None if self._agreements is None else self._not_agreed(event_type, form, datum, at)

    def _not_agreed(self, event_type: str, form: _Form, datum: bytes, at: int) -> str | None:
        """Why the agreement that an event names does not allow it; None if it does."""
        stated = form.stated_terms(datum, at)
        terms = self._terms.get((event_type, stated.agreement))
        if terms is None:
            named = stated.agreement.decode(errors="replace")
            is_here = self._agreements and self._agreements.by_hash(named)
            return _NOT_ITS_PUBLISHER if is_here else UNKNOWN_AGREEMENT
        if not terms.starts <= stated.recorded_at < terms.ends:
            return _NOT_IN_FORCE
        return None if stated.purpose in terms.purposes else _OTHER_PURPOSE

    def _unknown(self, fingerprint: bytes) -> str:
        known = self._schemas.registered.get(fingerprint)
        if known is None:
            return (
                f"{UNKNOWN_SCHEMA}, and no version that has upgraded this database had it: install"
                " the version of Sinergi with which the application publishes, or discard it"
            )
        refused = self._schemas.refused.get(fingerprint)
        why = f", and cannot use that of the database ({refused})" if refused else ""
        return f"{UNKNOWN_SCHEMA} {known.name}{why}: install Sinergi {known.sinergi} or newer"


class _Form:
    """A schema, and how to check its datums."""

    def __init__(self, schema: Schema) -> None:
        self.name = schema.name
        self.event_type = schema.event_type
        self._schema = schema
        first = [(each.name, each.type.kind) for each in schema.event.fields]
        action = next((each for each in schema.event.fields[4:5] if each.name == "action"), None)
        self.begins_with_identity = (
            first[: len(_IDENTITY)] == _IDENTITY
            and action is not None
            and isinstance(action.type, EnumType)
            and action.type.symbols[0] == "RECORDED"
        )

        self.purposes: tuple[str, ...] = ()
        if self.begins_with_identity and first[4:11] == _STATED:
            purpose = schema.event.fields[10].type
            self.purposes = purpose.symbols if isinstance(purpose, EnumType) else ()

    @cached_property
    def check(self) -> Callable[[bytes], None]:
        """A function that raises `MalformedDatum` if bytes are not one datum of the schema."""
        return quick_reader(self._schema).check

    def stated_terms(self, datum: bytes, at: int) -> StatedTerms:
        """What a datum of the schema says about its agreement.

        Args:
            at: where its action is, if it begins with its identity.
        """
        if self.purposes:
            before = _BEFORE_ZONE.match(datum, at)
            found = before and _TERMS.match(datum, before.end() + (before[1][0] >> 1))
            if found:
                zigzag = 0
                for byte in reversed(found[1]):
                    zigzag = zigzag << 7 | byte & 0x7F
                recorded_at = (zigzag >> 1) ^ -(zigzag & 1)
                return StatedTerms(recorded_at, found[2], self.purposes[found[3][0] >> 1])
        document = codec.decode(datum, self._schema)
        return StatedTerms(
            _microseconds(document["recorded_at"]),
            str(document["agreement"]).encode(),
            str(document["purpose"]),
        )

    def identity(self, datum: bytes) -> list[object]:
        """The event_id, agency, record_id, revision and action in a datum."""
        document = codec.decode(datum, self._schema)
        event_id, *rest = (document.get(name) for name, _ in [*_IDENTITY, ("action", "enum")])
        return [str(event_id), *rest]


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
