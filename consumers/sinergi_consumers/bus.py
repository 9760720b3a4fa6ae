"""What a reader needs to read and verify topics: their source, the agreements and the schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_consumers.decode.agreement_check import AgreementCheck
from sinergi_consumers.decode.decoder import Decoder, Decoders
from sinergi_consumers.decode.published_schemas import PublishedSchemas

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog, Schema


@dataclass(frozen=True, slots=True)
class Bus:
    """What one reader reads, and by which agreements and schemas.

    Attributes:
        source: where the topics are read.
        agreements: they contain the owners' keys; no other source of keys is used.
        catalog: the schemas that this installation has.
        reader: the agency that reads; None for an audit of other agencies' topics.
        load: loads the agreements again, for long-running processes; None if they never change.
        published: further schemas, from the control topics of their owners.
    """

    source: TopicSource
    agreements: Agreements
    catalog: Catalog
    reader: str | None = None
    load: Callable[[], Agreements] | None = None
    published: PublishedSchemas = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Look for further schemas where the topics are read."""
        source = self.source  # nothing refers to this bus, so its clients end with it
        object.__setattr__(self, "published", PublishedSchemas(lambda: source, self.catalog))

    def schema(self, event_type: str, fingerprint: bytes) -> Schema | None:
        """A schema that is installed or was found; None without one."""
        installed = self.catalog.by_fingerprint(fingerprint)
        return installed or self.published.of(event_type).get(fingerprint)

    def decoder(self, event_type: str) -> Decoder:
        """A decoder of one event type, without a check against agreements."""
        return Decoder(self.catalog, event_type, published=self.published)

    def decoders(self, agreement_check: AgreementCheck | None) -> Decoders:
        """Decoders of all event types."""
        return Decoders(self.catalog, agreement_check, self.published)

    @property
    def agreement_check(self) -> AgreementCheck:
        """The check that an agreement allows an event."""
        return AgreementCheck(self.agreements, self.reader)
