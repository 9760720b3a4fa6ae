"""Leaves read again from their topic, each known by the hash under which it was verified.

Quarantine does not keep every datum. Nothing of the seal is looked at here: the hash of each leaf
was verified before it was stored, and what is read again either has it or is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.scan import SILENT_POLLS, open_scan, ours
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.message import Message, ReceivedMessage
    from sinergi_schemas.topics import TopicPartition

# Leaves so near to one another are read in one go; to look for a leaf takes some 30 fetches.
_NEAR = 500
_CHUNK = 200


class LeafReading:
    """Reads leaves of partitions again, outside of every group.

    Args:
        connection: gives the way to the brokers, when it is needed.
        silent_polls: after so many polls of half a second without an answer a topic is away.
    """

    def __init__(
        self, connection: Callable[[], Connection], silent_polls: int = SILENT_POLLS
    ) -> None:
        self._connection = connection
        self._silent_polls = silent_polls

    def read(
        self,
        tp: TopicPartition,
        wanted: Mapping[int, bytes],
        seconds: float | None = None,
    ) -> dict[int, Message]:
        """The messages at some leaves that have the wanted hashes; those that are there.

        Args:
            wanted: the hash of each leaf, by its index. The caller bounds what all of them take.
            seconds: how long to read on, at most, from where a leaf is looked for. Without it a
                topic is read to its end where a leaf is missing.

        Raises:
            TopicAway, BrokerAway, NotPermitted: the topic cannot be read.
        """
        if not wanted:
            return {}
        found: dict[int, Message] = {}
        with open_scan(self._connection(), tp, self._silent_polls) as log:
            for run in _runs(sorted(wanted)):
                found |= _read(log, {index: wanted[index] for index in run}, seconds)
        return found


def _read(
    log: PartitionScan, missing: dict[int, bytes], seconds: float | None
) -> dict[int, Message]:
    found: dict[int, Message] = {}
    start, (_, high) = log.find(min(missing)), log.bounds()
    until = None if seconds is None else SYSTEM.monotonic() + seconds
    for chunk in log.read(start, high, most=_CHUNK):
        for each in _matching(chunk, missing):
            del missing[each.leaf_index]
            found[each.leaf_index] = each
        if not missing or (until is not None and SYSTEM.monotonic() > until):
            break
    return found


def _matching(chunk: Sequence[ReceivedMessage], missing: Mapping[int, bytes]) -> Iterator[Message]:
    """The messages that are one of the missing leaves. Anybody can claim the index of one."""
    for each in chunk:
        found = ours(each)
        wanted = missing.get(found.leaf_index) if found else None
        if found and wanted is not None and leaf_hash(found.leaf_data) == wanted:
            yield found


def _runs(indexes: Sequence[int]) -> Iterator[list[int]]:
    """Sorted indexes in groups of neighbours."""
    run: list[int] = []
    for index in indexes:
        if run and index - run[-1] > _NEAR:
            yield run
            run = []
        run.append(index)
    if run:
        yield run
