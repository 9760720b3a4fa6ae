"""Partitions with fewer copies in sync than brokers have been told to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi.status.problems import ProblemKind, StatusProblem
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class PartitionCopies(NamedTuple):
    """The copies of one partition.

    Attributes:
        wanted: how many brokers shall have one.
        in_sync: how many of them have all that counts as written.
    """

    wanted: int
    in_sync: int


class UnderReplicatedTopic(NamedTuple):
    """A topic of which some partitions have fewer copies in sync than they shall.

    Attributes:
        least: the partition with the fewest.
    """

    topic: str
    partitions: int
    least: PartitionCopies

    def __str__(self) -> str:
        wanted, in_sync = self.least
        which = f"(the least has {in_sync} of {counted(wanted, 'copy', 'copies')} in sync)"
        return f"{counted(self.partitions, 'partition')} of {self.topic} under-replicated {which}"


def under_replicated(
    topics: Iterable[tuple[str, Iterable[PartitionCopies]]],
) -> Iterator[UnderReplicatedTopic]:
    """Those topics that have such partitions."""
    for topic, partitions in topics:
        lacking = [each for each in partitions if each.in_sync < each.wanted]
        if lacking:
            least = min(lacking, key=lambda each: each.in_sync)
            yield UnderReplicatedTopic(topic, len(lacking), least)


def problems(topics: Iterable[UnderReplicatedTopic]) -> Iterator[StatusProblem]:
    """A line for each topic, for an agency."""
    for each in topics:
        mend = "a broker is down or lags behind: let the brokers' operator look at it"
        waits = "Below min.insync.replicas writing waits; nothing is lost"
        yield StatusProblem(
            ProblemKind.UNDER_REPLICATED, each.topic, None, f"{each}: {mend}. {waits}"
        )
