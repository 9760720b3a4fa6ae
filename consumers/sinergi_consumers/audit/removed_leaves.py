"""What the brokers have done to a topic that lacks a leaf, as far as its offsets show it.

They delete messages at the beginning (retention, `kafka-delete-records`), and the first offset says
so; and by compaction anywhere, which leaves offsets without a message. A copy without a leaf has no
such gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.kafka.leaf_search import claimed_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

    from sinergi_schemas.kafka.scan import PartitionScan


def explained(why: errors.SealBroken, scan: PartitionScan, first_offset: int) -> errors.SealBroken:
    """The error that says what the brokers have done; other errors as they are.

    Args:
        why: the error by the messages that were read.
        scan: reads the topic-partition.
        first_offset: the first one that was read.
    """
    found = errors.FirstLeavesDeleted.of(why, first_offset)
    if found is not why or type(why) is not errors.SealGap:
        return found
    try:
        gap = _gap_at(scan, why.index)
    except errors.SinergiError:
        return why  # a reader that cannot look for the reason has found that the leaf is missing
    if gap is None:
        return why
    return errors.LeavesCompacted(why.origin, why.index, why.size, gap.start, gap.stop)


def _gap_at(scan: PartitionScan, index: int) -> range | None:
    """The first offsets without a message between the leaf before a missing one and that after it.

    The topic-partition is read from its beginning: whoever writes what is read to an archive needs
    each message in its order.
    """
    low, high = scan.bounds()
    expected, is_after = low, index == 0
    gap: range | None = None
    for each in _messages(scan, low, high):
        at, leaf = each.offset() or 0, claimed_leaf(each)
        if at > expected and is_after and gap is None:
            gap = range(expected, at)
        if leaf is not None and leaf > index and is_after:
            break
        if leaf == index - 1:
            is_after, gap = True, None
        expected = at + 1
    unreadable = [each.offset for each in scan.reader.drain_unreadable()]
    return None if gap is None or any(each in gap for each in unreadable) else gap


def _messages(scan: PartitionScan, start: int, end: int) -> Iterator[Message]:
    return (each for chunk in scan.read(start, end) for each in chunk)
