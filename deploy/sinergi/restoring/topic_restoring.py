"""Restores the messages of one topic from an archive.

    1. Check that the topic takes and keeps what is restored, by its settings.
    2. Compare what the topic has with the archive. It has to be empty, or to have the first
       messages of the archive and nothing else: then an earlier restore was broken off.
    3. Write the other messages, each to its partition, in their order. Before each block, check
       that nobody else has written: a restore that was stopped while another one finished would
       write everything once more.
    4. Check that once more.

The same bytes give the same leaves. Offsets begin where the topic's next one is, so they may be
others than before; nothing but a cache depends on them (docs/decisions/0004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException

from sinergi.provision.topics import deleting_settings
from sinergi_consumers.archives.manifest import is_event_topic
from sinergi_consumers.archives.message_blocks import headers_of
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin, topic_settings
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.producer import DeliveryReports, open_producer, serve
from sinergi_schemas.limits import MOST_BATCH_BYTES
from sinergi_schemas.message import parsed_or_none
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import KafkaError, Message, Producer

    from sinergi_consumers.archives.archive_file import ArchiveFile
    from sinergi_consumers.archives.manifest import ArchivedPartition
    from sinergi_consumers.archives.message_blocks import ArchivedMessage
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.topics import TopicPartition

_WAIT_SECONDS = 0.5
_CREATE_TIME = 1  # as the client has it
_BATCH_HEAD = 1_024  # more than a batch and its one message have beside the content


class RestoredTopic(NamedTuple):
    """What was restored of a topic.

    Attributes:
        written: how many messages were written.
        kept: how many of the archive's messages the topic had before.
        has_lasting_settings: whether the topic keeps its messages, by its settings; None if the
            login may not see them.
        has_times: whether the messages have the timestamps of the archive; None without a message.
    """

    topic: str
    written: int
    kept: int
    has_lasting_settings: bool | None
    has_times: bool | None


class TopicRestoring:
    """The restore of one topic.

    Args:
        connection: with a login that may read and write the topic.
        archive: has the messages.
        topic: the name of the topic.
        progressed: called with the number of further messages that are compared or written.
    """

    def __init__(
        self,
        connection: Connection,
        archive: ArchiveFile,
        topic: str,
        progressed: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._source = KafkaSource(connection)
        self._archive = archive
        self._topic = topic
        self._progressed = progressed
        self._partitions = [each for each in archive.partitions if each.topic == topic]
        self._kept: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._has_lasting_settings: bool | None = None
        self._most_bytes: int | None = None
        self._failure: errors.SinergiError | None = None
        self._attempt = connection.attempt("Write", [topic])

    def check(self) -> None:
        """Compare what the topic has with the archive; nothing is written.

        Raises:
            NotArchived: the archive does not have the topic.
            RestoreRefused: the topic does not exist, has too few partitions, does not take or keep
                the messages, or has others.
            ArchiveDamaged: the archive is not as it was written.
            NotPermitted, Unavailable: it cannot be read.
        """
        if not self._partitions:
            raise errors.NotArchived(str(self._archive.path), self._topic)
        count = self._source.partition_counts([self._topic]).get(self._topic)
        if count is None:
            what = f"{self._topic} is not on these brokers; `sinergi provision apply` makes it"
            raise errors.RestoreRefused(what)
        needed = max(each.partition for each in self._partitions) + 1
        if count < needed:
            what = f"{self._topic} has {counted(count, 'partition')}"
            hint = f"the archive {needed}; delete it, and provision it again"
            raise errors.RestoreRefused(f"{what}, {hint}")
        self._check_settings()
        for each in self._partitions:
            self._kept[each.tp] = self._compare(each)

    def write(self) -> RestoredTopic:
        """Write what the topic lacks. `check` has to be called before.

        Raises:
            RestoreRefused: another process has written to the topic meanwhile, it was created
                again, or a message is larger than the topic takes.
            ArchiveDamaged: as `check`; what was written before stays, and a restore goes on there.
            NotPermitted, BrokerAway, BrokerRefuses, …: it cannot be written.
        """
        producer = open_producer(self._connection, undelivered=self._undelivered)
        for each in self._partitions:
            skipped = self._kept[each.tp]
            for messages in self._blocks(each):
                if skipped < len(messages):
                    self._check_end(each.tp)
                try:
                    for message in messages[skipped:]:
                        self._produce(producer, each.tp, message)
                    self._flush(producer)
                except errors.BrokerRefuses as why:
                    # The client may report the message, or no more than that it has failed.
                    if errors.MessageTooLarge in (type(why), type(self._failure)):
                        raise self._too_large(*self._largest(each)) from None
                    raise
                added = max(0, len(messages) - skipped)
                self._ends[each.tp] += added
                self._progressed(added)
                skipped = max(0, skipped - len(messages))
        kept = sum(self._kept.values())
        written = sum(each.messages for each in self._partitions) - kept
        for each in self._partitions:
            self._check_end(each.tp)
        lasting = self._has_lasting_settings
        return RestoredTopic(self._topic, written, kept, lasting, self._has_times())

    def _check_settings(self) -> None:
        """Refuse a topic that does not take the messages, or from which the brokers delete them.

        Raises:
            RestoreRefused: its settings say so.
        """
        try:
            settings = topic_settings(open_admin(self._connection), [self._topic])[self._topic]
        except errors.NotPermitted:
            return  # `sinergi provision` gives agencies no right to see settings
        if deleting := deleting_settings(settings, has_events=is_event_topic(self._topic)):
            what = f"{self._topic} has {', '.join(deleting)}: the brokers would delete messages"
            hint = "`sinergi provision apply` sets what it needs"
            raise errors.RestoreRefused(f"{what} that are restored; {hint}")
        self._has_lasting_settings = True
        self._most_bytes = int(settings["max.message.bytes"])
        if self._most_bytes < MOST_BATCH_BYTES:
            raise self._too_large(*max(map(self._largest, self._partitions)))

    def _too_large(self, size: int, place: str) -> errors.RestoreRefused:
        """The error for a topic that does not take a message of so many bytes in the archive."""
        most = "" if self._most_bytes is None else f" is {self._most_bytes:,}, which"
        need = max(MOST_BATCH_BYTES, size + _BATCH_HEAD)
        what = f"max.message.bytes of {self._topic}{most} is too small: {place} has {size:,} bytes"
        batches = f"and batches of Sinergi have up to {MOST_BATCH_BYTES:,}"
        hint = (
            "`sinergi provision apply` sets that"
            if need == MOST_BATCH_BYTES
            else f"let the brokers' operator set {need:,} or more"
        )
        return errors.RestoreRefused(f"{what}, {batches}; {hint}, and restore again")

    def _largest(self, archived: ArchivedPartition) -> tuple[int, str]:
        """The bytes of the largest message of a topic-partition, and where it is."""
        found = (each for messages in self._blocks(archived) for each in messages)
        largest = max(found, key=_size, default=None)
        if largest is None:
            return 0, str(archived.tp)
        parsed = parsed_or_none(largest)
        at = f"offset {largest.offset()}" if parsed is None else f"leaf {parsed.leaf_index}"
        return _size(largest), f"{at} of {archived.tp} in the archive"

    def _compare(self, archived: ArchivedPartition) -> int:
        """How many of the archive's messages a topic-partition has; it has no others."""
        wanted = (each for messages in self._blocks(archived) for each in messages)
        kept = 0
        with self._source.open_scan(archived.tp) as scan:
            low, high = scan.bounds()
            self._ends[archived.tp] = high
            for chunk in scan.read(low, high):
                for each in chunk:
                    self._check_equal(archived.tp, each, next(wanted, None))
                kept += len(chunk)
                self._progressed(len(chunk))
        return kept

    def _check_equal(
        self, tp: TopicPartition, found: Message, expected: ArchivedMessage | None
    ) -> None:
        where = f"{tp} has at offset {found.offset()}"
        if expected is None:
            what = f"{where} a message beyond the last one of the archive: nothing of it is lost"
            raise errors.RestoreRefused(what)
        if _content(found) != _content(expected):
            what = f"{where} another message than the archive at {expected.offset()}"
            hint = "stop the relay, delete the topic, `sinergi provision apply`, and restore again"
            raise errors.RestoreRefused(f"{what}; {hint}")

    def _blocks(self, archived: ArchivedPartition) -> Iterator[list[ArchivedMessage]]:
        return (messages for _, messages in self._archive.all_blocks(archived))

    def _produce(self, producer: Producer, tp: TopicPartition, message: ArchivedMessage) -> None:
        kind, milliseconds = message.timestamp()
        try:
            producer.produce(
                *(tp.topic, message.value(), message.key(), tp.partition),
                timestamp=milliseconds if kind else 0,
                headers=[*_headers(message)],
            )
        except KafkaException as why:
            raise translated(why, self._attempt) from None

    def _flush(self, producer: Producer) -> None:
        """Wait until everything is delivered."""
        reports = DeliveryReports(producer, SYSTEM, self._attempt)
        while missing := len(producer):
            serve(producer, _WAIT_SECONDS, self._attempt)
            if self._failure is None and reports.are_overdue(self._connection.timeouts.report):
                raise self._connection.away(f"{missing} messages unreported")
            if self._failure is not None:
                break
        if self._failure is not None:
            raise self._failure

    def _undelivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = translate(error, self._attempt)

    def _check_end(self, tp: TopicPartition) -> None:
        """Refuse if a topic-partition does not end after what it had and what was written.

        Raises:
            RestoreRefused: it does not.
        """
        end = self._source.offsets([tp])[tp].stop
        if end == self._ends[tp]:
            return
        what = f"another process has written to {tp} meanwhile; stop it"
        if end < self._ends[tp]:
            what = f"{tp} was created again meanwhile; make sure that nobody does so"
        hint = "delete the topic, `sinergi provision apply`, and restore again"
        raise errors.RestoreRefused(f"{what}, {hint}")

    def _has_times(self) -> bool | None:
        """Whether the brokers have kept the timestamps, as a last message shows."""
        for each in self._partitions:
            if each.messages:
                with self._source.open_scan(each.tp) as scan:
                    _, high = scan.bounds()
                    for chunk in scan.read(high - 1, high):
                        return chunk[-1].timestamp()[0] == _CREATE_TIME
        return None


def _content(message: Message | ArchivedMessage) -> tuple[object, ...]:
    return message.key(), message.value(), _headers(message)


def _headers(message: Message | ArchivedMessage) -> list[tuple[str, bytes | None]]:
    """The headers as the client writes and reads them: it ends a name at a NUL.

    None where a name is no text. Such a message is none of Sinergi's.
    """
    found = headers_of(message) or ()
    return [(name.partition("\0")[0], value) for name, value in found]


def _size(message: ArchivedMessage) -> int:
    """The bytes of the content."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in _headers(message))
    return len(message.key() or b"") + len(message.value() or b"") + headers
