"""Reports what a worker does, and what it leaves for a later round, to the log and the observer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.observer import PartitionCounts, WorkState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from sinergi_schemas.observer import Observer
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


class WorkReport:
    """The reports of one worker."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @contextmanager
    def left_for_later(self, event: str) -> Iterator[None]:
        """Log that a service is unavailable; a later round tries the work again."""
        try:
            yield
        except errors.Unavailable as why:
            _log.warning(event, why=str(why))
            self._observer.failed(why)
            self._observer.entered(WorkState.WAITING, why)

    def counts(
        self,
        assigned: AbstractSet[TopicPartition] | None,
        claimed: AbstractSet[TopicPartition],
        halted: AbstractSet[TopicPartition],
    ) -> None:
        """Report what the worker has of the topic-partitions.

        Args:
            assigned: by the group; None until it has answered.
            claimed: those that are being read.
            halted: those that are halted, whether still assigned or not.
        """
        own = assigned or frozenset()
        count = None if assigned is None else len(assigned)
        counts = PartitionCounts(count, len(claimed & own), len(halted & own))
        self._observer.divided(counts)
