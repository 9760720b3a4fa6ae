"""Several materialisers on one database share the work, and every event arrives once, also when one
of them fails.
"""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import pytest
import sqlalchemy as sa
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from agency_pair import AgencyPair, running, transfer
from sinergi_consumers.materialise.assignment import Assignment
from sinergi_consumers.materialise.client_check import AbsenceCounter
from sinergi_consumers.materialise.stall_detection import StallDetector
from sinergi_schemas import errors
from sinergi_schemas.timeouts import MaterialiserTimeouts, Timeouts
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from pathlib import Path

    from sinergi_consumers.materialise.arrival import Arrival
    from sinergi_consumers.materialise.loop import Materialiser
    from sinergi_consumers.reading.start import Start

    Log = list[MutableMapping[str, Any]]

pytestmark = pytest.mark.long

PARTITIONS = 4


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=PARTITIONS)


class BusyPublisher:
    """Publishes on and on, so that something is always in somebody's hands."""

    def __init__(self, pair: AgencyPair) -> None:
        self.pair = pair
        self.published = 0
        self._names = count()

    def publish(self, number: int) -> None:
        self.pair.publish(*(transfer(f"P/{next(self._names)}") for _ in range(number)))
        self.published += number

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Publish a few events every moment while the block lasts."""

        def work(stopping: threading.Event) -> None:
            while not stopping.wait(0.05):
                self.publish(5)

        with running(work):
            yield

    def until_all_is_there(self) -> None:
        self.pair.until_rows("sinergi.transfer_history", self.published)


@pytest.fixture
def agency(pair: AgencyPair) -> Iterator[BusyPublisher]:
    """An agency whose relay runs; at the end all of its events must stand in the tables once."""
    found = BusyPublisher(pair)
    with pair.relaying():
        yield found
    rows = "SELECT count(*), count(DISTINCT event_id), count(DISTINCT record_id) FROM"
    for table in ("sinergi.transfer", "sinergi.transfer_history"):
        assert pair.ask(f"{rows} {table}") == [(found.published,) * 3]
    assert pair.count("sinergi.transfer_escort") == found.published
    assert pair.count("sinergi_consumer.quarantine") == 0
    assert pair.count("sinergi_consumer.halt") == 0
    (positions,) = pair.ask(
        "SELECT sum(tree_size) FROM sinergi_consumer.position WHERE projection = 'transfer'"
    )
    assert positions == (found.published,)


# In one process, where one can look at their hands


@contextmanager
def materialising(pair: AgencyPair, name: str) -> Iterator[Materialiser]:
    """A materialiser on a thread, whose log lines bear its name."""
    made: list[Materialiser] = []

    def run(stopping: threading.Event) -> None:
        with bound_contextvars(worker=name):
            made.append(pair.materialiser(stopping))
            made[0].run(stopping)

    with running(run):
        until(lambda: bool(made), f"{name} begins")
        yield made[0]


def shares(*workers: Materialiser) -> list[int]:
    """How many shares each holds; none where one is held by two."""
    held = [set(each._claims) for each in workers]
    if len(set().union(*held)) != sum(map(len, held)):
        return []
    return [len(each) for each in held]


def fenced_by_itself(log: Log) -> list[Any]:
    """The shares that a worker lost to a claim of its own."""
    claimant: dict[Any, Any] = {}
    found = []
    for each in log:
        share = each.get("topic"), each.get("partition")
        if each["event"] == "topic-partition claimed":
            claimant[share] = each["worker"]
        elif each["event"] == "topic-partition lost" and claimant[share] == each["worker"]:
            found.append(share)
    return found


def test_a_client_that_delivers_no_more_is_replaced(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    """As librdkafka may where a broker goes away at the wrong moment; here somebody pauses it."""
    pair.timeouts = Timeouts(materialiser=MaterialiserTimeouts(stalled=0.3))
    with materialising(pair, "A") as worker:
        agency.publish(20)
        agency.until_all_is_there()
        assignment = worker._assignment
        client = assignment._consumer
        for _ in range(4):
            until_it_looks(assignment)
        assert assignment._consumer is client, "it has nothing to deliver"
        client.pause(client.assignment())
        agency.publish(20)
        agency.until_all_is_there()
        assert assignment._consumer is not client


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_client_that_has_left_the_group_without_an_error_is_replaced(
    pair: AgencyPair, agency: BusyPublisher, protocol: Literal["classic", "consumer"]
) -> None:
    """As one of librdkafka's that never reaches the coordinator again; here it unsubscribes."""
    pair.connection = replace(pair.connection, group_protocol=protocol)
    pair.timeouts = Timeouts(materialiser=MaterialiserTimeouts(stalled=0.3))
    with materialising(pair, "A") as worker:
        agency.publish(20)
        agency.until_all_is_there()
        assignment = worker._assignment
        client = assignment._consumer
        client.unsubscribe()
        until(lambda: not assignment.assigned, "it is assigned nothing")
        agency.publish(20)
        agency.until_all_is_there()
        assert assignment._consumer is not client


def test_a_worker_beyond_the_number_of_topic_partitions_keeps_its_client(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    """The group assigns it nothing, and lists it as a member."""
    pair.timeouts = Timeouts(materialiser=MaterialiserTimeouts(stalled=0.3))
    with ExitStack() as all_of_them:
        workers = [
            all_of_them.enter_context(materialising(pair, f"W{number}"))
            for number in range(PARTITIONS + 1)
        ]
        until(lambda: sorted(shares(*workers)) == [0, *[1] * PARTITIONS], "the group has settled")
        (idle,) = (each._assignment for each in workers if not each._claims)
        client = idle._consumer
        for _ in range(6):
            until_it_looks(idle)
        assert idle._consumer is client
        agency.publish(20)
        agency.until_all_is_there()


def test_a_group_that_lists_no_client_is_worth_a_new_one_less_and_less_often() -> None:
    absence = AbsenceCounter()
    replaced = [absence.observe(is_member=False) for _ in range(17)]
    assert [at for at, each in enumerate(replaced, 1) if each] == [3, 5, 9, 17]
    assert not absence.observe(is_member=True)
    assert [absence.observe(is_member=False) for _ in range(3)] == [False, False, True]


def test_a_look_that_the_brokers_refuse_ends_nothing(
    pair: AgencyPair, agency: BusyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise errors.BrokerRefuses("no leaders found")

    pair.timeouts = Timeouts(materialiser=MaterialiserTimeouts(stalled=0.3))
    monkeypatch.setattr("sinergi_consumers.materialise.client_check.ends", refuse)
    with materialising(pair, "A") as worker:
        agency.publish(20)
        agency.until_all_is_there()
        for _ in range(3):
            until_it_looks(worker._assignment)
        agency.publish(20)
        agency.until_all_is_there()


def until_it_looks(assignment: Assignment) -> None:
    due = assignment._client_check.due
    until(lambda: assignment._client_check.due > due, "it looks")


def test_a_share_that_stands_still_is_worth_a_new_client_less_and_less_often() -> None:
    stalls, share, other = (
        StallDetector(),
        TopicPartition("sinergi.lapas-rekaan.transfer", 0),
        TopicPartition("sinergi.a.b", 1),
    )
    worth = [bool(stalls.observe({share: 5, other: 7}, {share: 6, other: 7})) for _ in range(10)]
    assert [at for at, tried in enumerate(worth) if tried] == [1, 2, 4, 8]
    assert not stalls.observe({}, {share: 6}), "it does not flow while another client joins"
    assert not stalls.observe({share: 6}, {share: 6}), "it is where the topic ends"
    assert not stalls.observe({share: 6}, {share: 7}), "more has come since"
    assert stalls.observe({share: 6}, {share: 8}) == {share}


def test_workers_that_come_and_go_share_the_partitions(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    with capture_logs([merge_contextvars]) as log:
        with agency.at_work(), materialising(pair, "one") as one:
            until(lambda: shares(one) == [4], "one holds all")
            with materialising(pair, "two") as two:
                until(lambda: shares(one, two) == [2, 2], "two share")
                with materialising(pair, "three") as three:
                    until(
                        lambda: sorted(shares(one, two, three)) == [1, 1, 2],
                        "three share",
                    )
                until(lambda: shares(one, two) == [2, 2], "two share again")
            until(lambda: shares(one) == [4], "one holds all again")
        with materialising(pair, "four"):
            agency.until_all_is_there()
    assert fenced_by_itself(log) == []
    assert [each for each in log if each["log_level"] == "error"] == []


def test_a_worker_whose_claims_take_longer_than_a_poll_may_is_not_expelled(
    pair: AgencyPair, agency: BusyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is claimed first has its rows while the others are still being claimed."""
    options = {**pair.connection.options, "max.poll.interval.ms": "5000"}
    pair.connection = replace(pair.connection, options=options)
    agency.publish(40)
    sent = "SELECT sum(sent_size)::integer FROM sinergi_producer.tree"
    until(lambda: pair.ask(sent, pair.producer) == [(40,)], "all are sent")
    stored: list[int] = []
    start = Assignment.start

    def delayed(*arguments: Any) -> Start:
        stored.append(pair.count("sinergi.transfer"))
        threading.Event().wait(2.0)  # as brokers that answer slowly: eight seconds for all four
        return start(*arguments)

    monkeypatch.setattr(Assignment, "start", delayed)
    with capture_logs([merge_contextvars]) as log, materialising(pair, "A"):
        agency.until_all_is_there()
    assert len(stored) == PARTITIONS
    assert stored[-1] > 0
    claims = [each for each in log if each["event"] == "topic-partition claimed"]
    assert len(claims) == PARTITIONS
    assert [each for each in log if each["log_level"] in ("warning", "error")] == []


def test_a_share_that_another_claimed_is_read_again_from_its_row(
    pair: AgencyPair, agency: BusyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a worker of another cluster of consumers, or one that woke up late, had been there."""
    with capture_logs([merge_contextvars]) as log, materialising(pair, "one") as one:
        agency.publish(40)
        agency.until_all_is_there()
        polls: list[int] = []
        poll = one._assignment.poll

        def noted(has_time: Callable[[], bool]) -> Iterator[Arrival]:
            polls.append(len(log))
            return poll(has_time)

        monkeypatch.setattr(one._assignment, "poll", noted)
        with pair.consumer.begin() as connection:
            connection.execute(sa.text("UPDATE sinergi_consumer.position SET epoch = epoch + 7"))
        agency.publish(40)
        agency.until_all_is_there()
    lost = [at for at, each in enumerate(log) if each["event"] == "topic-partition lost"]
    assert lost
    for at in lost:
        share = log[at]["topic"], log[at]["partition"]
        again = next(
            later
            for later in range(at, len(log))
            if log[later]["event"] == "topic-partition claimed"
            and (log[later]["topic"], log[later]["partition"]) == share
        )
        assert any(at < polled <= again for polled in polls), "claimed without asking the group"


def test_connections_that_are_cut_in_the_middle_lose_nothing(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    cut = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'sinergi materialise'"
    )
    with materialising(pair, "one"), materialising(pair, "two"):
        with agency.at_work():
            for number in range(1, 8):
                pair.until_rows("sinergi.transfer_history", 20 * number)
                until(lambda: pair.ask(cut) != [(0,)], "a connection to cut")
        agency.until_all_is_there()


def test_a_position_that_somebody_holds_for_long_is_waited_for(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    with capture_logs() as log, materialising(pair, "one"):
        agency.publish(20)
        agency.until_all_is_there()
        with pair.consumer.begin() as holder:
            holder.execute(sa.text("SELECT * FROM sinergi_consumer.position FOR UPDATE"))
            agency.publish(20)
            until(lambda: any("55P03" in str(each) for each in list(log)), "a lock not given")
        agency.until_all_is_there()
    assert not [each for each in log if each["event"] == "topic-partition lost"]


# As processes, to be killed and stopped


def test_what_a_killed_worker_held_goes_to_the_other(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    with pair.worker("one") as one, pair.worker("two") as two:
        with agency.at_work():
            until(lambda: bool(one.claimed) and bool(two.claimed), "both have shares")
            pair.until_rows("sinergi.transfer_history", 100)
            one.process.kill()
            until(lambda: two.claimed == {0, 1, 2, 3}, "the other takes over")
        agency.until_all_is_there()


def test_what_a_stopped_worker_held_goes_to_the_other_and_waking_it_changes_nothing(
    pair: AgencyPair, agency: BusyPublisher
) -> None:
    with pair.worker("one") as one, pair.worker("two") as two:
        with agency.at_work():
            until(lambda: bool(one.claimed) and bool(two.claimed), "both have shares")
            pair.until_rows("sinergi.transfer_history", 100)
            one.process.send_signal(signal.SIGSTOP)
            until(lambda: two.claimed == {0, 1, 2, 3}, "the other takes over")
        agency.until_all_is_there()
        claims = len(one.said)
        one.process.send_signal(signal.SIGCONT)
        with agency.at_work():
            until(
                lambda: any(
                    each["event"] == "topic-partition claimed" for each in one.said[claims:]
                ),
                "the group gives the awakened one a share again",
            )
        agency.until_all_is_there()
        expelled = "expelled from the group; joining again"
        assert any(each["event"] == expelled for each in one.said[claims:])
        assert [
            each for each in two.said if each["event"] in {"topic-partition lost", expelled}
        ] == []
        for each in (one, two):
            each.process.send_signal(signal.SIGTERM)
            assert each.process.wait(PATIENCE_SECONDS) == 0
