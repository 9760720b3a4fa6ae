"""Kafka clients: their settings, what their errors mean, and what they may not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog
from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic
from structlog.testing import capture_logs

from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.client_errors import ClientErrors, ClientLog
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translate
from sinergi_schemas.kafka.producer import open_producer
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from confluent_kafka import Message


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (KafkaError(KafkaError._AUTHENTICATION), errors.LoginRefused),
        (KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED), errors.LoginRefused),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), errors.NotPermitted),
        (KafkaError(KafkaError.UNSUPPORTED_VERSION), errors.BrokerTooOld),
        (KafkaError(KafkaError._INVALID_ARG), errors.KafkaSettingsRefused),
        (KafkaError(KafkaError._TRANSPORT), errors.BrokerAway),
        (KafkaError(KafkaError._ALL_BROKERS_DOWN), errors.BrokerAway),
        (KafkaError(KafkaError.NOT_ENOUGH_REPLICAS), errors.BrokerAway),
        (KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), errors.TopicNotKnown),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), errors.MessageTooLarge),
        (
            KafkaError(KafkaError._GAPLESS_GUARANTEE, "Broker: Message size too large", fatal=True),
            errors.MessageTooLarge,
        ),
        (KafkaError(KafkaError.INVALID_RECORD), errors.BrokerRefuses),
        (KafkaError(KafkaError._GAPLESS_GUARANTEE, "gap", fatal=True), errors.BrokerRefuses),
        (KafkaError(KafkaError._TRANSPORT, "fatal", fatal=True), errors.BrokerRefuses),
    ],
)
def test_each_error_says_whose_fault_it_is(
    error: KafkaError, meaning: type[errors.SinergiError]
) -> None:
    assert type(translate(error)) is meaning
    with pytest.raises(meaning):
        raise_for(error)


def test_no_error_raises_nothing() -> None:
    raise_for(None)


class ManualClock:
    """A clock that a test moves."""

    seconds = 0.0

    def now(self) -> datetime:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.seconds


def test_a_broker_that_stays_away_is_warned_of_after_half_a_minute_and_then_once_a_minute() -> None:
    clock = ManualClock()
    client_errors = ClientErrors(clock)
    with structlog.testing.capture_logs() as logged:
        for clock.seconds in range(151):
            client_errors.observe(KafkaError(KafkaError._TRANSPORT, "a is down"))
            client_errors.observe(KafkaError(KafkaError._TRANSPORT, "b is down"))
    warned = [each["text"] for each in logged if each["log_level"] == "warning"]
    assert warned == ["a is down", "b is down"] * 3


def test_a_broker_that_was_away_for_a_moment_is_not_warned_of() -> None:
    clock = ManualClock()
    client_errors = ClientErrors(clock)
    with structlog.testing.capture_logs() as logged:
        for clock.seconds in range(30):
            client_errors.observe(KafkaError(KafkaError._TRANSPORT, "a is down"))
    assert {each["log_level"] for each in logged} == {"debug"}


def test_a_refused_login_is_remembered_until_a_broker_answers() -> None:
    connection = Connection("nowhere:1")
    connection.client_errors.observe(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    connection.client_errors.observe(KafkaError(KafkaError._TRANSPORT, "closed"))
    assert "wrong password" in str(connection.away("no answer"))
    connection.client_errors.clear()
    assert isinstance(connection.away("no answer"), errors.BrokerAway)


def test_a_refused_login_names_the_tables_in_which_its_settings_stand() -> None:
    error = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: x")
    connection = Connection("nowhere:1", tables={"password_file": "consumer.kafka"})
    connection.client_errors.observe(error)
    where = r"username or password_file under \[kafka\] or \[consumer\.kafka\]"
    with pytest.raises(errors.LoginRefused, match=where):
        raise connection.away("no answer")
    with pytest.raises(errors.LoginRefused, match=where):
        raise connection.cause(translate(error))


@pytest.mark.parametrize(
    "code",
    [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.FENCED_LEADER_EPOCH, KafkaError._NOENT],
)
def test_brokers_that_pass_on_a_task_are_not_said_to_be_away(code: int) -> None:
    found = Connection("nowhere:1").cause(translate(KafkaError(code)))
    assert isinstance(found, errors.BrokerAway), "it is tried again as if they were"
    assert "passing on a task" in str(found)
    assert "bootstrap" not in str(found)


@pytest.mark.parametrize(
    ("line", "clock"),
    [
        ("SSL routines::certificate verify failed", "by this machine's clock"),
        ("ssl/tls alert certificate expired", "by the broker's clock"),
        ("ssl/tls alert certificate unknown", "by the broker's clock"),
    ],
)
def test_a_refused_certificate_may_be_one_that_is_not_valid_now(line: str, clock: str) -> None:
    connection = Connection("nowhere:1", {"ssl.certificate.location": "x"})
    connection.client_errors.observe_line(line)
    assert clock in str(connection.away("no answer"))


def test_a_client_without_a_certificate_is_not_told_that_its_certificate_is_refused() -> None:
    line = "ssl/tls alert certificate required"
    for options, told in (
        ({}, "requires a client certificate, and none is set"),
        ({"ssl.certificate.location": "x"}, "and does not accept this one"),
    ):
        connection = Connection("nowhere:1", options)
        connection.client_errors.observe_line(line)
        assert told in str(connection.away("no answer"))


def test_a_controller_that_is_away_is_told_apart_from_brokers_that_are_all_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why = KafkaException(KafkaError(KafkaError._TIMED_OUT, "Timed out waiting for controller"))
    admin = open_admin(Connection("127.0.0.1:1"))
    assert not isinstance(admin.fault(why), errors.ControllerAway)
    monkeypatch.setattr(type(admin), "list_topics", lambda *_, **__: None)
    found = admin.fault(why)
    assert isinstance(found, errors.ControllerAway)
    assert "another takes over within seconds" in str(found)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.MSG_SIZE_TOO_LARGE,
    ],
)
def test_an_error_about_many_topics_names_the_first_of_them(code: int) -> None:
    topics = [f"sinergi.lapas-{number:03}.transfer" for number in range(200)]
    text = str(translate(KafkaError(code), Connection("nowhere:1").attempt("Read", topics)))
    assert topics[4] in text
    assert "and 195 more" in text
    assert len(text) < 900


def test_secrets_do_not_show_in_a_connection() -> None:
    assert "hush" not in repr(Connection("nowhere:1", {"sasl.password": "hush"}))


def test_an_option_that_the_client_does_not_know_is_refused_before_anything_is_done() -> None:
    connection = Connection("nowhere:1", {"sasl.pasword": "x"})
    for opening in (
        lambda: open_admin(connection),
        lambda: open_producer(connection),
        lambda: open_consumer(connection, "group"),
    ):
        with pytest.raises(errors.KafkaSettingsRefused, match=r"sasl\.pasword"):
            opening()


@pytest.fixture
def topic(kafka: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A topic of one partition that only this test has."""
    name = f"kafka-{request.node.name.replace('[', '-').replace(']', '')}"[:200]
    admin = open_admin(Connection(kafka))
    admin.create_topics([NewTopic(name, 1)])[name].result()
    while name not in describe(admin, [name]):
        pass
    yield name
    admin.delete_topics([name])[name].result()


def send(kafka: str, topic: str, count: int) -> None:
    reports: list[KafkaError | None] = []
    producer = open_producer(Connection(kafka))
    for number in range(count):
        producer.produce(
            topic,
            str(number).encode(),
            partition=0,
            on_delivery=lambda error, _: reports.append(error),
        )
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert reports == [None] * count


def test_what_was_sent_is_read_in_order_outside_every_group(kafka: str, topic: str) -> None:
    send(kafka, topic, 100)
    consumer = open_consumer(Connection(kafka), None)
    consumer.assign([TopicPartition(topic, 0, 0)])
    read: list[Message] = []
    while len(read) < 100:
        read += consumer.consume(100, 1)
    consumer.close()
    assert [each.value() for each in read] == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_group_is_never_given_an_offset_that_nobody_chose(
    kafka: str, topic: str, protocol: Literal["consumer", "classic"]
) -> None:
    """Without a stored offset the client says so; it starts neither at the begin nor at the end."""
    send(kafka, topic, 3)
    connection = Connection(
        kafka, group_protocol="classic" if protocol == "classic" else "consumer"
    )
    consumer = open_consumer(connection, f"group-{topic}")
    consumer.subscribe([topic])
    found: list[Message] = []
    while not found:
        found = consumer.consume(1, 1)
    consumer.close()
    error = found[0].error()
    assert error is not None
    assert error.code() == KafkaError._AUTO_OFFSET_RESET


def test_a_reader_of_many_topic_partitions_fetches_less_often_than_messages_arrive(
    kafka: str, topic: str
) -> None:
    """A fetch costs the broker some time for each of them; see docs/capacity.md."""
    few, many = (_fetches_for_lone_messages(kafka, topic, each) for each in (1, 1_000))
    assert many < few / 2


def _fetches_for_lone_messages(kafka: str, topic: str, partitions: int) -> int:
    """How often a member of a group fetches while messages arrive one after another."""
    counts = [0]

    def observe(statistics: str) -> None:
        brokers = json.loads(statistics)["brokers"].values()
        counts.append(sum(each["req"].get("Fetch", 0) for each in brokers))

    options: dict[str, Any] = {"statistics.interval.ms": 10, "stats_cb": observe}
    connection = Connection(kafka, options)
    consumer = open_consumer(connection, f"fetching-{partitions}-{topic}", partitions)
    consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
    producer = open_producer(Connection(kafka))
    messages, before = 0, -1
    while messages < 100:
        producer.produce(topic, b"lone", partition=0)
        assert producer.flush(PATIENCE_SECONDS) == 0
        found = [each for each in consumer.consume(100, 0.002) if each.error() is None]
        before = counts[-1] if found and before < 0 else before
        messages += len(found)
    consumer.close()
    return counts[-1] - before


def test_a_coordinator_that_still_starts_is_no_warning() -> None:
    line = "[thrd:main]: Coordinator load in progress: retrying"
    with capture_logs() as logs:
        ClientLog(ClientErrors()).log(30, "%s", "COMMITFAIL", "sinergi#consumer-1", line)
    assert [each["log_level"] for each in logs] == ["debug"]


def test_a_line_of_the_clients_log_that_each_connection_repeats_is_logged_once_a_minute() -> None:
    clock = ManualClock()
    log = ClientLog(ClientErrors(clock))
    with capture_logs() as logs:
        for clock.seconds in range(61):
            for broker in range(3):
                line = f"[thrd:ssl://b{broker}:1/{broker}]: wrong (after {broker}ms in state UP)"
                log.log(30, "%s", "CERTVERIFY", "sinergi#consumer-1", line)
    assert [each["log_level"] for each in logs].count("warning") == 2
    assert len(logs) == 183


def test_how_often_librdkafka_suppressed_an_error_makes_no_new_error() -> None:
    clock = ManualClock()
    reports = ClientErrors(clock)
    text = "ssl://a.example:9091/bootstrap: Connect failed: Connection refused"
    with capture_logs() as logs:
        reports.observe(KafkaError(KafkaError._TRANSPORT, text))
        clock.seconds = 31
        suppressed = f"{text} (after 0ms in state CONNECT, 7 identical error(s) suppressed)"
        reports.observe(KafkaError(KafkaError._TRANSPORT, suppressed))
    assert [each["log_level"] for each in logs] == ["debug", "warning"]
