"""Many topics are looked at with one question; what hinders one of them hinders no other."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from confluent_kafka.admin import NewTopic

from sinergi_consumers.materialise.topic_look_ups import TopicLookUps
from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas.errors import (
    BrokerAway,
    LoginRefused,
    PartitionsDiffer,
    SinergiError,
    TopicMissing,
)
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import (
    bounds,
    cluster_id,
    describe,
    describe_each,
    open_admin,
    topic_id,
)
from sinergi_schemas.kafka.groups import members
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.kafka.admin import Admin


def test_each_topic_has_its_own_answer(kafka: str, topic_name: Callable[[], str]) -> None:
    admin = open_admin(Connection(kafka))
    there, small, missing = (topic_name() for _ in range(3))
    for made in admin.create_topics([NewTopic(there, 2, 1), NewTopic(small, 1, 1)]).values():
        made.result()
    look_ups = TopicLookUps(Connection(kafka), {there: 2, small: 2, missing: 2})
    look_ups.look_at([TopicPartition(each, 0) for each in (there, small, missing)])
    seen = look_ups.incarnation(TopicPartition(there, 1), "pks.toml")
    assert seen == TopicIncarnation(cluster_id(admin), topic_id(admin, there))
    assert look_ups.leader(TopicPartition(there, 1)) is not None
    with pytest.raises(PartitionsDiffer):
        look_ups.incarnation(TopicPartition(small, 0), "pks.toml")
    with pytest.raises(TopicMissing):
        look_ups.incarnation(TopicPartition(missing, 0), "pks.toml")
    assert look_ups.leader(TopicPartition(missing, 0)) is None
    assert look_ups.missing_topics() == [missing]


def test_brokers_that_do_not_answer_are_away_for_all_topics() -> None:
    timeouts = KafkaTimeouts(answer=0.5)
    look_ups = TopicLookUps(Connection("127.0.0.1:1", timeouts=timeouts), {"t": 1})
    with pytest.raises(BrokerAway):
        look_ups.look_at([TopicPartition("t", 0)])


@pytest.mark.parametrize(
    "question",
    [
        cluster_id,
        lambda admin: members(admin, "g"),
        lambda admin: describe(admin, ["t"]),
        lambda admin: describe_each(admin, ["t"]),
        lambda admin: bounds(admin, [TopicPartition("t", 0)]),
    ],
)
def test_a_client_that_got_no_answer_ends_at_once_and_with_it_its_question(
    question: Callable[[Admin], object],
) -> None:
    look_ups = TopicLookUps(Connection("127.0.0.1:1", timeouts=KafkaTimeouts(answer=0.2)), {})
    client = ref(look_ups._admin)
    gc.disable()
    try:
        with suppress(BrokerAway):
            look_ups.ask(question)
        assert client() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("why", [BrokerAway("x"), LoginRefused("ca_file", "x", "x")])
def test_a_client_that_got_no_answer_is_asked_nothing_more(why: SinergiError) -> None:
    """The client library aborts the process when the answer of a group comes after all."""
    look_ups = TopicLookUps(Connection("127.0.0.1:1"), {})
    asked: list[Admin] = []

    def question(admin: Admin) -> None:
        asked.append(admin)
        raise why

    for _ in range(2):
        with pytest.raises(type(why)):
            look_ups.ask(question)
    assert asked[0] is not asked[1]
