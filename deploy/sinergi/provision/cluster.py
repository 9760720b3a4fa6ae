"""The cluster on which topics are made: what it has, and the changes that a plan says."""

from __future__ import annotations

from functools import partial
from time import sleep
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from sinergi.provision.groups import groups
from sinergi.provision.progress import TOPIC, Progress
from sinergi.provision.topics import ExistingTopic, TopicAction, compare, waiting
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import broker_ids, default_copies, describe, topic_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from sinergi.provision.topics import TopicStep, WantedTopic
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.connection import Attempt

_PAUSE_SECONDS = 0.02
_MOST_COPIES = 3


class Cluster:
    """The cluster on which topics are made.

    Args:
        copies: of each partition; without it as many as the brokers' setting
            default.replication.factor says, or three (one per broker, if there are fewer) where
            that is fewer.
    """

    def __init__(self, admin: Admin, copies: int | None = None) -> None:
        self._admin = admin
        self._copies = copies

    def plan(self, want: Sequence[WantedTopic]) -> list[TopicStep]:
        """What has to be done on this cluster; it changes nothing.

        Raises:
            SinergiError: the cluster does not answer; see `faults.translate`.
        """
        found = self._found(each.name for each in want)
        brokers = broker_ids(self._admin)
        # A cluster that is starting shows only those of its brokers that are there already.
        usual = self._copies or max(
            default_copies(self._admin, brokers[0]), min(_MOST_COPIES, len(brokers))
        )
        return waiting(compare(want, found, usual), len(brokers))

    def apply(self, steps: Sequence[TopicStep], progress: Progress | None = None) -> None:
        """Do what a plan says; doing it twice has the same result as once.

        Topics that are refused or wait are left as they are.

        Args:
            progress: counts what the brokers have confirmed.

        Raises:
            TopicAway: the brokers accepted a change and do not show it.
            SinergiError: the cluster does not answer, or does not permit it.
        """
        done = progress or Progress()
        created = [step for step in steps if step.verdict is TopicAction.CREATE]
        done.confirm(TOPIC, map(self._create, groups(created, _records)))
        changed = [step for step in steps if step.verdict is TopicAction.CHANGE]
        done.confirm(TOPIC, map(self._change, groups(changed, _records)))
        self._await([*created, *changed])

    def _found(self, names: Iterable[str]) -> dict[str, ExistingTopic]:
        """The topics that are there. Each question may reach another broker.

        Brokers learn of a new topic one after another. So if one broker shows a topic and another
        does not know it, all is asked again.

        Raises:
            TopicNotKnown: the brokers do not agree after some time.
        """
        wanted, deadline = tuple(names), SYSTEM.monotonic() + self._seconds
        while True:
            try:
                return self._found_now(wanted)
            except errors.TopicNotKnown:
                if SYSTEM.monotonic() > deadline:
                    raise
            sleep(_PAUSE_SECONDS)

    def _found_now(self, names: Iterable[str]) -> dict[str, ExistingTopic]:
        topics_there = describe(self._admin, names)
        if not topics_there:
            return {}
        settings = topic_settings(self._admin, topics_there)
        return {
            name: ExistingTopic(
                partitions=len(topic.partitions),
                copies=min(len(each.replicas) for each in topic.partitions),
                settings=settings[name],
            )
            for name, topic in topics_there.items()
        }

    def _create(self, steps: Sequence[TopicStep]) -> list[Callable[[], None]]:
        """Ask for new topics; what waits for each answer."""
        new = [
            NewTopic(step.topic, step.partitions, step.copies, config=dict(step.settings))
            for step in steps
        ]
        asked = self._admin.create_topics(
            new, operation_timeout=self._seconds, request_timeout=2 * self._seconds
        )
        return [partial(self._await_created, name, future) for name, future in asked.items()]

    def _await_created(self, name: str, future: Future[None]) -> None:
        try:
            self._admin.wait_for(future)
        except KafkaException as why:
            if why.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._admin.fault(why, self._attempt("Create", name)) from None

    def _await(self, steps: Sequence[TopicStep]) -> None:
        """Wait until the brokers show the changes, which the controller knows earlier.

        A broker takes some time for each of thousands of topics, in the order of the requests. So
        it is asked about one group after the other, and waited for while it shows more and more.
        """
        for group in groups(steps, _records):
            pending = group
            deadline = SYSTEM.monotonic() + self._seconds
            while left := self._pending(pending):
                if len(left) < len(pending):
                    deadline = SYSTEM.monotonic() + self._seconds
                elif SYSTEM.monotonic() > deadline:
                    what = "it was provisioned, but the brokers do not show it"
                    raise errors.TopicAway(left[0].topic, what)
                pending = left
                sleep(_PAUSE_SECONDS)

    def _pending(self, steps: Sequence[TopicStep]) -> list[TopicStep]:
        found = self._found(step.topic for step in steps)
        return [
            step
            for step in steps
            if step.topic not in found
            or not step.settings.items() <= found[step.topic].settings.items()
        ]

    def _change(self, steps: Sequence[TopicStep]) -> list[Callable[[], object]]:
        """Ask for changed settings; what waits for each answer."""
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                step.topic,
                incremental_configs=[
                    ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                    for key, value in step.settings.items()
                ],
            )
            for step in steps
        ]
        asked = self._admin.incremental_alter_configs(resources, request_timeout=self._seconds)
        return [
            partial(self._admin.answer, future, self._attempt("AlterConfigs", each.name))
            for each, future in asked.items()
        ]

    @property
    def _seconds(self) -> float:
        return self._admin.connection.timeouts.change

    def _attempt(self, operation: str, topic: str) -> Attempt:
        return self._admin.connection.attempt(operation, [topic])


def _records(step: TopicStep) -> int:
    return 1 + step.partitions + len(step.settings)
