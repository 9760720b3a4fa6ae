"""Schemas that are not installed here, from the control topics of the agencies that use them.

An agency may install a newer version of Sinergi, with a newer version of an event type, before its
readers do. Its relay writes every schema of its events to its control topic. A schema is identified
by the SHA-256 of its bytes, and the seal of each event covers that fingerprint. So it does not
matter who wrote the bytes to the topic, and others under the same key are ignored.

A schema is used only if its shape is safe and if it is compatible with the newest version that is
installed. Of its events the fields are read that this version knows.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.avro_types.shape import MOST_BYTES
from sinergi_schemas.catalog import Schema
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import SCHEMA_KEY, TopicPartition, control_topic, schema_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

# Of a control topic, the newest messages. It is compacted, and gets some 1,500 messages a day.
_MOST_MESSAGES = 200_000
# Of each agency, so that none can keep the schemas of another from being read.
_MOST_KEPT = 256
_MOST_KEPT_BYTES = 1024 * 1024
_MOST_TAKEN = 64  # each costs a compiled decoder
AGAIN_SECONDS = 60.0


def missing(event_type: str, fingerprint: bytes) -> str:
    """That there is no schema with a fingerprint, as the detail of an event in quarantine."""
    return f"no schema of {event_type} is {fingerprint.hex()}"


class PublishedSchemas:
    """The schemas of other agencies that can be read here.

    Args:
        source: called for where the control topics are read.
        catalog: the schemas that are installed.
        clock: the same control topic is read again only after a minute.
    """

    def __init__(
        self, source: Callable[[], TopicSource], catalog: Catalog, clock: Clock = SYSTEM
    ) -> None:
        self._source = source
        self._catalog = catalog
        self._clock = clock
        self._texts: dict[str, dict[bytes, bytes]] = {}
        self._read_at: dict[str, float] = {}
        self._taken: dict[str, dict[bytes, Schema]] = {}
        self._taken_of: Counter[str] = Counter()
        self._refused: dict[tuple[str, bytes], str] = {}

    def of(self, event_type: str) -> Mapping[bytes, Schema]:
        """The schemas of an event type that were found and can be read, by fingerprint."""
        return self._taken.get(event_type, {})

    def why_not(self, event_type: str, fingerprint: bytes) -> str:
        """Why events with a schema cannot be read, which is not installed and not among `of`."""
        refused = self._refused.get((event_type, fingerprint))
        return refused or missing(event_type, fingerprint)

    def find(self, agency: str, event_type: str, fingerprints: Collection[bytes]) -> bool:
        """Look for schemas of an agency's events that are not known here.

        Returns:
            Whether one of them can be read from now on.

        Raises:
            Unavailable: the source does not answer.
        """
        taken = self._taken.setdefault(event_type, {})
        unknown = [
            each
            for each in fingerprints
            if self._catalog.by_fingerprint(each) is None
            and each not in taken
            and (event_type, each) not in self._refused
        ]
        texts = self._texts.setdefault(agency, {})
        if any(each not in texts for each in unknown):
            try:
                self._read(agency, texts)
            except (errors.NotPermitted, errors.TopicAway) as why:
                # Then these events wait in quarantine, and the others are read.
                _log.warning("control topic not searched for schemas", why=str(why))
        before = len(taken)
        for each in unknown:
            if each in texts:
                self._take(agency, event_type, each, texts[each])
        return len(taken) > before

    def _read(self, agency: str, texts: dict[bytes, bytes]) -> None:
        """Keep the schemas that are on the control topic of an agency and not installed here."""
        now = self._clock.monotonic()
        if now - self._read_at.get(agency, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        self._read_at[agency] = now
        topic = control_topic(agency)
        room = _MOST_KEPT_BYTES - sum(map(len, texts.values()))
        source = self._source()
        if source.partition_counts([topic]):
            with source.open_scan(TopicPartition(topic, 0)) as scan:
                low, high = scan.bounds()
                for chunk in scan.read(max(low, high - _MOST_MESSAGES), high):
                    for each in chunk:
                        fingerprint, text = self._stated(each.key() or b"", each.value() or b"")
                        if fingerprint is None or fingerprint in texts:
                            continue
                        if len(texts) < _MOST_KEPT and len(text) <= room:
                            texts[fingerprint] = text
                            room -= len(text)

    def _stated(self, key: bytes, text: bytes) -> tuple[bytes | None, bytes]:
        """The fingerprint of a schema, if the text has it and it is not installed here."""
        if not SCHEMA_KEY.fullmatch(key) or len(text) > MOST_BYTES:
            return None, b""
        fingerprint = sha256(text).digest()
        is_as_named = key == schema_key(fingerprint)
        is_new = is_as_named and self._catalog.by_fingerprint(fingerprint) is None
        return fingerprint if is_new else None, text

    def _take(self, agency: str, event_type: str, fingerprint: bytes, text: bytes) -> None:
        """Use a schema, or note why it cannot be used."""
        try:
            schema = Schema.of_another_agency(event_type, text)
            why = compatibility.why_incompatible(self._catalog.newest(event_type), schema)
        except errors.SchemaRefused as refused:
            why = str(refused)
        if not why and self._taken_of[agency] >= _MOST_TAKEN:
            why = f"{_MOST_TAKEN} other schemas of {agency} are in use already"
        about = {"agency": agency, "event_type": event_type, "fingerprint": fingerprint.hex()}
        if why:
            self._refused[event_type, fingerprint] = why
            _log.warning("schema of another agency refused", why=why, **about)
            return
        self._taken[event_type][fingerprint] = schema
        self._taken_of[agency] += 1
        _log.info("schema taken from the control topic", **about)
