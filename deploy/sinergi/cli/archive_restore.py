"""Which topics of an archive are restored, and with which login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi.settings.model import BusRole
from sinergi_consumers.archives.archive_source import ArchiveSource
from sinergi_consumers.archives.manifest import is_event_topic
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.bus import Bus
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import Topic, TopicPartition, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from sinergi.settings.settings import Settings
    from sinergi_consumers.archives.archive_file import ArchiveFile
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection


def restorable(
    archive: ArchiveFile, settings: Settings, named: Sequence[str]
) -> dict[str, Connection]:
    """The topics to restore, each with the login that may write it.

    Args:
        named: their names; without one all event topics that this login writes.

    Raises:
        NotArchived: the archive does not have one of them.
        RestoreRefused: another agency writes it, or none is left.
    """
    events = {each.topic for each in archive.partitions if each.tree is not None}
    there = {each.topic for each in archive.partitions}
    if missing := [each for each in named if each not in there]:
        raise errors.NotArchived(str(archive.path), missing[0])
    agency = settings.values.agency
    own = {each for each in there if agency is None or _is_of(each, agency)}
    if foreign := [each for each in named if each not in own]:
        what = f"{foreign[0]} is not written by {agency}; its owner restores it"
        raise errors.RestoreRefused(what)
    chosen = sorted({*named} or own & events)
    if not chosen:
        raise errors.RestoreRefused(f"the archive has no event topic of {agency}")
    return {each: settings.connection(_role(each, agency)) for each in chosen}


def check_whole(
    archive: ArchiveFile, topics: Collection[str], known: AbstractSet[TopicPartition]
) -> None:
    """Read the archive, and say on standard error which of the other topics is damaged.

    Args:
        topics: the names of those to restore.
        known: the topic-partitions that were read already.

    Raises:
        ArchiveDamaged: one to restore is.
    """
    for each in archive.partitions:
        if each.tp in known:
            continue
        try:
            for _ in archive.all_blocks(each):
                pass
        except errors.ArchiveDamaged as why:
            if each.topic in topics:
                raise
            terminal.note(f"sinergi: {why} The topics that are restored are whole.")


def sealed(
    archive: ArchiveFile, agreements: Agreements, topics: Iterable[str]
) -> set[TopicPartition]:
    """The topic-partitions with events, each read to its end, and as its owner sealed it.

    Anybody may have made the archive: its digests are right then, and its seals are not.

    Args:
        topics: the names of those to restore.

    Raises:
        RestoreRefused: a topic is not what its owner sealed.
        ArchiveDamaged: a block of one was changed.
        NotArchived: the archive lacks one of its partitions.
        NotAgreed: no agreement covers one.
    """
    read = set()
    bus = Bus(ArchiveSource(archive), agreements, Catalog.shipped())
    for name in filter(is_event_topic, topics):
        replay = Replay(bus, Topic.parse(name))
        for number in replay.partitions():
            try:
                replay.verify(number)
            except errors.SealBroken as why:
                hint = "Take another archive, or restore it as it is by --broken"
                raise errors.RestoreRefused(f"{str(why).rstrip('.')}. {hint}") from None
            read.add(TopicPartition(name, number))
    return read


def _is_of(topic: str, agency: str) -> bool:
    return topic.startswith(f"sinergi.{agency}.")


def _role(topic: str, agency: str | None) -> BusRole | None:
    if agency is None:
        return None
    return BusRole.CONSUMER if topic == receipts_topic(agency) else BusRole.PRODUCER
