"""Where a command reads topics: on the brokers that the settings name, or in an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi.settings.model import BusRole
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.archive_source import ArchiveSource
from sinergi_consumers.bus import Bus
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.read_ahead import usable_processes
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sinergi.settings.settings import Settings
    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog


@dataclass(frozen=True, slots=True)
class ReadingPlace:
    """Where topics are read.

    Attributes:
        settings, agreements: of who reads.
        archive: the archive that is read; None for the brokers.
    """

    settings: Settings
    agreements: Agreements
    archive: ArchiveFile | None = None
    _sources: dict[BusRole | None, TopicSource] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def source(self, topic: Topic) -> TopicSource:
        """Where a topic is read, with its heads and receipts.

        An agency reads its own topics as producer, an auditor as `[kafka]` says.

        Raises:
            SettingsRefused: the settings do not say where the brokers are.
        """
        agency = self.settings.values.agency
        role = BusRole.PRODUCER if topic.agency == agency else BusRole.CONSUMER
        return self._source(None if agency is None else role)

    def bus(self, topic: Topic, catalog: Catalog) -> Bus:
        """How a topic is read.

        Raises:
            SettingsRefused: as `source`.
        """
        return Bus(self.source(topic), self.agreements, catalog)

    def logins(self, topics: Iterable[Topic]) -> str:
        """Under which names the brokers are read for some topics, or in which archive.

        Raises:
            SettingsRefused: as `source`.
        """
        found = {self.source(each).login.removeprefix("User:") for each in topics}
        return ", ".join(sorted(found))

    @property
    def described(self) -> dict[str, str]:
        """The archive for the journal, as it was named, and by its digest; nothing for brokers."""
        if self.archive is None:
            return {}
        return {"archive": str(self.archive.path), "archive_digest": self.archive.digest}

    @property
    def receipts_source(self) -> TopicSource:
        """Where the receipts of a reader are read, whoever it is.

        Raises:
            SettingsRefused: as `source`.
        """
        has_role = self.settings.values.agency is not None
        return self._source(BusRole.CONSUMER if has_role else None)

    def readable(self) -> list[Topic]:
        """The topics that an agency publishes or reads, or that an auditor reads; for others all.

        Topics of an agreement that has not begun need not exist yet. Those of an ended one do. Of
        an archive, all that it has and an agreement covers.

        Raises:
            SettingsRefused: as `source`.
        """
        agreements, agency = self.agreements, self.settings.values.agency
        if self.archive is not None:
            return sorted({*_event_topics(self.archive)}.intersection(agreements.topics()))
        begun = set(agreements.topics_since(SYSTEM.now()))
        if agency is not None:
            own = {*agreements.published_by(agency), *agreements.read_by(agency)}
            return sorted(own & begun)
        principal = self.settings.connection().principal.removeprefix("User:")
        audited = agreements.audited_by(principal)
        return sorted(begun.intersection(audited)) if audited else sorted(begun)

    def check(self, topics: Iterable[Topic]) -> None:
        """Refuse topics that the archive does not have.

        Raises:
            NotArchived: it lacks one.
        """
        for each in topics:
            if self.archive is not None:
                self.archive.partition(TopicPartition(each.name, 0))

    def _source(self, role: BusRole | None) -> TopicSource:
        if role not in self._sources:
            archive = self.archive
            self._sources[role] = (
                KafkaSource(self.settings.connection(role), usable_processes())
                if archive is None
                else ArchiveSource(archive)
            )
        return self._sources[role]


def reading_place(settings: Settings, agreements: Agreements, archive: Path | None) -> ReadingPlace:
    """Where a command reads topics.

    Raises:
        ArchiveRefused: the file is no archive, or one of another bus or of other agreements.
        ArchiveDamaged: it is not as it was written.
    """
    if archive is None:
        return ReadingPlace(settings, agreements)
    opened = ArchiveFile(archive)
    check_agreements(opened, settings, agreements)
    found = ReadingPlace(settings, agreements, opened)
    if not found.readable():
        what = f"no event topic in it is one of the agreements in {settings.values.agreements}"
        raise errors.ArchiveRefused(str(archive), what)
    return found


def check_agreements(archive: ArchiveFile, settings: Settings, agreements: Agreements) -> None:
    """Refuse an archive of another bus, or of none of the agreements that hold here.

    Raises:
        ArchiveRefused: it is one.
    """
    found, path = archive.manifest, str(archive.path)
    if found.bus != agreements.bus:
        what = f"it is of the bus {found.bus}, and the agreements here are of {agreements.bus}"
        raise errors.ArchiveRefused(path, what)
    if not agreements.versions.intersection(found.agreements):
        what = f"none of its agreements is in {settings.values.agreements}"
        hint = "take the agreements from the parties, and not from the archive"
        raise errors.ArchiveRefused(path, f"{what}; {hint}")


def _event_topics(archive: ArchiveFile) -> Iterator[Topic]:
    for each in archive.partitions:
        if each.tree is not None:
            yield each.tp.event_topic
