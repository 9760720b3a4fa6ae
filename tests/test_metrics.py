"""What relay and materialiser answer where `--listen` says: metrics, and how they are."""

from __future__ import annotations

import signal
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from agency_pair import AgencyPair, send, transfer
from monitored import Monitored, child, materialising, relaying
from sinergi.cli.root import run
from sinergi.metrics import definitions
from sinergi_schemas.agreements.reload_report import FAILED, MENDED
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.timeouts import (
    DatabaseTimeouts,
    MaterialiserTimeouts,
    MetricsTimeouts,
    RelayTimeouts,
    Timeouts,
)
from sinergi_schemas.topics import control_topic, receipts_topic
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from monitored import Sample

ABOUT = {"process": "provision", "version": version("sinergi")}
LOADED = "sinergi_agreements_loaded"
PARTITIONS = "sinergi_materialiser_partitions"
TABLES = """
    SELECT (SELECT count(*) FROM sinergi_producer.outbox),
        (SELECT count(*) FROM sinergi_producer.outbox WHERE held IS NOT NULL),
        (SELECT sum(size) FROM sinergi_producer.tree),
        (SELECT sum(sent_size) FROM sinergi_producer.tree)
"""
PUT = """
    SELECT status FROM sinergi_producer.put(
        :id, :type, :record, 'RECORDED', now(), :f, :d, :d, '', false)
"""
QUICK = Timeouts(
    database=DatabaseTimeouts(lock=0.2),
    relay=RelayTimeouts(lease=2.0, retry_most=0.2, reload=0.2),
    materialiser=MaterialiserTimeouts(reload=0.2),
    metrics=MetricsTimeouts(loop=2.0, database=0.2, brokers=0.2),
)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), timeouts=QUICK)


@pytest.fixture
def relay(pair: AgencyPair) -> Iterator[Monitored]:
    with relaying(pair) as running:
        yield running


@pytest.fixture
def materialiser(pair: AgencyPair) -> Iterator[Monitored]:
    with materialising(pair) as running:
        yield running


def test_a_relay_and_a_materialiser_count_what_they_did(
    pair: AgencyPair, relay: Monitored, materialiser: Monitored
) -> None:
    topic = pair.topic.name
    relay.until_status("/readyz", 200)
    materialiser.until_status("/readyz", 200)
    for number in range(7):
        pair.publish(transfer(f"P/{number}"))
    relay.until_value("sinergi_relay_sealed_leaves_total", 7, topic=topic)
    relay.until_value("sinergi_relay_sent_leaves_total", 7, topic=topic)
    materialiser.until_value("sinergi_materialiser_stored_leaves_total", 7, topic=topic)
    materialiser.until_value(PARTITIONS, pair.partitions, state="claimed")
    for each, step in ((relay, "seal"), (relay, "send"), (materialiser, "store")):
        batches = each.value("sinergi_batch_seconds_count", step=step)
        assert batches is not None
        assert 1 <= batches <= 7
        assert each.value("sinergi_alive") == each.value("sinergi_ready") == 1
        assert each.value("sinergi_state", state="working") == 1
        assert (each.value("process_resident_memory_bytes") or 0) > 10_000_000


def test_the_gauges_say_what_the_tables_say(
    pair: AgencyPair, relay: Monitored, materialiser: Monitored
) -> None:
    topic = pair.topic.name
    for number in range(11):
        pair.publish(transfer(f"P/{number}"))
    pair.until_rows("sinergi.transfer_history", 11)
    _put(pair, "transfer")
    reader = f"{pair.reader}/main"

    def expected() -> dict[Sample, float]:
        [[published, held, sealed, sent]] = pair.ask(TABLES, pair.producer)
        assert sealed is None or sealed <= published
        counted: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
            ("sinergi_published_events", ()): published,
            ("sinergi_sealed_leaves", ()): sealed,
            ("sinergi_sent_leaves", ()): sent,
            ("sinergi_held_rows", ()): held,
            ("sinergi_unsealed_rows", (("kind", "live"),)): published - sealed - held,
            ("sinergi_unsealed_rows", (("kind", "backfill"),)): 0,
            ("sinergi_oldest_unsealed_seconds", ()): 0,
            ("sinergi_oldest_unsent_seconds", ()): 0,
            ("sinergi_receipted_leaves", (("reader", reader),)): sent,
            ("sinergi_materialised_leaves", ()): pair.count("sinergi.transfer_history"),
            ("sinergi_quarantined_events", ()): pair.count("sinergi_consumer.quarantine"),
            ("sinergi_halted_partitions", ()): pair.count("sinergi_consumer.halt"),
            ("sinergi_skipped_messages", ()): 0,
            ("sinergi_available_leaves", ()): sealed,
            ("sinergi_behind_leaves", ()): 0,
            ("sinergi_behind_seconds", ()): 0,
        }
        return {
            (name, frozenset({("topic", topic), *labels})): float(value)
            for (name, labels), value in counted.items()
        }

    def differing() -> dict[Sample, float]:
        found = {**relay.samples(), **materialiser.samples()}
        return {key: value for key, value in expected().items() if value != found.get(key)}

    pair.until(lambda: not differing(), "every gauge says what the tables say")
    counts = {name: value for (name, _), value in expected().items()}
    assert (counts["sinergi_held_rows"], counts["sinergi_sealed_leaves"]) == (1, 11)

    def moments() -> list[float | None]:
        return [
            relay.value("sinergi_receipt_timestamp_seconds", topic=topic, reader=reader),
            materialiser.value("sinergi_heads_timestamp_seconds", publisher=pair.publisher),
        ]

    # The owner signs heads once a minute, so they may be later than what they are about.
    pair.until(lambda: None not in moments(), "the newest receipt and the heads are known")
    now = SYSTEM.now().timestamp()
    assert [each and now - 600 < each <= now + 1 for each in moments()] == [True, True]
    assert relay.value("sinergi_lease_held") == 1
    for source in ("database", "brokers"):
        for each in (relay, materialiser):
            assert each.value("sinergi_look_up", source=source) == 1


def test_every_metric_that_is_defined_is_shown_with_its_labels_and_no_other(
    pair: AgencyPair, relay: Monitored, materialiser: Monitored
) -> None:
    pair.publish(transfer("P/1"))
    reader = f"{pair.reader}/main"
    relay.until_value("sinergi_receipted_leaves", 1, topic=pair.topic.name, reader=reader)
    materialiser.until_value("sinergi_available_leaves", 1, topic=pair.topic.name)
    for process, shown in (("relay", relay), ("materialise", materialiser)):
        shown.until_value("sinergi_look_up", 1, source="brokers")
        shown.until_value("sinergi_look_up", 1, source="database")
        # A value that is looked up appears with the first look after the event.
        pair.until(partial(_is_complete, shown, process), f"every metric of {process} is shown")


def _is_complete(shown: Monitored, process: str) -> bool:
    return _families(shown) == _defined(process)


def _families(shown: Monitored) -> dict[tuple[str, str], set[str]]:
    """The labels of each metric of ours that is shown, by its name and type."""
    return {
        (each.name + "_total" * (each.type == "counter"), each.type): {
            label for sample in each.samples for label in sample.labels if label != "le"
        }
        for each in text_string_to_metric_families(shown.ask("/metrics")[1])
        if each.name.startswith("sinergi_")
    }


def _defined(process: str) -> dict[tuple[str, str], set[str]]:
    return {
        (each.name, str(each.kind)): set(each.labels)
        for each in definitions.METRICS
        if process in each.processes
    }


def test_a_topic_that_cannot_be_read_is_named_and_its_figures_are_not_just_missing(
    pair: AgencyPair, relay: Monitored, materialiser: Monitored
) -> None:
    """The look at the brokers succeeds all the same, so that no other alert fires."""
    receipts, control = receipts_topic(pair.reader), control_topic(pair.publisher)
    pair.publish(transfer("P/1"))
    relay.until_value("sinergi_topic_read", 1, topic=receipts)
    for topic in (pair.topic.name, control):
        materialiser.until_value("sinergi_topic_read", 1, topic=topic)
    admin = open_admin(pair.connection)
    for done in admin.delete_topics([receipts, control]).values():
        done.result(PATIENCE_SECONDS)
    relay.until_value("sinergi_topic_read", 0, topic=receipts)
    materialiser.until_value("sinergi_topic_read", 0, topic=control)
    assert materialiser.value("sinergi_topic_read", topic=pair.topic.name) == 1
    for each in (relay, materialiser):
        assert each.value("sinergi_look_up", source="brokers") == 1


def test_what_no_agreement_names_becomes_no_label(pair: AgencyPair, relay: Monitored) -> None:
    """Whoever may publish may name any event type, and the relay holds such rows."""
    for number in range(50):
        _put(pair, f"gossip-{number}")
    relay.until_value("sinergi_held_rows", 50, topic=definitions.OTHER)
    topics = {dict(labels).get("topic") for _, labels in relay.samples()}
    receipts = receipts_topic(pair.reader)
    assert topics == {None, pair.topic.name, receipts, definitions.OTHER}


def _put(pair: AgencyPair, event_type: str) -> None:
    """Publish something that is no event, which the relay holds."""
    given = {"id": uuid4(), "type": event_type, "record": uuid4().hex, "f": bytes(32), "d": b"x"}
    with pair.producer.begin() as connection:
        assert connection.execute(sa.text(PUT), given).scalar() == "put"


@pytest.mark.long
def test_a_scrape_answers_while_the_database_is_away(pair: AgencyPair, relay: Monitored) -> None:
    relay.until_value("sinergi_look_up", 1, source="database")
    with pair.producer.begin() as connection:
        connection.execute(sa.text("LOCK TABLE sinergi_producer.tree IN ACCESS EXCLUSIVE MODE"))
        relay.until_value("sinergi_look_up", 0, source="database")
        assert relay.value("sinergi_sealed_leaves", topic=pair.topic.name) is None
        assert relay.value("sinergi_relay_sealed_leaves_total", topic=pair.topic.name) == 0
        assert relay.value("sinergi_look_up", source="brokers") is not None
    relay.until_value("sinergi_sealed_leaves", 0, topic=pair.topic.name)


@pytest.mark.long
def test_a_relay_that_stands_by_is_ready_and_takes_over_when_the_leader_is_killed(
    pair: AgencyPair,
) -> None:
    with child(pair.agency_settings, "relay") as leader:
        leader.until_value("sinergi_state", 1, state="working")
        with relaying(pair) as second:
            assert second.until_status("/readyz", 200) == "standing by\n"
            second.until_value("sinergi_state", 1, state="standing by")
            leader.process.kill()
            second.until_value("sinergi_state", 1, state="working")
            assert second.ask("/readyz") == (200, "working\n")


def test_a_materialiser_beyond_the_partitions_is_ready(
    pair: AgencyPair, materialiser: Monitored
) -> None:
    with materialising(pair) as second, materialising(pair) as third:
        workers = (materialiser, second, third)

        def all_read() -> bool:
            found = [each.value(PARTITIONS, state="claimed") or 0 for each in workers]
            return sum(found) == pair.partitions and 0 in found

        pair.until(all_read, "all partitions are read, and a worker has none")
        for each in workers:
            each.until_status("/readyz", 200)


def test_a_lock_in_the_database_makes_a_relay_unready_while_its_loop_goes_round(
    pair: AgencyPair, relay: Monitored
) -> None:
    """It waits for two tenths of a second each time, and another process would wait as well."""
    relay.until_status("/readyz", 200)
    with pair.producer.begin() as connection:
        connection.execute(sa.text("LOCK TABLE sinergi_producer.lease IN ACCESS EXCLUSIVE MODE"))
        assert "waiting: LockHeld" in relay.until_status("/readyz", 503)
        assert relay.ask("/healthz")[0] == 200
        assert (relay.value("sinergi_failures_total", policy="unavailable") or 0) > 0
    relay.until_status("/readyz", 200)


HANGS = """
    CREATE FUNCTION public.hang() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(3600);
        RETURN NEW;
    END $$;
    CREATE TRIGGER hangs BEFORE {} ON {} FOR EACH STATEMENT EXECUTE FUNCTION public.hang();
"""
RELEASE = """
    CREATE OR REPLACE FUNCTION public.hang() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN NEW;
    END $$;
"""
END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'
"""


def test_healthz_says_no_while_a_statement_of_a_relay_never_ends(
    pair: AgencyPair, relay: Monitored
) -> None:
    relay.until_status("/readyz", 200)
    _hang(pair.producer, "UPDATE", "sinergi_producer.tree")
    pair.publish(transfer("P/1"))
    assert "has not gone round" in relay.until_status("/healthz", 503)
    assert relay.ask("/readyz")[0] == 503
    assert relay.value("sinergi_alive") == 0
    _release(pair.producer)
    relay.until_status("/healthz", 200)
    relay.until_status("/readyz", 200)
    relay.until_value("sinergi_relay_sent_leaves_total", 1, topic=pair.topic.name)


def test_healthz_says_no_while_a_statement_of_a_materialiser_never_ends(
    pair: AgencyPair, materialiser: Monitored
) -> None:
    materialiser.until_status("/readyz", 200)
    _hang(pair.consumer, "UPDATE", "sinergi_consumer.position")
    pair.publish(transfer("P/1"))
    with pair.relaying():
        assert "has not gone round" in materialiser.until_status("/healthz", 503)
    _release(pair.consumer)
    materialiser.until_status("/readyz", 200)
    pair.until_rows("sinergi.transfer", 1)


def _hang(engine: sa.Engine, what: str, table: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(HANGS.format(what, table)))


def _release(engine: sa.Engine) -> None:
    """End the statements that hang, once no further one can begin to hang.

    The trigger stays: to drop it takes a lock, for which it would wait behind the next statement.
    """
    for each in (RELEASE, END):
        with engine.begin() as connection:
            connection.execute(sa.text(each))


def test_a_halted_topic_partition_makes_its_materialiser_unready(
    pair: AgencyPair, materialiser: Monitored
) -> None:
    materialiser.until_status("/readyz", 200)
    tape = pair.tape(0)
    messages = tape.write([transfer(f"P/{number}") for number in range(3)])
    send(pair, messages[1:])
    text = materialiser.until_status("/readyz", 503)
    assert text == "reads 1 of 2 topic-partitions, 1 are halted\n"
    assert materialiser.ask("/healthz")[0] == 200
    materialiser.until_value(PARTITIONS, 1, state="halted")


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_the_port_is_free_again_when_the_process_has_ended(pair: AgencyPair, name: str) -> None:
    with child(pair.agency_settings, "relay") as first:
        first.until_status("/readyz", 200)
        first.process.send_signal(signal.Signals[name])
        assert first.process.wait(60) == (0 if name == "SIGTERM" else -signal.SIGKILL)
    place = f"127.0.0.1:{first.port}"
    with child(pair.agency_settings, "relay", listen=place) as again:
        assert again.ask("/healthz")[0] == 200
        assert run(["--config", str(pair.agency_settings), "relay", "--listen", place]) == 2


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        ("9464", "'9464': must be HOST:PORT, as 127.0.0.1:9464"),
        ("", "give it a value or leave it out"),
        ("127.0.0.1:http", "'127.0.0.1:http': its port must be a number from 0 to 65535"),
        ("::1:9464", "must be HOST:PORT; an IPv6 address stands in brackets: [::1]:9464"),
        ("no-such-host.invalid:9464", "no such host is known; name another"),
        ("192.0.2.1:9464", "this machine does not have the address; name one of its own"),
    ],
)
@pytest.mark.parametrize("command", ["relay", "materialise", "provision apply --watch"])
def test_an_address_that_cannot_be_used_ends_the_process_before_it_does_anything(
    pair: AgencyPair, command: str, listen: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = pair.reader_settings if command == "materialise" else pair.agency_settings
    assert run(["--config", str(settings), *command.split(), "--listen", listen]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert what in " ".join(said.err.replace("│", "").split())
    assert "leading" not in said.err


def test_only_a_process_that_goes_on_takes_the_option(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = str(pair.agency_settings)
    assert run(["--config", settings, "provision", "apply", "--listen", "127.0.0.1:0"]) == 2
    assert "only a process that goes on has it: --watch" in capsys.readouterr().err


@pytest.mark.parametrize("process", [relaying, materialising])
def test_a_process_tells_whether_it_could_load_the_agreements(
    pair: AgencyPair, process: Callable[[AgencyPair], AbstractContextManager[Monitored]]
) -> None:
    with capture_logs() as logs, process(pair) as running:
        running.until_status("/readyz", 200)
        assert running.value(LOADED) == 1
        broken = pair.folder / "broken.toml"
        broken.write_text("bus = 1")
        running.until_value(LOADED, 0)
        broken.unlink()
        running.until_value(LOADED, 1)
    said = [(each["log_level"], each["event"]) for each in logs]
    assert said.count(("error", FAILED)) == said.count(("info", MENDED)) == 1


@pytest.mark.long
def test_a_watch_of_the_provision_tells_what_it_does(pair: AgencyPair) -> None:
    command = ["provision", "apply", "--watch"]
    with child(pair.agency_settings, *command) as watch:
        # The brokers of the tests have no authorizer.
        says = "waiting: AccessControlMissing\n"
        until(lambda: watch.until_status("/readyz", 503) == says, "it says what is missing")
    with child(pair.agency_settings, "--set", "provision.open_brokers=true", *command) as watch:
        assert watch.until_status("/readyz", 200) == "working\n"
        watch.until_value("sinergi_provision_refused_topics", 0)
        assert watch.value(LOADED) == 1
        assert watch.value("sinergi_process_info", **ABOUT, agency=pair.publisher) == 1
        assert _families(watch) == _defined("provision")


@pytest.mark.long
def test_the_gauges_say_what_the_tables_say_after_both_processes_were_killed(
    pair: AgencyPair,
) -> None:
    topic, count = pair.topic.name, 0
    for _ in range(2):
        with (
            child(pair.agency_settings, "relay") as relay,
            child(pair.reader_settings, "materialise") as materialiser,
        ):
            pair.publish(*(transfer(f"P/{count + number}") for number in range(300)))
            count += 300
            pair.until(lambda: pair.count("sinergi.transfer_history") > 0, "some are stored")
            relay.process.kill()
            materialiser.process.kill()
    with relaying(pair) as last_relay, materialising(pair) as last_materialiser:
        last_relay.until_value("sinergi_sent_leaves", count, topic=topic)
        last_materialiser.until_value("sinergi_materialised_leaves", count, topic=topic)
        last_materialiser.until_value("sinergi_behind_leaves", 0, topic=topic)
        assert pair.count("sinergi.transfer_history") == count
        reader = f"{pair.reader}/main"
        last_relay.until_value("sinergi_receipted_leaves", count, topic=topic, reader=reader)
        # What a process counts begins anew with it.
        sealed = last_relay.value("sinergi_relay_sealed_leaves_total", topic=topic)
        assert sealed is not None
        assert sealed < count
