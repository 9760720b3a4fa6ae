"""Compares the topics of an agency with its outbox, before anything is sealed or sent.

At the end of a topic its checkpoints are compared, and at its beginning the first leaf. What lies
between is not read: that would take time in proportion to the topic's length.

Only checkpoints that the agency itself has signed count. A checkpoint of a larger tree than the
database has shows that the database is older than its topic. A checkpoint with another root than
the database has at that size shows that two histories were signed. All other messages are skipped
and reported.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.relay import topic_beginning, topic_evidence
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.skip_report import SkipReport
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sinergi_producers.relay.store import OutboxStore
    from sinergi_producers.relay.topic_beginning import Leaves
    from sinergi_producers.relay.topic_evidence import KnownTree, TopicEvidence
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection

_log = structlog.get_logger(__name__)


class Comparison:
    """Compares the topics of one agency with its outbox, once each term.

    Args:
        silent_seconds: see `RangeReader`.
    """

    def __init__(
        self,
        store: OutboxStore,
        connection: Connection,
        agency: str,
        silent_seconds: float = DEFAULT.relay.silence,
    ) -> None:
        self._store = store
        self._connection = connection
        self._agency = agency
        self._silent_seconds = silent_seconds
        self._skipped = SkipReport()

    def leaves_on_topics(
        self,
        agreements: Agreements,
        sizes: Mapping[TreeKey, int],
        while_reading: Callable[[], None] = lambda: None,
    ) -> dict[TreeKey, int]:
        """How many leaves the topics show by the agency's own checkpoints.

        A topic that has lost its first leaves counts as one that shows none.

        Args:
            sizes: how many leaves each tree has in the database.
            while_reading: called for each message that is read.

        Raises:
            OutboxBehindTopic: a checkpoint is of a larger tree than the database has.
            OutboxForked: a checkpoint is of another tree of that size than the database has.
            BrokerAway, TopicAway, NotPermitted: a topic cannot be read.
        """
        confirmed = self._store.confirmed()
        tree_keys = {
            TopicPartition(Topic(self._agency, name).name, number): TreeKey(name, number)
            for name, number in sizes
        }
        lost = self._lost(tree_keys)
        known = {
            tp: topic_evidence.KnownTree(
                tp.origin(agreements.bus),
                agreements.ring(tp.event_topic, tp.partition),
                sizes[tree_key],
                *confirmed.get(tree_key, (0, None)),
                lost.get(tp, 0),
            )
            for tp, tree_key in tree_keys.items()
        }
        found = topic_evidence.evidence(
            self._connection, known, self._silent_seconds, while_reading
        )
        for tp, each in found.items():
            self._check(tp, tree_keys[tp], known[tp], each)
        shown = {tree_keys[tp]: _leaves_shown(known[tp], each) for tp, each in found.items()}
        sent = {
            tp: range(each.low, each.high)
            for tp, each in found.items()
            if each.high > each.low and min(known[tp].sent, shown[tree_keys[tp]])
        }
        for tp in self._without_beginning(sent, tree_keys, lost):
            shown[tree_keys[tp]] = 0
        return shown

    def _lost(self, tree_keys: Mapping[TopicPartition, TreeKey]) -> dict[TopicPartition, int]:
        """How many first leaves are pruned here and gone from each topic that lacks leaf 0."""
        sizes = self._store.pruned()
        pruned = {tp: size for tp, key in tree_keys.items() if (size := sizes.get(key, 0))}
        if not pruned:
            return {}
        with closing(RangeReader(self._connection, self._silent_seconds)) as reader:
            offsets = {tp: range(*reader.bounds(tp)) for tp in pruned}
            missing = topic_beginning.first_missing(reader, offsets, self._hashes(tree_keys))
        return {tp: pruned[tp] for tp in missing}

    def _without_beginning(
        self,
        offsets: Mapping[TopicPartition, range],
        tree_keys: Mapping[TopicPartition, TreeKey],
        lost: Mapping[TopicPartition, int],
    ) -> list[TopicPartition]:
        """Find the topic-partitions that lack the first leaf which can be sent again."""
        if not offsets:
            return []
        found: list[TopicPartition] = []
        hashes = self._hashes(tree_keys)
        with closing(RangeReader(self._connection, self._silent_seconds)) as reader:
            for tp, leaf in topic_beginning.first_missing(reader, offsets, hashes).items():
                pruned = lost.get(tp, 0)
                about = {**tp._asdict(), "first": leaf, "pruned": pruned}
                _log.warning("topic has lost its first leaves", **about)
                if not pruned or topic_beginning.is_gone(reader, tp, offsets[tp], hashes, pruned):
                    found.append(tp)
        return found

    def _hashes(self, tree_keys: Mapping[TopicPartition, TreeKey]) -> Leaves:
        """Looks up the leaf hashes that the database has."""
        return lambda tp, indexes: self._store.leaf_hashes(tree_keys[tp], indexes)

    def _check(
        self, tp: TopicPartition, tree_key: TreeKey, known: KnownTree, found: TopicEvidence
    ) -> None:
        if found.size > known.size:
            raise errors.OutboxBehindTopic(*tp, known.size, found.size)
        for size, root in self._store.roots(tree_key, found.roots).items():
            if root != found.roots[size]:
                raise errors.OutboxForked(known.origin, size)
        self._skipped.report(tp, found.skipped.causes)


def _leaves_shown(known: KnownTree, found: TopicEvidence) -> int:
    """How many leaves a topic shows.

    The end offset bounds the number of leaves, whatever was copied to the end of the topic. Without
    keys, the database's own size is returned, so that no leaf counts as lost.
    """
    return min(found.size, found.high + known.lost) if known.ring.spans else known.size
