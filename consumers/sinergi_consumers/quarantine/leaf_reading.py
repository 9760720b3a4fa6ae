"""Reads leaves again from their topic, by the hashes under which they were verified.

Quarantine does not keep every datum. The seal is not verified here: the hash of each leaf was
verified before it was stored, and a message that does not have it is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.message import parsed_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.message import Message, ReceivedMessage
    from sinergi_schemas.topics import TopicPartition

# Leaves so near to one another are read in one go; a search for a leaf takes some 30 fetches.
_NEAR = 500
_CHUNK = 200


class LeafReading:
    """Reads leaves of topic-partitions again, outside every consumer group.

    Args:
        source: called for the source of the topics when a leaf is read.
        silent_seconds: see `TopicSource.open_scan`.
    """

    def __init__(
        self, source: Callable[[], TopicSource], silent_seconds: float | None = None
    ) -> None:
        self._source = source
        self._silent_seconds = silent_seconds

    def read(
        self,
        tp: TopicPartition,
        wanted: Mapping[int, bytes],
        seconds: float | None = None,
    ) -> dict[int, Message]:
        """The messages of some leaves that have the wanted hashes; only those that are found.

        Args:
            wanted: the hash of each leaf, by its index. The caller bounds how many bytes they take.
            seconds: how long to read on, at most, from where a search finds a leaf. Without it a
                topic is read to its end where a leaf is missing.

        Raises:
            TopicAway, BrokerAway, NotPermitted: the topic cannot be read.
        """
        if not wanted:
            return {}
        found: dict[int, Message] = {}
        with self._source().open_scan(tp, self._silent_seconds) as scan:
            for run in _runs(sorted(wanted)):
                found |= _read(scan, {index: wanted[index] for index in run}, seconds)
        return found


def _read(
    scan: PartitionScan, missing: dict[int, bytes], seconds: float | None
) -> dict[int, Message]:
    found: dict[int, Message] = {}
    start, (_, high) = scan.find(min(missing)), scan.bounds()
    until = None if seconds is None else SYSTEM.monotonic() + seconds
    for chunk in scan.read(start, high, most=_CHUNK):
        for each in _matching(chunk, missing):
            del missing[each.leaf_index]
            found[each.leaf_index] = each
        if not missing or (until is not None and SYSTEM.monotonic() > until):
            break
    return found


def _matching(chunk: Sequence[ReceivedMessage], missing: Mapping[int, bytes]) -> Iterator[Message]:
    """The messages that are one of the missing leaves, by hash: anybody can claim an index."""
    for each in chunk:
        found = parsed_or_none(each)
        wanted = missing.get(found.leaf_index) if found else None
        if found and wanted is not None and found.leaf == wanted:
            yield found


def _runs(indexes: Sequence[int]) -> Iterator[list[int]]:
    """Groups sorted indexes that are near to one another."""
    run: list[int] = []
    for index in indexes:
        if run and index - run[-1] > _NEAR:
            yield run
            run = []
        run.append(index)
    if run:
        yield run
