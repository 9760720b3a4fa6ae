"""The schemas that a newer version of Sinergi has registered in the agency's own database.

An application may be upgraded before its relay. Then it publishes events of a schema that is not
installed for the relay. Whoever publishes registers the bytes of the schema in the database, and so
does `sinergi db upgrade`. The relay uses them under the same rules as a reader uses the schema of
another agency: its shape is safe, and it is compatible with the newest version that is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from sinergi_schemas import errors
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.catalog import Catalog, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = structlog.get_logger(__name__)

_MOST_TAKEN = 64  # each costs a compiled decoder


class RegisteredSchema(NamedTuple):
    """A schema that some version of Sinergi has registered in this database.

    Attributes:
        id: its number in the Confluent framing.
        sinergi: the version of Sinergi that brought it.
        text: the bytes of its file; None if a version before migration 0006 has registered it.
    """

    event_type: str
    version: int
    id: int
    sinergi: str
    text: bytes | None = None

    @property
    def name(self) -> str:
        """`<event-type>/<version>`."""
        return f"{self.event_type}/{self.version}"


class UsableSchemas(NamedTuple):
    """What a relay can send at one moment.

    Attributes:
        catalog: the installed schemas, and those of the database that can be used.
        registered: all of the database, by fingerprint.
        refused: why one of these cannot be used, by fingerprint.
    """

    catalog: Catalog
    registered: Mapping[bytes, RegisteredSchema]
    refused: Mapping[bytes, str]

    @property
    def ids(self) -> dict[bytes, int]:
        """The number of each schema by its fingerprint, also of one that is only known by name.

        A newer relay may have led before this one, and have sealed what this one has to send.
        """
        known = {fingerprint: each.id for fingerprint, each in self.registered.items()}
        return known | {each.fingerprint: each.id for each in self.catalog.all()}


class _Judged(NamedTuple):
    """A registered schema: it is used, or else refused for a reason."""

    registered: RegisteredSchema
    schema: Schema | None
    refused: str


class RegisteredSchemas:
    """Reads the schemas of one database, and decides which of them can be used.

    Args:
        read: reads them, by fingerprint, the oldest first.
        installed: the schemas of this version.
    """

    def __init__(
        self, read: Callable[[], Mapping[bytes, RegisteredSchema]], installed: Catalog
    ) -> None:
        self._read = read
        self._installed = installed
        self._judged: dict[bytes, _Judged] = {}

    def usable(self) -> UsableSchemas:
        """The schemas that can be used now.

        Raises:
            Unavailable: the database is away.
        """
        registered = self._read()
        for fingerprint, each in registered.items():
            judged = self._judged.get(fingerprint)
            # The owner of the database may have corrected what an application has said of it.
            if self._is_wanted(fingerprint, each) and (not judged or judged.registered != each):
                self._judge(fingerprint, each)
        catalog = Catalog([*self._installed.all(), *self._taken()])
        refused = {key: each.refused for key, each in self._judged.items() if each.refused}
        return UsableSchemas(catalog, registered, refused)

    def _is_wanted(self, fingerprint: bytes, registered: RegisteredSchema) -> bool:
        return self._installed.by_fingerprint(fingerprint) is None and registered.text is not None

    def _taken(self) -> list[Schema]:
        return [each.schema for each in self._judged.values() if each.schema is not None]

    def _judge(self, fingerprint: bytes, registered: RegisteredSchema) -> None:
        """Decide to use a schema, or note why it cannot be used."""
        self._judged.pop(fingerprint, None)
        about = {"schema": registered.name, "fingerprint": fingerprint.hex()}
        schema = None
        try:
            schema = Schema.from_bytes(
                registered.event_type, registered.version, registered.id, registered.text or b""
            )
            why = self._why_not(schema)
        except errors.SchemaRefused as refused:
            why = str(refused)
        if why:
            self._judged[fingerprint] = _Judged(registered, None, why)
            _log.warning("schema in the database refused", why=why, **about)
            return
        self._judged[fingerprint] = _Judged(registered, schema, "")
        _log.info("schema taken from the database", sinergi=registered.sinergi, **about)

    def _why_not(self, schema: Schema) -> str:
        """Why a schema cannot be used beside those that are; empty if it can."""
        if schema.event_type not in self._installed.event_types:
            return "this version does not have its event type"
        taken = self._taken()
        for each in (*self._installed.all(), *taken):
            if each.id == schema.id:
                return f"its id {schema.id} is that of {each.name}"
            if each.name == schema.name:
                return f"another schema is {each.name} already"
        if len(taken) >= _MOST_TAKEN:
            return f"{_MOST_TAKEN} others are in use already"
        return compatibility.why_incompatible(self._installed.newest(schema.event_type), schema)
