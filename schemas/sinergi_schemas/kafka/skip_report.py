"""The log of messages that a process has skipped: once for each cause and topic-partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.seal.skipped import SkippedMessages
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


class SkipReport:
    """Logs the causes for which messages were skipped, each once for each topic-partition."""

    def __init__(self) -> None:
        self._logged: set[tuple[TopicPartition, str]] = set()

    def report(self, tp: TopicPartition, skipped: Iterable[SkippedMessages]) -> None:
        """Log the causes of a topic-partition that were not logged yet.

        Args:
            skipped: the skipped messages, one entry for each cause.
        """
        for each in skipped:
            if (tp, each.cause) not in self._logged:
                self._logged.add((tp, each.cause))
                _log.warning(
                    "messages skipped",
                    topic=tp.topic,
                    partition=tp.partition,
                    why=each.cause,
                    offset=each.first,
                    messages=each.count,
                )
