"""A sender whose login is refused waits and reports it; a discarded producer delivers nothing."""

from __future__ import annotations

import ctypes
import secrets
import sys
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from structlog.testing import capture_logs

from agency_pair import BUS, DATABASE, AgencyPair, running, transfer
from chaos.keyless_relay import KeyDroppingProducer
from sinergi_consumers.materialise.receipts import Receipts
from sinergi_consumers.reading.source import KafkaSource
from sinergi_consumers.sinks.protocol import Receipt
from sinergi_producers.relay.control_topic import ControlTopic
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.sealing import Sealer, TreeKey
from sinergi_producers.relay.sending import Sender
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.compacted_topic import CompactedTopic
from sinergi_schemas.kafka.connection import Attempt
from sinergi_schemas.kafka.producer import serve
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import control_topic, receipts_topic
from test_kafka import ManualClock
from test_relay import messages, relay_of, sent, until_sent, verified
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sinergi_producers.relay.sealing import TreeUpdate

PASSWORD = "hush-hush"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def role(pair: AgencyPair) -> Iterator[str]:
    """The name of a role that is not there yet; whoever makes it, it goes at the end."""
    name = f"relay_{secrets.token_hex(4)}"
    yield name
    with pair.producer.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE IF EXISTS {name}"))


def updates(pair: AgencyPair, count: int) -> list[TreeUpdate]:
    """Sealed leaves, as the relay hands them over."""
    pair.publish(*(transfer(f"P/{number}") for number in range(count)))
    counts = {"transfer": pair.partitions}
    sealer = Sealer(
        BUS,
        pair.publisher,
        [pair.key],
        counts,
        lambda _: True,
        pair.agreements.ring,
        lambda _: None,
    )
    with closing(OutboxStore(pair.producer_url)) as store:
        epoch = store.take_lease()
        assert epoch is not None
        store.ensure_trees(
            [TreeKey("transfer", number) for number in range(pair.partitions)], epoch
        )
        return sealer.seal(store.unsealed_rows(Watermarks()).rows, store.trees()).updates


def sender(pair: AgencyPair, connection: Connection | None = None) -> Sender:
    ids = {each.fingerprint: each.id for each in Catalog.shipped().all()}
    return Sender(connection or pair.connection, BUS, pair.publisher, ids)


def whys(logs: list[Any]) -> str:
    return " ".join(str(each.get("why")) for each in list(logs) if each["event"] == "waiting")


def test_what_is_discarded_is_never_delivered_when_the_brokers_take_messages_again(
    pair: AgencyPair,
) -> None:
    """Kept in the client it would come behind what a successor sends, or beside it."""
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")
    sealed = updates(pair, 20)
    old = sender(pair)
    old.enqueue(sealed)
    old.discard()
    assert len(old._producer) == 0
    with pytest.raises(errors.SinergiError):
        old.flush(lambda: None)
    for made in admin.create_topics([NewTopic(pair.topic.name, pair.partitions, 1)]).values():
        made.result(timeout=PATIENCE_SECONDS)
    new = sender(pair)
    new.enqueue(sealed)
    assert new.flush(lambda: None) == sealed
    assert sum(len(messages(pair, None, each)) for each in range(pair.partitions)) == 20
    assert verified(pair) == (20, 0)


def test_a_sender_that_cannot_reach_the_brokers_is_discarded_at_once(pair: AgencyPair) -> None:
    sealed = updates(pair, 5)
    nowhere = sender(pair, Connection("127.0.0.1:1"))
    nowhere.enqueue(sealed)
    nowhere.discard()
    assert len(nowhere._producer) == 0


def test_a_relay_that_the_brokers_do_not_let_in_says_so_and_goes_on_once_they_do(
    pair: AgencyPair,
) -> None:
    options = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "x",
        "sasl.password": PASSWORD,
    }
    pair.connection = Connection(pair.kafka, options, timeouts=KafkaTimeouts(answer=3.0))
    pair.publish(transfer("P/1"))
    with capture_logs() as logs, running(relay_of(pair).run):
        pair.until(lambda: "refuse the login" in whys(logs), "it says that it may not log in")
        assert sent(pair) == 0
        options.clear()
        until_sent(pair, 1)
    assert "Mend security under" in whys(logs)
    assert PASSWORD not in str(logs)


def test_a_relay_told_to_stop_while_it_may_not_log_in_ends_and_may_say_why(
    pair: AgencyPair,
) -> None:
    options = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": "x", "sasl.password": "y"}
    pair.connection = Connection(pair.kafka, options, timeouts=KafkaTimeouts(answer=3.0))
    with (
        capture_logs() as logs,
        suppress(errors.LoginRefused),
        running(relay_of(pair).run),
    ):
        pair.until(lambda: "refuse the login" in whys(logs), "it says that it may not log in")


def test_a_relay_that_its_database_does_not_let_in_says_so_and_goes_on_once_it_does(
    pair: AgencyPair, role: str
) -> None:
    """It cannot be told from a server that is away: libpq gives no SQLSTATE for a login."""
    pair.publish(transfer("P/1"))
    url = sa.engine.make_url(pair.producer_url).set(username=role, password=PASSWORD)
    database = url.render_as_string(hide_password=False)
    relay = build_relay(replace(pair.relay_setup, database=database))
    with capture_logs() as logs, running(relay.run):
        pair.until(lambda: f'"{role}"' in whys(logs), "it says that it may not log in")
        assert "FATAL" in whys(logs)
        with pair.producer.begin() as connection:
            command = f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"
            connection.execute(sa.text(command))
        until_sent(pair, 1)
    assert [each["event"] for each in logs].count("waiting") == 1, "said once, and not each second"
    assert PASSWORD not in str(logs)


def test_a_materialiser_waits_for_the_login_of_its_database_and_for_that_of_kafka(
    pair: AgencyPair, role: str
) -> None:
    pair.publish(transfer("P/1"))
    right = pair.consumer_url
    url = sa.engine.make_url(right).set(username=role, password=PASSWORD)
    pair.consumer_url = url.render_as_string(hide_password=False)
    with pair.relaying(), capture_logs() as logs, pair.materialising():
        pair.until(lambda: f'"{role}"' in str(logs), "it says that it may not log in")
        with pair.producer.begin() as connection:
            command = f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"
            connection.execute(sa.text(command))
        pair.until_rows("sinergi.transfer_history", 1)
    assert PASSWORD not in str(logs)
    pair.consumer_url = right
    options = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": "x", "sasl.password": PASSWORD}
    refused = Connection(pair.kafka, options, timeouts=KafkaTimeouts(answer=3.0))
    pair.connection = refused
    pair.bus = replace(pair.bus, source=KafkaSource(refused))
    with capture_logs() as logs, pair.materialising():
        pair.until(lambda: "refuse the login" in str(logs), "it says that it may not log in")
    assert "Mend security under" in str(logs)
    assert PASSWORD not in str(logs)


# A client that reaches no broker any more


class ManualClockOfToday(ManualClock):
    """A clock that a test moves on, through today."""

    def now(self) -> datetime:
        return SYSTEM.now()


NOWHERE = Connection("127.0.0.1:1")


def test_heads_that_one_client_does_not_get_out_are_told_by_another(pair: AgencyPair) -> None:
    clock = ManualClockOfToday()
    control = ControlTopic(NOWHERE, BUS, pair.publisher, [pair.key], pair.agreements.ring, clock)
    trees = {TreeKey("transfer", 0): Frontier.empty()}
    control.publish_heads(trees)
    control._topic._connection = pair.connection
    clock.seconds = 20.0
    control.publish_heads(trees)
    assert control._topic._unconfirmed, "half a minute has not gone by"
    clock.seconds = 61.0
    control.publish_heads(trees)
    pair.until(lambda: bool(messages(pair, control_topic(pair.publisher))), "the heads arrive")
    (told,) = messages(pair, control_topic(pair.publisher))
    assert told.key() == b"heads"


@pytest.mark.long
def test_a_leader_that_parts_with_a_client_that_reaches_nobody_writes_by_another(
    pair: AgencyPair,
) -> None:
    control = ControlTopic(NOWHERE, BUS, pair.publisher, [pair.key], pair.agreements.ring, SYSTEM)
    control.publish_heads({TreeKey("transfer", 0): Frontier.empty()})
    control._topic._connection = pair.connection
    pair.until(lambda: not left_after_finish(control), "the heads arrive")
    assert {each.key() for each in messages(pair, control_topic(pair.publisher))} == {b"heads"}


def left_after_finish(control: ControlTopic) -> int:
    """How many values are missing after the leader has parted."""
    control.finish()
    return len(control._topic._unconfirmed)


def test_what_is_refused_while_a_leader_parts_is_written_again_before_it_goes(
    pair: AgencyPair,
) -> None:
    """As by a broker that does not know yet of a topic that was just made."""
    control = ControlTopic(
        pair.connection, BUS, pair.publisher, [pair.key], pair.agreements.ring, SYSTEM
    )
    refusal = errors.BrokerAway("the topic is not known yet")
    control._topic.put(b"heads", b"note")
    control._topic._producer.purge()
    control._topic._retry_later(b"heads", refusal)
    pair.until(lambda: not left_after_finish(control), "the heads arrive")
    assert [each.value() for each in messages(pair, control_topic(pair.publisher))] == [b"note"]


def test_what_somebody_has_to_mend_first_does_not_hold_up_a_leader_that_parts(
    pair: AgencyPair,
) -> None:
    """It would be refused for the whole hour that is given here."""
    topic = CompactedTopic(pair.connection, control_topic(pair.publisher), SYSTEM, 30.0)
    with capture_logs() as logs:
        topic.put(b"heads", bytes(10_000_000))
        assert topic.finish(3_600.0) == []
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
        "topic is not written",
        "topic left unwritten",
    ]


def test_an_idle_relay_whose_heads_arrive_keeps_its_client_and_warns_of_nothing(
    pair: AgencyPair,
) -> None:
    """Heads are a minute apart, and a client is given up after half a minute without a report."""
    clock = ManualClockOfToday()
    control = ControlTopic(
        pair.connection, BUS, pair.publisher, [pair.key], pair.agreements.ring, clock
    )
    trees = {TreeKey("transfer", 0): Frontier.empty()}
    producer = control._topic._producer
    schemas = len(Catalog.shipped().versions("transfer"))

    def arrives(count: int) -> None:
        """They arrive while nobody looks: the reports wait inside the client."""
        topic = control_topic(pair.publisher)
        pair.until(lambda: len(messages(pair, topic)) == schemas + count, f"{count} heads")

    with capture_logs() as logs:
        control.publish_schemas(Catalog.shipped().versions("transfer"))
        for minute in range(3):
            clock.seconds = 60.0 * minute
            control.publish_if_due(trees)
            arrives(minute + 1)
    assert control._topic._producer is producer
    assert not [each for each in logs if each["event"] != "librdkafka"]


def test_what_others_put_in_place_of_schemas_and_heads_does_not_stay(pair: AgencyPair) -> None:
    """The topic is compacted: a foreign value, or none, is what a newcomer would find."""
    clock = ManualClockOfToday()
    control = ControlTopic(
        pair.connection, BUS, pair.publisher, [pair.key], pair.agreements.ring, clock
    )
    schemas = Catalog.shipped().versions("transfer")
    control.publish_schemas(schemas)
    control.publish_heads({TreeKey("transfer", 0): Frontier.empty()})
    control.finish()
    topic = control_topic(pair.publisher)
    stranger = Producer({"bootstrap.servers": pair.kafka})
    for number, lying in enumerate(messages(pair, topic)):
        stranger.produce(topic, None if number % 2 else b"\xff", lying.key())
    assert stranger.flush(PATIENCE_SECONDS) == 0
    clock.seconds = 3_601.0
    control.publish_if_due({TreeKey("transfer", 0): Frontier.empty()})
    pair.until(lambda: not left_after_finish(control), "all is written again")
    newest = {each.key() or b"": each.value() or b"" for each in messages(pair, topic)}
    for each in schemas:
        assert newest[f"schema/{each.fingerprint.hex()}".encode()] == each.text
    heads.verify(newest[b"heads"].decode(), BUS, pair.publisher, [pair.key.public])


def test_the_reports_of_a_busy_process_are_taken_before_its_client_is_given_up(
    pair: AgencyPair,
) -> None:
    """The materialiser looks at its receipts again only when the database has ended a batch."""
    clock = ManualClockOfToday()
    receipts = Receipts(pair.reader, DATABASE, pair.connection, clock)
    receipt = Receipt(pair.topic.name, 0, 1, "note", clock.now())
    receipts.send([receipt])
    assert receipts.confirmed() in ([], [receipt])
    pair.until(
        lambda: len(messages(pair, receipts_topic(pair.reader))) == 1, "the receipt is there"
    )
    producer = receipts._topic._producer
    clock.seconds = 600.0
    with capture_logs() as logs:
        pair.until(lambda: not receipts.finish(1), "nothing more is reported")
    assert receipts._topic._producer is producer
    assert not [each for each in logs if each["event"] != "librdkafka"]


def test_receipts_that_one_client_does_not_get_out_are_published_by_another(
    pair: AgencyPair,
) -> None:
    clock = ManualClockOfToday()
    receipts = Receipts(pair.reader, DATABASE, NOWHERE, clock)
    made = [Receipt(pair.topic.name, 0, size, f"note {size}", clock.now()) for size in (1, 2)]
    receipts.send(made[:1])
    receipts.send(made[1:])
    assert not receipts.confirmed()
    receipts._topic._connection = pair.connection
    clock.seconds = 61.0
    arrived: list[Receipt] = []

    def has_arrived() -> bool:
        arrived.extend(receipts.finish(1))
        return bool(arrived)

    pair.until(has_arrived, "one has arrived")
    assert arrived == made[1:], "the newer one covers the older"
    # More than once where the first client was so slow that another one wrote it too.
    assert {each.value() for each in messages(pair, receipts_topic(pair.reader))} == {b"note 2"}
    assert not receipts.finish(1)


def test_a_refused_message_gives_the_cause_whatever_its_neighbours_report_before_it(
    pair: AgencyPair,
) -> None:
    """Others of its batch fail with it, those behind it are purged, and the client has failed."""
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ConfigResource.Type.TOPIC, pair.topic.name, incremental_configs=[entry]
    )
    admin = open_admin(pair.connection)
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(timeout=PATIENCE_SECONDS)
    sealed = updates(pair, 2_000)
    refused = sender(pair)
    losing = pair.folder / "losing"
    losing.touch()
    refused._producer = KeyDroppingProducer(refused._producer, losing)  # type: ignore[assignment]

    def send() -> None:
        refused.enqueue(sealed)  # raises it if the broker answers before the last is queued
        refused.flush(lambda: None)

    with pytest.raises(errors.BrokerRefuses, match="failed to validate record"):
        send()
    refused.discard()


class BareErrorProducer:
    """A producer whose flush raises a KafkaError, which is not an exception class.

    The C code of confluent-kafka does so in Python 3.11 where a callback runs while its fatal error
    is pending.
    """

    def flush(self, _seconds: float) -> None:
        """Raise what no `except` clause that names a class catches."""
        text = "Broker: Topic authorization failed: unable to satisfy gap-less guarantee"
        error = KafkaError(KafkaError._GAPLESS_GUARANTEE, text, fatal=True)
        api = ctypes.pythonapi
        api.Py_IncRef.argtypes = [ctypes.py_object]
        api.PyErr_Restore.argtypes = [ctypes.py_object, ctypes.py_object, ctypes.c_void_p]
        api.PyErr_Restore.restype = None
        for each in (KafkaError, error):
            api.Py_IncRef(each)  # PyErr_Restore takes these references over
        api.PyErr_Restore(KafkaError, error, None)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python 3.12 makes an exception of it")
def test_a_fatal_error_that_is_no_exception_is_told_as_any_other() -> None:
    attempt = Attempt("User:lapas", "Write", topics=("sinergi.lapas.transfer",))
    with pytest.raises(errors.NotPermitted, match=r"lacks the right Write on topic sinergi\.lapas"):
        serve(BareErrorProducer(), 0.5, attempt)  # type: ignore[arg-type]
