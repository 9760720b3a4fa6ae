"""Which topics of an archive are restored, and with which login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.settings.model import BusRole
from sinergi_schemas import errors
from sinergi_schemas.topics import receipts_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi.settings.settings import Settings
    from sinergi_consumers.archives.archive_file import ArchiveFile
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


def _is_of(topic: str, agency: str) -> bool:
    return topic.startswith(f"sinergi.{agency}.")


def _role(topic: str, agency: str | None) -> BusRole | None:
    if agency is None:
        return None
    return BusRole.CONSUMER if topic == receipts_topic(agency) else BusRole.PRODUCER
