"""The relay: every committed event arrives once under the seal, also after crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import tomli_w
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from agency_pair import BUS, RELOADING, AgencyPair, running, transfer
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.sealing import MOST_BYTES, MOST_MESSAGES, Sealer, TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import errors, message, topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.reload_report import CHANGED
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.message import Envelope, HeaderTemplate
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.checkpoint import SignedCheckpoint
from sinergi_schemas.seal.heads import TreeHead
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.reader import TreeReader
from sinergi_schemas.timeouts import RelayTimeouts, Timeouts
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Message

    from sinergi_producers.relay.loop import Relay

STUCK_RELAY = Path(__file__).with_name("chaos") / "relay_stuck_before_mark.py"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


def relay_of(
    pair: AgencyPair,
    load: Callable[[], Agreements] | None = None,
) -> Relay:
    setup = pair.relay_setup
    if load:
        setup = replace(setup, identity=replace(setup.identity, load=load))
    return build_relay(setup)


def messages(pair: AgencyPair, topic: str | None = None, partition: int = 0) -> list[Message]:
    """Everything that lies in a partition."""
    with open_scan(pair.connection, TopicPartition(topic or pair.topic.name, partition)) as scan:
        low, high = scan.bounds()
        return [each for chunk in scan.read(low, high) for each in chunk]


def verified(pair: AgencyPair) -> tuple[int, int]:
    """How many leaves the topic holds under its seal to the last one, and how many came again."""
    leaves = resends = 0
    for partition in range(pair.partitions):
        origin = f"{BUS}/{pair.topic.name}/{partition}"
        reader = TreeReader(origin, KeyRing.of(pair.key.public), Frontier.empty())
        for each in map(message.parse, messages(pair, partition=partition)):
            reader.feed(each.leaf_index, each.leaf, each.sealed)
        while reader.try_open_checkpoint():
            pass
        assert reader.pending == 0, "the topic ends behind its last checkpoint"
        leaves, resends = leaves + reader.size, resends + reader.resends
    return leaves, resends


def trees(pair: AgencyPair) -> dict[int, tuple[int, int]]:
    """Size and sent size of each tree."""
    rows = pair.ask("SELECT partition, size, sent_size FROM sinergi_producer.tree", pair.producer)
    return {partition: (size, sent) for partition, size, sent in rows}


def sent(pair: AgencyPair) -> int:
    return sum(size for _, size in trees(pair).values())


def until_sent(pair: AgencyPair, number: int) -> None:
    pair.until(lambda: sent(pair) == number, f"{number} events sent")


def clone(pair: AgencyPair, copies: int) -> None:
    """Make many waiting rows out of the first one, faster than by publishing them.

    A datum begins with event_id, agency and record_id, each behind its length in zigzag.
    """
    agency = 1 + len(pair.publisher)
    with pair.producer.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sinergi_producer.outbox"
                " (event_id, event_type, record_id, revision, recorded_at, fingerprint, datum)"
                " SELECT copy.id, event_type, copy.record, 1, recorded_at, fingerprint,"
                " 'H' || convert_to(copy.id::text, 'UTF8') || substring(datum, 38, :agency)"
                " || set_byte('0', 0, 2 * length(copy.record)) || convert_to(copy.record, 'UTF8')"
                " || substring(datum, 39 + :agency + length(record_id))"
                " FROM sinergi_producer.outbox,"
                " LATERAL (SELECT gen_random_uuid() AS id, 'C/' || number AS record"
                " FROM generate_series(1, :copies) AS number) AS copy WHERE outbox.id = 1"
            ),
            {"agency": agency, "copies": copies},
        )


def expected_messages(pair: AgencyPair, partition: int) -> list[tuple[Any, ...]]:
    """Key, value and headers of each message, out of what stands in the database."""
    checkpoints = {
        size: message.seal_headers(
            SignedCheckpoint(note, Frontier.parse(size, bytes(frontier)).hashes)
        )
        for size, note, frontier in pair.ask(
            "SELECT size, note, frontier FROM sinergi_producer.checkpoint"
            f" WHERE partition = {partition}",
            pair.producer,
        )
    }
    rows = pair.ask(
        "SELECT leaf_index, event_id, record_id, recorded_at, fingerprint, datum, traceparent"
        f" FROM sinergi_producer.outbox WHERE partition = {partition} ORDER BY leaf_index",
        pair.producer,
    )
    schema = Catalog.shipped().newest("transfer")
    return [
        (
            record.encode(),
            message.frame(schema.id, bytes(datum)),
            HeaderTemplate(BUS, pair.topic, bytes(fingerprint)).headers(
                record.encode(), index, Envelope(event_id, recorded_at, trace)
            )
            + checkpoints.get(index + 1, []),
        )
        for index, event_id, record, recorded_at, fingerprint, datum, trace in rows
    ]


def test_messages_are_exactly_what_the_database_holds_and_verify(pair: AgencyPair) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Session(pair.producer) as session, session.begin():
        pair.outbox.publish(session, transfer("T/1"), traceparent=trace)
    pair.publish(*(transfer(f"P/{number}") for number in range(50)))
    with pair.relaying():
        until_sent(pair, 51)
        pair.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(20)))
        until_sent(pair, 71)
    for partition in range(pair.partitions):
        found = [
            (each.key(), each.value(), each.headers())
            for each in messages(pair, partition=partition)
        ]
        assert found == expected_messages(pair, partition)
        assert {topics.partition_for(key, pair.partitions) for key, _, _ in found if key} == {
            partition
        }
    assert verified(pair) == (71, 0)


def test_a_relay_killed_between_sending_and_marking_loses_and_doubles_nothing(
    pair: AgencyPair, tmp_path: Path
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(300)))
    pair.key.save(tmp_path / "own.key")
    command = [sys.executable, str(STUCK_RELAY), str(pair.folder), pair.producer_url]
    with subprocess.Popen(
        [*command, pair.kafka, pair.publisher], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "300\n"
        child.kill()
    assert sent(pair) == 0
    with pair.relaying():
        until_sent(pair, 300)
    assert verified(pair) == (300, 300)


def test_sigterm_seals_nothing_more_sends_what_is_sealed_and_exits_0(pair: AgencyPair) -> None:
    pair.publish(transfer("P/0"))
    clone(pair, 4 * MOST_MESSAGES)
    with relay_process(pair) as child:
        pair.until(lambda: sent(pair) > 0, "something is sent")
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_SECONDS) == 0
    assert all(size == sent_size for size, sent_size in trees(pair).values())
    assert verified(pair) == (sent(pair), 0)
    free = "SELECT holder, expires_at < clock_timestamp() FROM sinergi_producer.lease"
    assert pair.ask(free, pair.producer) == [(None, True)]


def test_a_second_relay_waits_and_takes_over_when_the_first_has_stopped(pair: AgencyPair) -> None:
    epoch = "SELECT epoch FROM sinergi_producer.lease"
    with running(relay_of(pair).run) as first:
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
        with capture_logs() as logs, running(relay_of(pair).run):
            pair.publish(transfer("P/2"))
            until_sent(pair, 2)
            pair.until(lambda: "standing by" in [each["event"] for each in logs], "it stands by")
            ((holder,),) = pair.ask("SELECT holder FROM sinergi_producer.lease", pair.producer)
            (standing_by,) = [each for each in logs if each["event"] == "standing by"]
            assert standing_by["leader"] == holder
            assert standing_by["until"]
            assert pair.ask(epoch, pair.producer) == [(1,)]
            first.set()
            pair.publish(transfer("P/3"))
            until_sent(pair, 3)
            assert pair.ask(epoch, pair.producer) == [(2,)]
    assert verified(pair) == (3, 0)


def test_a_leader_that_wakes_up_late_can_seal_nothing_any_more(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(10)))
    late, other = (OutboxStore(pair.producer_url) for _ in range(2))
    epoch = late.take_lease()
    assert epoch == 1
    late.ensure_trees([TreeKey("transfer", number) for number in range(pair.partitions)], epoch)
    sealer = Sealer(
        BUS,
        pair.publisher,
        [pair.key],
        {"transfer": 2},
        lambda _: True,
        pair.agreements.ring,
        lambda _: None,
    )
    batch = sealer.seal(late.unsealed_rows(Watermarks()).rows, late.trees())
    with pair.producer.begin() as connection:
        connection.execute(sa.text("UPDATE sinergi_producer.lease SET expires_at = '-infinity'"))
    assert other.take_lease() == 2
    with pytest.raises(errors.LeaseLost):
        late.commit_batch(batch, epoch)
    with pytest.raises(errors.LeaseLost):
        late.renew_lease(epoch)
    with pytest.raises(errors.LeaseLost):
        late.ensure_trees([TreeKey("seizure", 0)], epoch)
    assert set(trees(pair).values()) == {(0, 0)}
    marked = "SELECT count(*) FROM sinergi_producer.outbox WHERE leaf_index IS NOT NULL"
    assert pair.ask(marked, pair.producer) == [(0,)]
    for each in (late, other):
        each.close()


def test_what_no_agreement_in_force_covers_is_held_until_one_does(
    pair: AgencyPair, tmp_path: Path
) -> None:
    pair.timeouts = RELOADING
    in_force = [ended(pair, tmp_path)]
    pair.publish(*(transfer(f"P/{number}") for number in range(5)))
    with capture_logs() as logs, running(relay_of(pair, lambda: in_force[0]).run):
        pair.until(lambda: held(pair) == 5, "all rows are held")
        ((why,),) = pair.ask("SELECT DISTINCT held FROM sinergi_producer.outbox", pair.producer)
        ended_at = "pks.toml was in force until 2021-01-01 00:00+00:00"
        assert why == f"no agreement in force covers it: {ended_at}"
        assert set(trees(pair).values()) == {(0, 0)}
        in_force[0] = pair.agreements
        until_sent(pair, 5)
        assert held(pair) == 0
    assert verified(pair) == (5, 0)
    assert CHANGED in [each["event"] for each in logs]
    assert [each["rows"] for each in logs if each["event"] == "held rows released"] == [5]


def agree_from_2098_on(pair: AgencyPair) -> None:
    """Put an agreement on another event type into the folder, which is not in force yet."""
    starts = datetime(2098, 1, 1, tzinfo=UTC)
    period = {"from": starts, "until": starts.replace(year=2099)}
    terms = pair.agreement["events"]["transfer"]
    numbers = [each | {"number": "PKS/3"} for each in pair.agreement["numbers"]]
    later = pair.agreement | {"in_force": period, "events": {"seizure": terms}, "numbers": numbers}
    pair.agree(later, "later.toml")


def test_an_agreement_not_yet_in_force_without_a_topic_keeps_no_other_topic_waiting(
    pair: AgencyPair,
) -> None:
    agree_from_2098_on(pair)
    with capture_logs() as logs, pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    (left_aside,) = [each for each in logs if each["event"].startswith("no agreement in force")]
    assert left_aside["topic"] == f"sinergi.{pair.publisher}.seizure"
    assert left_aside["why"] == "later.toml is not in force before 2098-01-01 00:00+00:00"


def test_a_row_under_a_version_that_the_relay_does_not_have_yet_is_sent_once_it_is_there(
    pair: AgencyPair,
) -> None:
    pair.timeouts = RELOADING
    loaded = [pair.agreements]
    (version,) = loaded[0]
    period = pair.agreement["in_force"] | {"from": datetime(2021, 1, 1, tzinfo=UTC)}
    numbers = [each | {"number": f"{each['number']}/2"} for each in pair.agreement["numbers"]]
    follows = {"replaces": [version.hash], "in_force": period, "numbers": numbers}
    pair.agree(pair.agreement | follows, "pks-2.toml")
    both = Agreements.load(pair.folder)
    with running(relay_of(pair, lambda: loaded[0]).run):
        with Session(pair.producer) as session, session.begin():
            Outbox(pair.publisher, both, Catalog.shipped()).publish(session, transfer("P/1"))
        pair.publish(transfer("P/2"))
        until_sent(pair, 1)
        pair.until(lambda: held(pair) == 1, "the row is held")
        loaded[0] = both
        until_sent(pair, 2)


def test_a_topic_whose_agreement_comes_into_force_is_written_without_a_restart(
    pair: AgencyPair, tmp_path: Path
) -> None:
    pair.timeouts = RELOADING
    agreements = [ended(pair, tmp_path)]
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")
    pair.publish(transfer("P/1"))
    with capture_logs() as logs, running(relay_of(pair, lambda: agreements[0]).run):
        pair.until(lambda: held(pair) == 1, "the row is held")
        agreements[0] = pair.agreements
        pair.until(lambda: "waiting" in [each["event"] for each in logs], "it misses the topic")
        for made in admin.create_topics([NewTopic(pair.topic.name, pair.partitions, 1)]).values():
            made.result(timeout=PATIENCE_SECONDS)
        until_sent(pair, 1)


def test_a_relay_without_anything_to_publish_waits_for_an_agreement_and_accuses_nobody(
    pair: AgencyPair,
) -> None:
    pair.timeouts = RELOADING
    setup = pair.relay_setup
    reader = replace(setup.identity, agency=pair.reader)
    with capture_logs() as logs, running(build_relay(replace(setup, identity=reader)).run):
        lines = "no agreement in force: waiting for one"
        pair.until(lambda: lines in [each["event"] for each in logs], "it says why it waits")
        pair.until(lambda: has_idled(pair), "it holds its lease")
    assert not [each for each in logs if each["event"] in {"waiting", "going on"}]
    assert [each["event"] for each in logs].count("leading") == 1


def has_idled(pair: AgencyPair) -> bool:
    """Whether a relay has renewed its lease since it took it."""
    question = "SELECT expires_at FROM sinergi_producer.lease WHERE holder IS NOT NULL"
    ends = pair.ask(question, pair.producer)
    pair.until(lambda: pair.ask(question, pair.producer) != ends, "the lease is renewed")
    return bool(ends)


def test_the_command_of_an_agency_that_publishes_nothing_ends_and_says_so(
    pair: AgencyPair,
) -> None:
    command = [sys.executable, "-m", "sinergi", "--config", str(pair.reader_settings), "relay"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"let {pair.reader} publish nothing; it needs no relay." in done.stderr


def test_history_waits_behind_what_is_live_and_a_record_keeps_its_order(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    with Session(pair.producer) as session, session.begin():
        history = [transfer(f"H/{number}") for number in range(3)]
        pair.outbox.publish_many(session, history, backfill=True)
    pair.publish(transfer("H/1", "CORRECTED"), transfer("L/1"), transfer("L/2"))
    with pair.relaying():
        until_sent(pair, 6)
    found = pair.ask(
        "SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY leaf_index",
        pair.producer,
    )
    assert found == [("L/1", 1), ("L/2", 1), ("H/0", 1), ("H/1", 1), ("H/2", 1), ("H/1", 2)]


def test_a_row_that_commits_late_under_an_earlier_id_is_sent(pair: AgencyPair) -> None:
    pair.timeouts = Timeouts(relay=RelayTimeouts(horizon=0.001))
    with pair.relaying(), Session(pair.producer) as late:
        pair.outbox.publish(late, transfer("P/late"))
        for number in range(1, 20):
            pair.publish(transfer(f"P/{number}"))
            until_sent(pair, number)
        late.commit()
        until_sent(pair, 20)
    assert verified(pair) == (20, 0)


def test_an_id_given_to_a_transaction_that_is_still_open_is_never_passed_over(
    pair: AgencyPair,
) -> None:
    """PostgreSQL's snapshots end at the newest transaction that has ended, not at the newest."""
    store, watermarks = OutboxStore(pair.producer_url), Watermarks()
    with pair.producer.connect() as older, Session(pair.producer) as younger:
        older.execute(sa.text("SELECT pg_current_xact_id()"))
        pair.outbox.publish(younger, transfer("P/1"))
        watermarks.observe(store.horizon(watermarks))
        older.rollback()
        watermarks.observe(store.horizon(watermarks))
        look = store.unsealed_rows(watermarks)
        assert not look.rows
        watermarks.after_read(look)
        younger.commit()
    assert [each.key for each in store.unsealed_rows(watermarks).rows] == [b"P/1"]
    store.close()


def test_no_more_lies_between_two_checkpoints_than_a_reader_must_bear(pair: AgencyPair) -> None:
    pair.publish(transfer("P/0"))
    clone(pair, MOST_MESSAGES + 500)
    related = tuple(
        {
            "other_agency": pair.reader,
            "other_event_type": "seizure",
            "other_record_id": f"{number:0250}",
            "relation": "LED_TO",
        }
        for number in range(850)
    )
    pair.publish(*(transfer(f"B/{number}", related=related) for number in range(50)))
    with pair.relaying():
        until_sent(pair, MOST_MESSAGES + 551)
    spans = pair.ask(
        "SELECT count(*), sum(length(datum)) FROM sinergi_producer.outbox AS o"
        " JOIN sinergi_producer.checkpoint AS c ON c.partition = o.partition AND c.size ="
        " (SELECT min(size) FROM sinergi_producer.checkpoint AS n"
        " WHERE n.partition = o.partition AND n.size > o.leaf_index)"
        " GROUP BY o.partition, c.size",
        pair.producer,
    )
    assert max(leaves for leaves, _ in spans) <= MOST_MESSAGES
    largest = 256 * 1024
    assert max(size for _, size in spans) < MOST_BYTES + largest
    assert sum(size for _, size in spans) > 1.2 * MOST_BYTES
    assert verified(pair) == (MOST_MESSAGES + 551, 0)


def test_a_batch_that_the_broker_refuses_leaves_no_gap_behind(pair: AgencyPair) -> None:
    numbers = count()

    def waits(logs: list[Any]) -> bool:
        """Whether the relay waits; until the brokers apply the limit, it sends what it gets."""
        pair.publish(*(transfer(f"P/{next(numbers)}") for _ in range(10)))
        return any(each["event"] == "waiting" for each in logs)

    set_topic(pair, "max.message.bytes", "400")
    with capture_logs() as logs, pair.relaying():
        pair.until(lambda: waits(logs), "the relay waits and says why")
        terms = [each["event"] for each in logs].count("leading")
        pair.until(
            lambda: [each["event"] for each in logs].count("leading") > terms + 1, "it tries again"
        )
        (why,) = [each["why"] for each in logs if each["event"] == "waiting"]
        assert "max.message.bytes" in why
        assert pair.topic.name in why
        assert "going on" not in [each["event"] for each in logs]
        published = next(numbers)
        assert sent(pair) < published
        set_topic(pair, "max.message.bytes", "1000000")
        pair.publish(transfer(f"P/{published}"))
        until_sent(pair, published + 1)
    assert verified(pair)[0] == published + 1


def test_a_relay_whose_connections_are_cut_goes_on(pair: AgencyPair) -> None:
    with pair.relaying():
        for number in range(1, 4):
            with pair.producer.connect() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'sinergi relay'"
                        " AND datname = current_database()"
                    )
                )
            pair.publish(transfer(f"P/{number}"))
            until_sent(pair, number)
    assert verified(pair)[0] == 3


def test_the_control_topic_tells_the_schemas_and_the_signed_heads(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(30)))
    with pair.relaying():
        until_sent(pair, 30)
    told = {
        (each.key() or b"").decode(): each.value() or b""
        for each in messages(pair, topics.control_topic(pair.publisher))
    }
    for schema in Catalog.shipped().versions("transfer"):
        assert told[f"schema/{schema.fingerprint.hex()}"] == schema.text
    stated = heads.verify(told["heads"].decode(), BUS, pair.publisher, [pair.key.public])
    rows = pair.ask(
        "SELECT partition, size, frontier FROM sinergi_producer.tree ORDER BY partition",
        pair.producer,
    )
    assert stated.heads == tuple(
        TreeHead(pair.topic.name, partition, size, Frontier.parse(size, bytes(frontier)).root())
        for partition, size, frontier in rows
    )


def test_a_database_older_than_its_topic_is_refused_before_it_makes_two_histories(
    pair: AgencyPair, databases: Callable[[], str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    pair.producer_url = databases()
    pair.producer = sa.create_engine(pair.producer_url, poolclass=sa.NullPool)
    pair.publish(transfer("P/forgotten"))
    with pytest.raises(errors.OutboxBehindTopic, match="has 0"):
        relay_of(pair).run(Event())
    assert set(trees(pair).values()) == {(0, 0)}
    assert verified(pair) == (9, 0)


def test_what_a_topic_has_lost_is_sent_again(pair: AgencyPair) -> None:
    with pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(9)))
        until_sent(pair, 9)
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    with capture_logs() as logs, pair.relaying():
        pair.until(
            lambda: any("is not on these brokers" in str(each) for each in list(logs)), "it waits"
        )
        for made in admin.create_topics([NewTopic(pair.topic.name, pair.partitions, 1)]).values():
            made.result(timeout=PATIENCE_SECONDS)
        pair.publish(transfer("P/9"))
        until_sent(pair, 10)
    assert verified(pair) == (10, 0)


def test_a_database_that_was_not_prepared_is_told_how_to_be(pair: AgencyPair) -> None:
    with pair.producer.begin() as connection:
        connection.execute(sa.text("DROP TABLE sinergi_producer.checkpoint"))
    with pytest.raises(errors.TablesMissing, match="--role producer"):
        relay_of(pair).run(Event())


def held(pair: AgencyPair) -> int:
    question = "SELECT count(*) FROM sinergi_producer.outbox WHERE held IS NOT NULL"
    return int(pair.ask(question, pair.producer)[0][0])


def ended(pair: AgencyPair, folder: Path) -> Agreements:
    """The same agreement, no longer in force."""
    starts = pair.agreement["in_force"]["from"]
    document = pair.agreement | {"in_force": {"from": starts, "until": starts.replace(year=2021)}}
    other = folder / "ended"
    other.mkdir()
    (other / "pks.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    return Agreements.load(other)


def set_topic(pair: AgencyPair, name: str, value: str, topic: str | None = None) -> None:
    """Give a topic, or else the topic of the events, another setting."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    changed = topic or pair.topic.name
    resource = ConfigResource(ResourceType.TOPIC, changed, incremental_configs=[entry])
    admin = open_admin(pair.connection)
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(timeout=PATIENCE_SECONDS)


@contextmanager
def relay_process(pair: AgencyPair) -> Iterator[subprocess.Popen[str]]:
    """The command as an agency runs it; killed if the block leaves it running."""
    command = [sys.executable, "-m", "sinergi", "--config", str(pair.agency_settings), "relay"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as child:
        try:
            yield child
        finally:
            child.kill()
