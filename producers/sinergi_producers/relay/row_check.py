"""Checks whether a row of the outbox can be sent, before it is sealed.

`publish` stores only rows that can. But anybody who may call the SQL function `put`, or write to
the table, can store any bytes. A sealed row must be sent and can never be changed, even if no
reader accepts it. So the relay holds such a row, and the reason says what to do about it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import codec
from sinergi_schemas.avro_types.datum import MalformedDatum
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long
from sinergi_schemas.avro_types.nodes import EnumType
from sinergi_schemas.avro_types.quick_datum import quick_reader
from sinergi_schemas.limits import MOST_DATUM_BYTES, MOST_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sinergi_producers.relay.sealing import OutboxRow
    from sinergi_schemas.catalog import Catalog, Schema

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

_OTHER_TYPE = "its schema is one of another event type"
_OTHER_EVENT = "its datum is not the event that its row says it is"
_OTHER_ACTION = "its action does not fit its revision: RECORDED is revision 1 and no other is"
_IDENTITY = [
    ("event_id", "uuid"),
    ("agency", "string"),
    ("record_id", "string"),
    ("revision", "int"),
]
# The action follows: its first symbol, and the first byte that does not encode it alone.
_RECORDED, _LONGER = 0x00, 0x80


class KnownSchema(NamedTuple):
    """A schema that some version of Sinergi has registered in this database.

    Attributes:
        id: its number in the Confluent framing.
        sinergi: the version of Sinergi that brought it.
    """

    event_type: str
    version: int
    id: int
    sinergi: str


class RowCheck:
    """Checks the rows of one agency.

    Args:
        known: the schemas registered in the database, by their fingerprints.
    """

    def __init__(self, agency: str, catalog: Catalog, known: Mapping[bytes, KnownSchema]) -> None:
        self._agency = agency
        self._agency_text = encode_bytes(agency.encode())
        self._known = known
        self._forms = {each.fingerprint: _Form(each) for each in catalog.all()}

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
        return None if is_recorded == (revision == 1) else _OTHER_ACTION

    def _unknown(self, fingerprint: bytes) -> str:
        known = self._known.get(fingerprint)
        if known is None:
            return (
                f"{UNKNOWN_SCHEMA}, and no version that has upgraded this database had it: install"
                " the version of Sinergi with which the application publishes, or discard it"
            )
        return (
            f"{UNKNOWN_SCHEMA} {known.event_type}/{known.version}: install Sinergi {known.sinergi}"
            " or newer"
        )


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

    @cached_property
    def check(self) -> Callable[[bytes], None]:
        """A function that raises `MalformedDatum` if bytes are not one datum of the schema."""
        return quick_reader(self._schema).check

    def identity(self, datum: bytes) -> list[object]:
        """The event_id, agency, record_id, revision and action in a datum."""
        document = codec.decode(datum, self._schema)
        event_id, *rest = (document.get(name) for name, _ in [*_IDENTITY, ("action", "enum")])
        return [str(event_id), *rest]
