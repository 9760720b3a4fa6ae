"""Finds whether a topic still has the first leaves of a tree.

The end of a topic is compared elsewhere. But the brokers may also have deleted the first messages,
or somebody may have created the topic again while the relay went on after its last leaf.

If the first message is leaf 0, nothing is read further. If not, leaf 0 may have been sent again
after other leaves, or foreign messages may lie before it. The relay sends the leaves in their
order, and a message carries one leaf at most: so where leaf n lies, leaf 0 lies at least n offsets
before it. The search goes from the end to the beginning in such steps.

Anybody may have written to the topic, so a message counts only if it is the leaf that the database
has under that index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.message import parsed_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sinergi_schemas.kafka.ranges import RangeReader
    from sinergi_schemas.message import ReceivedMessage
    from sinergi_schemas.topics import TopicPartition

    Leaves = Callable[[TopicPartition, Iterable[int]], Mapping[int, bytes]]

# A window of the largest events has 16 MiB.
_WINDOW = 64
_MOST_WINDOWS = 64


def first_missing(
    reader: RangeReader, offsets: Mapping[TopicPartition, range], leaves: Leaves
) -> dict[TopicPartition, int | None]:
    """Find the topic-partitions that lack leaf 0.

    The result has each of them with the lowest leaf among its first messages, or None if none of
    these is a leaf. A topic-partition is left out if it has leaf 0, and also if it has too many
    foreign messages to find that out.

    Args:
        offsets: those that the brokers have of each topic-partition.
        leaves: the leaf hashes of some leaf indexes as the database has them.

    Raises:
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    first = {tp: each[:1] for tp, each in offsets.items()}
    begin = {
        tp for tp, each in reader.messages(first) if 0 in _genuine(tp, [each], leaves).values()
    }
    missing: dict[TopicPartition, int | None] = {}
    for tp, each in offsets.items():
        if tp not in begin and is_gone(reader, tp, each, leaves, 0):
            head = _read(reader, tp, each[:_WINDOW], leaves).values()
            missing[tp] = min(head, default=None)
    return missing


def is_gone(
    reader: RangeReader, tp: TopicPartition, offsets: range, leaves: Leaves, wanted: int
) -> bool:
    """Whether a leaf lies at none of these offsets.

    Raises:
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    end = offsets.stop  # it is before `end`, if it is there
    for _ in range(_MOST_WINDOWS):
        window = range(max(offsets.start, end - _WINDOW), end)
        found = _read(reader, tp, window, leaves)
        if wanted in found.values():
            return False
        later = (offset - leaf + wanted + 1 for offset, leaf in found.items() if leaf > wanted)
        end = min([window.start, *later])
        if end <= offsets.start:
            return True
    return False


def _read(
    reader: RangeReader, tp: TopicPartition, offsets: range, leaves: Leaves
) -> dict[int, int]:
    return _genuine(tp, (each for _, each in reader.messages({tp: offsets})), leaves)


def _genuine(
    tp: TopicPartition, received: Iterable[ReceivedMessage], leaves: Leaves
) -> dict[int, int]:
    """The leaf indexes by offset of those messages that are leaves of the database."""
    found = [each for each in map(parsed_or_none, received) if each is not None]
    known = leaves(tp, {each.leaf_index for each in found}) if found else {}
    return {
        each.offset: each.leaf_index for each in found if known.get(each.leaf_index) == each.leaf
    }
