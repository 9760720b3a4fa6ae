"""One event to its Avro bytes and back. A datum is bare: no frame around it, no container.

Consumers decode thousands at once in another way; both give the same verdict on every datum, and a
property test holds them to it.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro

from sinergi_schemas import errors
from sinergi_schemas.datum import Datum, NotOne

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.events import Event

_REVISION = "revision"


def encode(event: Event, schema: Schema) -> bytes:
    """The datum of an issued event.

    Raises:
        EventRefused: it is not issued yet, or not of this schema's event type.
    """
    return encode_document(_document(event, schema), schema)


def encode_around_revision(event: Event, schema: Schema) -> tuple[bytes, bytes]:
    """The datum of an event without its revision: what stands before it and what stands behind.

    A record's next revision is known only under its lock. So the database puts it in, as a zigzag
    variable-length integer, and the agency's transaction pays for one round trip, not for two.

    Raises:
        EventRefused: the event is not of this schema's event type.
    """
    document = {**_document(event, schema), _REVISION: 0}
    head = _encode(document, _fields_before_revision(schema))
    datum = encode_document(document, schema)
    return head, datum[len(head) + 1 :]


def encode_document(document: Mapping[str, Any], schema: Schema) -> bytes:
    """The datum of a document of a schema, its values in Python's types.

    Raises:
        EventRefused: a value is missing or does not fit its field.
    """
    return _encode(document, _parsed(schema))


def decode(datum: bytes, schema: Schema) -> dict[str, Any]:
    """The document in a datum: aware datetimes, dates, decimals, enum symbols and UUIDs as text.

    Raises:
        DatumInvalid: it is not one datum of the schema, or breaks a rule of the contract.
    """
    try:
        document, _ = Datum.read(datum, schema.parsed)
    except NotOne as why:
        raise errors.DatumInvalid(schema.name, str(why)) from None
    return dict(document)


def _document(event: Event, schema: Schema) -> dict[str, Any]:
    if event.event_type != schema.event_type:
        raise errors.EventRefused(
            event.event_type, (f"it was to be encoded as {schema.event_type}",)
        )
    return event.model_dump()


def _encode(document: Mapping[str, Any], parsed: Any) -> bytes:
    buffer = BytesIO()
    try:
        fastavro.schemaless_writer(buffer, parsed, document, strict=True)
    except (ValueError, TypeError, KeyError, OverflowError) as why:
        # fastavro's message quotes the value: only its kind may go on.
        name = parsed.get("name", "event")
        raise errors.EventRefused(name, (f"a value does not fit ({type(why).__name__})",)) from None
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _parsed(schema: Schema) -> Any:
    return fastavro.parse_schema(schema.parsed)


@lru_cache(maxsize=256)
def _fields_before_revision(schema: Schema) -> Any:
    fields = schema.parsed["fields"]
    names = [field["name"] for field in fields]
    before = fields[: names.index(_REVISION)]
    return fastavro.parse_schema({**schema.parsed, "name": "Before", "fields": before})
