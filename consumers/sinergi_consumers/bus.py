"""What a reader needs to read and verify topics: their source, the agreements and the schemas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_consumers.decode.agreement_check import AgreementCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Bus:
    """What one reader reads, and by which agreements and schemas.

    Attributes:
        source: where the topics are read.
        agreements: they contain the owners' keys; no other source of keys is used.
        catalog: the schemas that this installation has.
        reader: the agency that reads; None for an audit of other agencies' topics.
        load: loads the agreements again, for long-running processes; None if they never change.
    """

    source: TopicSource
    agreements: Agreements
    catalog: Catalog
    reader: str | None = None
    load: Callable[[], Agreements] | None = None

    @property
    def agreement_check(self) -> AgreementCheck:
        """The check that an agreement allows an event."""
        return AgreementCheck(self.agreements, self.reader)
