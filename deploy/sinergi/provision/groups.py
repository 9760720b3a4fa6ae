"""Changes in groups. The brokers' controller refuses a request that makes too many records.

Kafka's `QuorumController.MAX_RECORDS_PER_USER_OP` is 10,000, and beyond it the answer is
POLICY_VIOLATION. A topic makes a record for itself and one for each partition and setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MOST_RECORDS = 2_000

T = TypeVar("T")


def groups(
    changes: Iterable[T], records: Callable[[T], int] = lambda _: 1, most: int = _MOST_RECORDS
) -> Iterator[list[T]]:
    """Changes in their order, in groups that one request takes.

    Args:
        changes: what is asked for.
        records: how many records the controller makes of a change.
        most: records of a group. A change that makes more of them is a group of its own.
    """
    group: list[T] = []
    size = 0
    for each in changes:
        count = records(each)
        if group and size + count > most:
            yield group
            group, size = [], 0
        group.append(each)
        size += count
    if group:
        yield group
