"""What a replay reads, by which agreements and schemas, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi.cli import verdict
from sinergi.cli.replay_options import asks_for_one
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_consumers.audit.table_replay import TableTarget
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.topics import Topic


class ReplayScope(NamedTuple):
    """What a replay reads.

    Attributes:
        place: where it reads, by which settings and agreements.
        topics: the topics, in the order in which they are read.
        copies: which copies of the only topic are read.
        reader: the agency whose tables the events fill; None for those of any reader, and where
            no tables are filled.
    """

    place: ReadingPlace
    catalog: Catalog
    topics: Sequence[Topic]
    copies: Copies
    reader: str | None = None

    @property
    def settings(self) -> Settings:
        """Those of who reads."""
        return self.place.settings

    @property
    def agreements(self) -> Agreements:
        """Those that hold here."""
        return self.place.agreements

    def audits(self, target: TableTarget | None = None) -> list[Audit]:
        """An audit of each topic, with the login that its reading needs.

        Args:
            target: if given, the events become rows there.
        """
        return [
            Audit(
                self.place.bus(each, self.catalog),
                each,
                self.copies,
                target,
            )
            for each in self.topics
        ]

    def facts(
        self, series: AuditSeries, asked_for: Mapping[str, Any], record: str | None
    ) -> dict[str, Any]:
        """What was asked for and what was found out, as a JSON document beside the events.

        Args:
            series: the audits, which are complete.
            asked_for: the options that chose the events.
            record: that was asked for, if one was.
        """
        documents = verdict.documents(
            series.audits,
            record=record,
            asks_for_one=asks_for_one(asked_for),
            unread=series.unread,
        )
        return {
            "made_at": SYSTEM.now().isoformat(),
            "asked_for": dict(asked_for),
            "agreements": sorted(self.agreements.versions),
            "verdicts": documents,
        }
