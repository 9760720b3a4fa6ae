"""What a reader needs to judge a topic: the cluster, and whom to trust for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_consumers.decode.agreement_check import AgreementCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.kafka import Connection


@dataclass(frozen=True, slots=True)
class Bus:
    """The bus as one agency sees it.

    Attributes:
        agreements: they name the owners' keys, which are taken from nowhere else.
        reader: the agency that reads; None for an audit of what others share.
        load: reads the agreements again, for whoever runs for ever; without it they stay as they
            are.
        catalog: the schemas that are known here.
    """

    connection: Connection
    agreements: Agreements
    catalog: Catalog
    reader: str | None = None
    load: Callable[[], Agreements] | None = None

    @property
    def agreed(self) -> AgreementCheck:
        """What events are held to."""
        return AgreementCheck(self.agreements, self.reader)
