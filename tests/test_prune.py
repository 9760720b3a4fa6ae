"""Rows that everybody has are pruned, and nothing that any other part needs is lost with them."""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import closing
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from agency_pair import BUS, AgencyPair, signs_nothing_else, transfer
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi_producers.outbox import pruning
from sinergi_producers.outbox.pruning import Pruning
from sinergi_producers.recovery.recovery import Recovery
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.checkpoint import cosign
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from test_outbox_stateful import OutboxMachine
from test_recovery import backup, restore  # noqa: F401 - a fixture
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sinergi_producers.outbox.pruning import PrunePlan

KEY = TreeKey("transfer", 0)
OUTBOX = "sinergi_producer.outbox"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """One whose topic has a single partition."""
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


@pytest.fixture(scope="module")
def delivered_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """One whose reader has ten events, and has signed for all of them."""
    found = pair_of_module(partitions=1)
    found.publish_and_materialise(10)
    return found


@pytest.fixture
def delivered(
    delivered_pair: AgencyPair, tmp_path: Path, databases: Callable[..., str]
) -> AgencyPair:
    """The same with copies of both databases. All tests share its topics, and none changes them."""
    return delivered_pair.copied(tmp_path, databases)


@pytest.fixture
def own(pair: AgencyPair) -> AgencyPair:
    """As `delivered`, with topics of its own."""
    pair.publish_and_materialise(10)
    return pair


def prune(pair: AgencyPair, *arguments: str, days: int = 0) -> int:
    """Run the command; its exit status."""
    options = ["--config", str(pair.agency_settings), "--set", f"producer.prune_days={days}"]
    return run([*options, "outbox", "prune", *arguments])


def apply(url: str, receipted: int, days: int = 0) -> int:
    """Prune without asking the brokers; how many rows."""
    with closing(Pruning(url, days, {KEY: receipted})) as pruner:
        return sum(pruner.apply(pruner.plan()))


def rows(pair: AgencyPair, which: str) -> int:
    return int(pair.ask(f"SELECT count(*) FROM {OUTBOX} WHERE {which}", pair.producer)[0][0])


def again(pair: AgencyPair, event: Any) -> Any:
    """What `publish` answers to an event."""
    with Session(pair.producer) as session, session.begin():
        return pair.outbox.publish_many(session, [event])[0]


def test_the_plan_shows_what_would_go_and_apply_does_it(
    delivered: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    before = delivered.ask(f"SELECT * FROM {OUTBOX} ORDER BY id", delivered.producer)
    assert prune(delivered, "--json") == 1
    said = capsys.readouterr()
    (partition,) = json.loads(said.out)["partitions"]
    assert partition == {
        "topic": delivered.topic.name,
        "partition": 0,
        "sent": 10,
        "old": 10,
        "receipted": 10,
        "slowest": None,
        "pruned": 0,
        "to_prune": 10,
    }
    assert "nothing was changed; --apply does it" in said.err
    assert delivered.ask(f"SELECT * FROM {OUTBOX} ORDER BY id", delivered.producer) == before
    assert prune(delivered, "--apply") == 0
    assert "10 rows pruned" in capsys.readouterr().err
    assert rows(delivered, "datum = '' AND leaf_hash IS NOT NULL") == 10
    assert prune(delivered) == 0
    capsys.readouterr()
    assert prune(delivered, "--apply", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["is_needed"], shown["is_applied"], shown["pruned_rows"]) == (False, True, 0)


def test_the_hash_that_is_kept_is_that_of_the_leaf(delivered: AgencyPair) -> None:
    columns = "id, fingerprint, record_id, datum"
    before = delivered.ask(f"SELECT {columns} FROM {OUTBOX} ORDER BY id", delivered.producer)
    apply(delivered.producer_url, 10)
    kept = dict(delivered.ask(f"SELECT id, leaf_hash FROM {OUTBOX}", delivered.producer))
    for row_id, fingerprint, record_id, datum in before:
        key = record_id.encode()
        leaf = bytes(fingerprint) + len(key).to_bytes(4, "big") + key + bytes(datum)
        assert bytes(kept[row_id]) == hashlib.sha256(b"\0" + leaf).digest()


def test_a_row_that_is_young_or_unsent_or_without_every_receipt_stays(
    delivered: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    delivered.publish(transfer("P/waits"))
    assert prune(delivered, "--apply", days=1) == 0
    assert apply(delivered.producer_url, 0) == 0
    assert rows(delivered, "leaf_hash IS NOT NULL") == 0
    assert apply(delivered.producer_url, 1_000) == 10
    assert rows(delivered, "leaf_hash IS NULL AND record_id = 'P/waits'") == 1
    capsys.readouterr()


def test_a_reader_without_a_receipt_keeps_every_row(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(3)))
    with pair.relaying():
        pair.until(lambda: sent(pair) == 3, "sent")
    assert prune(pair, "--apply", "--json") == 0
    (partition,) = json.loads(capsys.readouterr().out)["partitions"]
    assert (partition["receipted"], partition["to_prune"]) == (0, 0)
    assert partition["slowest"] == f"{pair.reader}/main"
    assert rows(pair, "leaf_hash IS NOT NULL") == 0


def test_a_reader_whom_a_later_version_leaves_out_keeps_no_row(
    delivered: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, gone = delivered, signs_nothing_else("polres-rekaan")
    earlier = deepcopy(pair.agreement)
    earlier["in_force"] = {"from": datetime(2010, 1, 1, tzinfo=UTC)}
    earlier["events"]["transfer"]["readers"] += ["polres-rekaan"]
    earlier["parties"]["polres-rekaan"] = {"name": "Polres Rekaan", "keys": [str(gone.public)]}
    earlier["numbers"] += [{"party": "polres-rekaan", "number": "PKS/3"}]
    signers = (*pair.party_keys, gone)
    path = pair.folder / "earlier.toml"
    write_signed(path, earlier, signers)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    assert prune(pair, "--json") == 2  # the two files contradict each other
    write_signed(pair.folder / "pks.toml", pair.agreement | {"replaces": [before]}, signers)
    capsys.readouterr()
    assert prune(pair, "--apply", "--json") == 0
    (partition,) = json.loads(capsys.readouterr().out)["partitions"]
    assert (partition["receipted"], partition["pruned"], partition["to_prune"]) == (10, 10, 0)


def is_whole(pair: AgencyPair) -> None:
    """Outbox and tables hold the same events, each once, and nothing is halted or quarantined."""
    assert pair.count("sinergi_consumer.halt") == 0
    assert pair.count("sinergi_consumer.quarantine") == 0
    columns = "event_id, record_id, revision"
    ours = pair.ask(f"SELECT {columns} FROM {OUTBOX} ORDER BY 1", pair.producer)
    assert pair.ask(f"SELECT {columns} FROM sinergi.transfer_history ORDER BY 1") == ours


def sent(pair: AgencyPair) -> int:
    found = pair.ask("SELECT coalesce(sum(sent_size), 0) FROM sinergi_producer.tree", pair.producer)
    return int(found[0][0])


def test_an_event_that_was_pruned_is_published_once_however_often_it_is_given(
    own: AgencyPair,
) -> None:
    event = transfer("P/again", reason="HEALTH")
    first = again(own, event)
    with own.relaying():
        own.until(lambda: sent(own) == 11, "sent")
    apply(own.producer_url, 11)
    second = again(own, event)
    assert (first.is_new, second.is_new) == (True, False)
    assert second.event == first.event
    with pytest.raises(errors.EventsRefused, match="other contents"):
        again(own, event.model_copy(update={"reason": "OTHER"}))
    with pytest.raises(errors.EventsRefused, match="another record"):
        again(own, event.model_copy(update={"record_id": "P/other"}))
    assert rows(own, "record_id IN ('P/again', 'P/other')") == 1


def test_a_record_goes_on_after_its_rows_are_pruned(own: AgencyPair) -> None:
    apply(own.producer_url, 10)
    own.publish(transfer("P/3", "CORRECTED"))
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 11)
    found = own.ask("SELECT revision FROM sinergi.transfer WHERE record_id = 'P/3'")
    assert found == [(2,)]


def test_a_relay_beside_a_pruning_neither_resends_nor_complains(own: AgencyPair) -> None:
    with capture_logs() as logs, own.relaying():
        assert apply(own.producer_url, 10) == 10
        own.publish(*(transfer(f"Q/{number}") for number in range(5)))
        own.until(lambda: sent(own) == 15, "sent")
    with capture_logs() as later, own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 15)
    warnings = [each for each in [*logs, *later] if each["log_level"] in ("warning", "error")]
    assert warnings == []
    is_whole(own)


@pytest.mark.long
def test_a_topic_that_was_lost_is_sent_again_from_the_first_row_that_is_not_pruned(
    own: AgencyPair,
) -> None:
    apply(own.producer_url, 10)
    own.publish(*(transfer(f"Q/{number}") for number in range(5)))
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 15)
    remake(own)
    with capture_logs() as logs, own.relaying(), own.materialising():
        own.publish(transfer("R/1"))
        own.until_rows("sinergi.transfer_history", 16)
    lost = [each for each in logs if each["event"].startswith("topic has lost leaves that are")]
    assert [each["pruned"] for each in lost] == [10]
    # The next term finds the topic as it left it, and sends nothing a second time.
    with capture_logs() as logs, own.relaying(), own.materialising():
        own.publish(transfer("R/2"))
        own.until_rows("sinergi.transfer_history", 17)
    assert not [each for each in logs if "sending again" in each["event"]]
    assert own.count("sinergi_consumer.halt") == 0


def remake(pair: AgencyPair) -> None:
    """Somebody deletes the topic and makes it anew."""
    admin = open_admin(pair.connection)
    for done in admin.delete_topics([pair.topic.name]).values():
        done.result()

    def made() -> bool:
        try:
            for each in admin.create_topics([NewTopic(pair.topic.name, 1, 1)]).values():
                each.result()
        except Exception:  # noqa: BLE001 - the brokers are still deleting it
            return False
        return True

    pair.until(made, "the topic is there again")


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_backup_of_before_or_after_a_pruning_is_recovered(
    own: AgencyPair,
    backup: Callable[[str], str],  # noqa: F811 - the fixture
    when: str,
) -> None:
    event = transfer("P/known")
    again(own, event)
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 11)
    if when == "before":
        copy = backup(own.producer_url)
        apply(own.producer_url, 11)
    else:
        apply(own.producer_url, 11)
        copy = backup(own.producer_url)
    own.publish(*(transfer(f"Q/{number}") for number in range(4)))
    own.publish(transfer("P/2", "CORRECTED"))
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 16)
    restore(own, copy)
    again(own, event)  # it is there already
    own.publish(transfer("P/2", "CORRECTED"))  # the lost one had this revision
    plan = Recovery(own.relay_setup).apply()
    assert len(plan.settlement.forgotten) == 5
    assert [each.revision for each in plan.settlement.renumbered] == [3]
    assert not Recovery(own.relay_setup).plan().is_needed
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 17)
    is_whole(own)
    apply(own.producer_url, 17)
    assert rows(own, "leaf_hash IS NULL") == 0


@pytest.mark.long
def test_a_backup_is_recovered_from_a_topic_that_has_lost_pruned_leaves(
    own: AgencyPair,
    backup: Callable[[str], str],  # noqa: F811 - the fixture
) -> None:
    apply(own.producer_url, 10)
    remake(own)
    own.publish(transfer("Q/kept"))
    with own.relaying():
        own.until(lambda: sent(own) == 11, "sent")
    copy = backup(own.producer_url)
    for number in range(3):
        own.publish(transfer(f"Q/{number}"))
        with own.relaying():
            own.until(lambda: sent(own) == 12 + number, "sent")  # noqa: B023 - at once
    restore(own, copy)
    plan = Recovery(own.relay_setup).apply()
    assert [each.record_id for each in plan.settlement.forgotten] == ["Q/0", "Q/1", "Q/2"]
    with own.relaying(), own.materialising():
        own.until_rows("sinergi.transfer_history", 14)
    is_whole(own)


def test_a_discarded_row_sets_its_record_back_to_a_pruned_revision(delivered: AgencyPair) -> None:
    apply(delivered.producer_url, 10)
    delivered.publish(transfer("P/3", "CORRECTED"))
    with delivered.producer.begin() as connection:
        connection.execute(sa.text(f"UPDATE {OUTBOX} SET held = 'x' WHERE leaf_index IS NULL"))
    [[row_id]] = delivered.ask(f"SELECT id FROM {OUTBOX} WHERE held = 'x'", delivered.producer)
    assert run(["--config", str(delivered.agency_settings), "outbox", "discard", str(row_id)]) == 0
    heads = "SELECT revision, action FROM sinergi_producer.head WHERE record_id = 'P/3'"
    assert delivered.ask(heads, delivered.producer) == [(1, "RECORDED")]


def test_a_pruning_that_is_stopped_leaves_whole_batches_and_goes_on(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MOST_LEAVES", 2)
    for number in range(6):
        pair.publish(transfer(f"P/{number}"))
        with pair.relaying():
            pair.until(lambda: sent(pair) == number + 1, "sent")  # noqa: B023 - at once
    with closing(Pruning(pair.producer_url, 0, {KEY: 6})) as first:
        batches = first.apply(first.plan())
        assert next(batches) == 2
        batches.close()
    assert pruned_size(pair) == rows(pair, "leaf_hash IS NOT NULL") == 2
    with closing(Pruning(pair.producer_url, 0, {KEY: 6})) as second:
        assert list(second.apply(second.plan())) == [2, 2]
    assert pruned_size(pair) == rows(pair, "leaf_hash IS NOT NULL") == 6


def pruned_size(pair: AgencyPair) -> int:
    found = pair.ask("SELECT pruned_size FROM sinergi_producer.tree", pair.producer)
    return int(found[0][0])


CHANGES = {
    "another hash": "leaf_hash = sha256('x'), datum = '', traceparent = NULL",
    "a datum that stays": "leaf_hash = sha256('x')",
    "no hash": "datum = ''",
    "another record": "leaf_hash = {hash}, datum = '', traceparent = NULL, record_id = 'X'",
    "another leaf": "leaf_hash = {hash}, datum = '', traceparent = NULL, leaf_index = 4711",
}
HASH = """sha256('\\x00'::bytea || fingerprint || int4send(octet_length(convert_to(record_id,
    'UTF8'))) || convert_to(record_id, 'UTF8') || datum)"""


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_but_the_contents_of_a_sealed_row_can_go(
    delivered: AgencyPair, change: str
) -> None:
    with pytest.raises(sa.exc.DBAPIError), delivered.producer.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {OUTBOX} SET {change.format(hash=HASH)}")
    assert rows(delivered, "leaf_hash IS NULL AND datum <> ''") == 10


def test_only_the_owner_of_the_tables_prunes(
    delivered: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relay may update rows of the outbox, and still cannot take the contents out of one."""
    role = f"relay_{secrets.token_hex(4)}"
    with delivered.producer.begin() as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN PASSWORD '{role}'",
            f"GRANT USAGE ON SCHEMA sinergi_producer TO {role}",
            f"GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA sinergi_producer TO {role}",
        ):
            connection.execute(sa.text(statement))
    try:
        with delivered.producer.connect() as connection:
            connection.execute(sa.text(f"SET ROLE {role}"))
            taken = f"UPDATE {OUTBOX} SET leaf_hash = {HASH}, datum = '', traceparent = NULL"
            with pytest.raises(sa.exc.DBAPIError, match="under the seal"):
                connection.exec_driver_sql(taken)
        url = delivered.producer.url.set(username=role, password=role)
        place = f"producer.database={url.render_as_string(hide_password=False)}"
        options = ["--config", str(delivered.agency_settings), "--set", place]
        days = ("--set", "producer.prune_days=0")
        assert run([*options, *days, "outbox", "prune", "--apply"]) == 2
        said = capsys.readouterr().err
        assert f"User {role} does not own the outbox, and cannot prune it." in said
        assert "`producer.owner_database`" in said
        owner = delivered.producer.url.render_as_string(hide_password=False)
        options += ["--set", f"producer.owner_database={owner}"]
        assert run([*options, "outbox", "prune", "--apply"]) == 0
        assert run([*options, "outbox", "recover", "--apply"]) == 0
        capsys.readouterr()
        assert run([*options, "outbox", "discard", "4711"]) == 2
        assert "the relay holds no row 4711" in capsys.readouterr().err
    finally:
        with delivered.producer.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))
    assert rows(delivered, "leaf_hash IS NOT NULL") == 0


@pytest.fixture
def elsewhere(delivered: AgencyPair) -> Iterator[str]:
    """A copy of the publisher's database, with every row and identity of the original."""
    url = delivered.producer.url
    name = f"copy_{secrets.token_hex(5)}"
    delivered.producer.dispose()
    server = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE {name} TEMPLATE "{url.database}"')
    yield url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


COMMANDS = (("prune", "--apply"), ("recover", "--apply"), ("discard", "4711"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_owner_who_logs_in_to_another_database_changes_nothing(
    delivered: AgencyPair,
    elsewhere: str,
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A restored copy too is another database, although its tables are the same."""
    options = ["--config", str(delivered.agency_settings), "--set", "producer.prune_days=0"]
    options += ["--set", f"producer.owner_database={elsewhere}"]
    assert run([*options, "outbox", *command]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "does not lead to that of `producer.database`. Nothing was changed." in said
    assert rows(delivered, "leaf_hash IS NOT NULL") == 0
    with closing(Pruning(elsewhere, 0, {KEY: 10})) as pruner:
        assert pruner.plan().leaves == 10


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_outbox_of_another_agency_is_not_changed(
    delivered: AgencyPair, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with delivered.producer.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no trigger
        other = f"replace(note, '{delivered.topic.name}', 'sinergi.somebody.transfer')"
        connection.exec_driver_sql(f"UPDATE sinergi_producer.checkpoint SET note = {other}")
    options = ["--config", str(delivered.agency_settings), "--set", "producer.prune_days=0"]
    assert run([*options, "outbox", *command]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"another agency than {delivered.topic.agency}: it has sealed events of" in said
    assert rows(delivered, "leaf_hash IS NOT NULL") == 0


class PruningMachine(OutboxMachine):
    """An outbox whose committed rows are sealed, sent and pruned while one caller publishes."""

    @rule()
    def seal_and_send(self) -> None:
        with self.engine.begin() as connection:
            for statement in SEAL_AND_SEND:
                connection.execute(sa.text(statement))

    @rule(receipted=st.integers(0, 40))
    def prune(self, receipted: int) -> None:
        url = self.engine.url.render_as_string(hide_password=False)
        with closing(Pruning(url, 0, {KEY: receipted})) as pruner:
            plan: PrunePlan = pruner.plan()
            assert sum(pruner.apply(plan)) == plan.leaves
            assert pruner.plan().leaves == 0
        with self.engine.connect() as connection:
            found = connection.execute(sa.text(PREFIX)).all()
            assert all(is_pruned == (index < size) for index, size, is_pruned in found)


SEAL_AND_SEND = (
    """INSERT INTO sinergi_producer.tree (event_type, partition) VALUES ('transfer', 0)
        ON CONFLICT DO NOTHING""",
    """WITH waiting AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place
            FROM sinergi_producer.outbox WHERE leaf_index IS NULL)
        UPDATE sinergi_producer.outbox AS o SET partition = 0, leaf_index = t.size + w.place
        FROM waiting AS w, sinergi_producer.tree AS t WHERE o.id = w.id""",
    """UPDATE sinergi_producer.tree SET (size, sent_size) = (SELECT count(*), count(*)
        FROM sinergi_producer.outbox WHERE leaf_index IS NOT NULL)""",
    """INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
        SELECT event_type, partition, size, '', '', '' FROM sinergi_producer.tree WHERE size > 0
        ON CONFLICT DO NOTHING""",
)
PREFIX = """
    SELECT o.leaf_index, t.pruned_size, o.leaf_hash IS NOT NULL
    FROM sinergi_producer.outbox AS o JOIN sinergi_producer.tree AS t USING (event_type, partition)
"""


@pytest.mark.long
def test_publishing_cannot_tell_a_pruned_row_from_another(postgresql: str) -> None:
    engine = sa.create_engine(postgresql)
    PruningMachine.engine = engine
    try:
        run_state_machine_as_test(PruningMachine, settings=settings(max_examples=25))
    finally:
        engine.dispose()


def test_a_receipt_by_a_replaced_key_prunes_nothing(pair: AgencyPair) -> None:
    """Whoever has stolen it may claim that the reader has everything."""
    new = SigningKey.generate(f"{BUS}/{pair.reader}/main", Algorithm.COSIGNATURE)
    document = deepcopy(pair.agreement)
    listed = [{"database": "main", "key": str(each.public)} for each in (new, pair.receipt_key)]
    document["parties"][pair.reader]["receipt_keys"] = listed
    pair.agree(document)
    pair.publish(*(transfer(f"P/{number}") for number in range(10)))
    with pair.relaying():
        pair.until(lambda: sent(pair) == 10, "sent")
    question = "SELECT note FROM sinergi_producer.checkpoint ORDER BY size DESC LIMIT 1"
    note = pair.ask(question, pair.producer)[0][0]
    receipts, key = topics.receipts_topic(pair.reader), f"main/{pair.topic.name}/0".encode()
    producer = Producer({"bootstrap.servers": pair.kafka})
    for signing, pruned in ((pair.receipt_key, 0), (new, 10)):
        signed = cosign(note, signing, int(datetime.now(UTC).timestamp()))
        producer.produce(receipts, signed.encode(), key=key)
        assert producer.flush(PATIENCE_SECONDS) == 0
        assert prune(pair, "--apply") == 0
        assert rows(pair, "leaf_hash IS NOT NULL") == pruned
