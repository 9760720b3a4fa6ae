"""Changes are asked for in groups, each of which the controller takes as one request."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi.provision.cluster import Cluster
from sinergi.provision.groups import groups
from sinergi.provision.progress import TOPIC, Progress
from sinergi.provision.topics import TopicAction, WantedTopic, compare
from sinergi_schemas.errors import BrokerAway, NotPermitted, TopicAway
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import open_admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi.provision.topics import TopicStep


@given(st.lists(st.integers(1, 30)), st.integers(1, 20))
def test_every_change_is_in_one_group_in_its_order(records: list[int], most: int) -> None:
    found = [*groups(records, lambda each: each, most)]
    assert [each for group in found for each in group] == records
    assert all(sum(group) <= most or len(group) == 1 for group in found)
    for one, following in pairwise(found):
        assert sum(one) + following[0] > most


def test_a_change_that_is_not_permitted_keeps_none_of_the_others_back() -> None:
    refused = raising(NotPermitted("User:operator", "Create", "topic", ("t",), "no right"))
    progress = Progress()
    with pytest.raises(NotPermitted):
        progress.confirm(TOPIC, [[done, refused], [done]])
    assert str(progress) == "2 topics, 0 users, 0 rights"


def test_after_brokers_that_do_not_answer_nothing_more_is_asked_for() -> None:
    def asked() -> Iterator[list[Callable[[], object]]]:
        yield [raising(BrokerAway("no answer")), done]
        pytest.fail("the next group is asked for")

    progress = Progress()
    with pytest.raises(BrokerAway):
        progress.confirm(TOPIC, asked())
    assert progress.counts[TOPIC] == 1


def test_topics_are_made_request_by_request_and_reported_as_they_come(
    kafka: str, topic_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinergi.provision.cluster._records", lambda _: 1_000)  # two a request
    settings = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    want = [WantedTopic(topic_name(), 1, settings) for _ in range(7)]
    cluster = Cluster(open_admin(Connection(kafka)))
    reported: list[tuple[str, int]] = []
    cluster.apply(cluster.plan(want), Progress(lambda *each: reported.append(each)))
    assert reported == [(TOPIC, count) for count in range(8)]
    assert {each.verdict for each in cluster.plan(want)} == {TopicAction.OK}


def test_brokers_are_waited_for_while_they_show_more_and_more_topics(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "_seconds", 0.1)
    cluster = Cluster(open_admin(Connection(kafka)))
    steps = compare([WantedTopic(f"t{number}", 1, {}) for number in range(20)], {}, copies=1)
    monkeypatch.setattr(Cluster, "_pending", lambda _, steps: steps[1:])
    cluster._await(steps)
    monkeypatch.setattr(Cluster, "_pending", lambda _, steps: steps)
    with pytest.raises(TopicAway):
        cluster._await(steps)


def test_brokers_that_show_topics_slowly_are_asked_about_one_group_at_a_time(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question about all that are left, again and again, took most of the time of an apply."""
    monkeypatch.setattr("sinergi.provision.cluster._records", lambda _: 500)  # four a request
    cluster = Cluster(open_admin(Connection(kafka)))
    steps = compare([WantedTopic(f"t{number:02}", 1, {}) for number in range(20)], {}, copies=1)
    asked: list[int] = []

    def pending(_: Cluster, left: list[TopicStep]) -> list[TopicStep]:
        """Each question finds three more topics."""
        asked.append(len(left))
        return [step for step in left if steps.index(step) >= 3 * len(asked)]

    monkeypatch.setattr(Cluster, "_pending", pending)
    cluster._await(steps)
    assert max(asked) == 4
    assert sum(asked) < 2 * len(steps)


def done() -> None:
    """A change that the brokers confirm."""


def raising(why: Exception) -> Callable[[], None]:
    """A change that fails."""

    def fail() -> None:
        raise why

    return fail
