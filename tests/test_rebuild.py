"""`sinergi rebuild` shows each row that differs from the events, and puts it right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import AgencyPair, transfer
from sinergi import migrate
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.rebuild import Rebuild
from sinergi_consumers.testing.sinks import FEW_ESCORTS
from verified_database import COUNT, NIK, VerifiedDatabase, copied, fill, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sinergi_consumers.sinks.protocol import PositionKey
    from sinergi_schemas.seal.merkle import Frontier

# A row changed, one deleted, one added, and the same in the tables of lists.
DAMAGE = (
    "UPDATE sinergi.transfer SET movement_id = 'x' WHERE record_id = 'P/3'",
    "DELETE FROM sinergi.transfer WHERE record_id = 'P/5'",
    copied("sinergi.transfer", "P/6", record_id="P/666"),
    "UPDATE sinergi.transfer_escort SET count = 50 WHERE record_id = 'P/3' AND position = 1",
    "DELETE FROM sinergi.transfer_escort WHERE record_id = 'P/7'",
    copied("sinergi.transfer_escort", "P/8", position=7),
)
TABLES = ("sinergi.transfer", "sinergi.transfer_escort", "sinergi.transfer_related")
OTHERS = ("sinergi.transfer_history", "sinergi_consumer.position", "sinergi_consumer.receipt")


@pytest.fixture
def empty(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> VerifiedDatabase:
    """One that has materialised nothing."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    return VerifiedDatabase(pair, capsys)


@pytest.fixture(scope="module")
def filled_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """A publisher and a reader that has materialised transfers, of which one was corrected."""
    pair = pair_of_module()
    fill(pair)
    return pair


@pytest.fixture
def database(
    filled_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> VerifiedDatabase:
    """A copy of that reader's database. All tests share its topics, and none changes them."""
    return VerifiedDatabase(filled_pair.copied(tmp_path, databases), capsys)


@pytest.fixture
def separate(empty: VerifiedDatabase) -> VerifiedDatabase:
    """As `database`, with topics of its separate."""
    empty.fill()
    return empty


def test_differences_are_shown_row_by_row_and_nothing_is_changed(
    database: VerifiedDatabase, tmp_path: Path
) -> None:
    status, out, err = database.run("rebuild", "transfer")
    assert (status, out) == (0, ""), err
    assert "transfer: 23 rows as the events give them" in err
    database.execute(*DAMAGE)
    before = [database.rows(table) for table in TABLES]
    file = tmp_path / "differences.ndjson"
    status, out, err = database.run("rebuild", "transfer", "--out", str(file))
    assert status == 1
    assert max(map(len, out.splitlines())) <= 100
    assert "transfer: 6 rows differ; nothing was changed, --apply puts the tables right" in err
    assert f"sinergi: wrote {file}: 6 differing rows, {file.stat().st_size:,} bytes" in err
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted((each["table"], each["kind"]) for each in lines) == [
        (table, kind) for table in TABLES[:2] for kind in ("changed", "extra", "missing")
    ]
    assert NIK not in out + err + file.read_text(encoding="utf-8")
    assert [database.rows(table) for table in TABLES] == before
    status, found = database.document("rebuild", "transfer")
    assert (status, found["differing_rows"], found["applied"]) == (1, 6, None)


def test_applied_differences_leave_views_grants_keys_and_triggers_in_place(
    database: VerifiedDatabase,
) -> None:
    whole = [database.rows(table) for table in TABLES]
    role = f"reader_{database.pair.publisher.rpartition('-')[2]}"
    database.execute(
        "CREATE VIEW open_transfers AS SELECT record_id FROM sinergi.transfer",
        f"CREATE ROLE {role}",
        f"GRANT SELECT ON sinergi.transfer TO {role}",
        "CREATE TABLE notes (agency text, record_id text, note text, FOREIGN KEY"
        " (agency, record_id) REFERENCES sinergi.transfer (agency, record_id))",
        "INSERT INTO notes SELECT agency, record_id, 'seen' FROM sinergi.transfer"
        " WHERE record_id = 'P/3'",
        "CREATE TABLE changes (record_id text)",
        "CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO public.changes VALUES (NEW.record_id); RETURN NULL; END $$",
        "CREATE TRIGGER noting AFTER UPDATE ON sinergi.transfer FOR EACH ROW"
        " EXECUTE FUNCTION note_change()",
        *DAMAGE,
    )
    try:
        database.execute("DELETE FROM changes")
        others = [database.rows(table) for table in OTHERS]
        status, _, err = database.run("rebuild", "transfer", "--apply")
        assert status == 0, err
        assert "transfer: 2 inserted, 2 updated, 2 deleted; 0 events of quarantine retried" in err
        assert [database.rows(table) for table in TABLES] == whole
        assert [database.rows(table) for table in OTHERS] == others
        assert database.pair.count("open_transfers") == COUNT - 1
        assert database.pair.ask("SELECT record_id, note FROM notes") == [("P/3", "seen")]
        assert database.pair.ask("SELECT record_id FROM changes") == [("P/3",)]
        may_read = f"SELECT has_table_privilege('{role}', 'sinergi.transfer', 'SELECT')"
        assert database.pair.ask(may_read) == [(True,)]
        assert database.run("verify")[0] == 0
        assert database.run("rebuild", "transfer")[0] == 0
    finally:
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_history_is_rebuilt_with_its_tables_of_lists(database: VerifiedDatabase) -> None:
    history = ("sinergi.transfer_history", "sinergi.transfer_history_escort")
    whole = [database.rows(table) for table in history]
    database.execute(*(f"DELETE FROM {table}" for table in history))
    status, found = database.document("rebuild", "transfer_history", "--apply")
    assert status == 0
    assert found["applied"] == {"inserted": 2 * COUNT + 1, "updated": 0, "deleted": 0}
    assert [database.rows(table) for table in history] == whole


def test_a_materialiser_and_a_rebuild_take_turns(separate: VerifiedDatabase) -> None:
    pair = separate.pair
    with separate.working():
        for number in range(3):
            separate.execute("UPDATE sinergi.transfer SET movement_id = 'x'")
            pair.publish(*(transfer(f"R/{number}/{each}") for each in range(50)))
            status, out, err = separate.run("rebuild", "transfer", "--apply")
            assert status == 0, (out, err)
        pair.until_rows("sinergi.transfer", COUNT - 1 + 150)
        separate.until_receipted()
    assert pair.count("sinergi.transfer WHERE movement_id = 'x'") == 0
    assert pair.count("sinergi_consumer.halt") == 0
    assert separate.run("verify")[0] == 0


def test_leaves_that_arrive_before_the_lock_are_merged_too(
    separate: VerifiedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = separate.pair
    separate.execute("DELETE FROM sinergi.transfer WHERE record_id = 'P/5'")

    def arrives(*_: object) -> None:
        monkeypatch.undo()
        with separate.working():
            pair.publish(transfer("P/3", "CORRECTED"), transfer("Q/1"))
            pair.until_rows("sinergi.transfer_history", COUNT + 2)
            separate.until_receipted()

    monkeypatch.setattr("sinergi_consumers.audit.rebuild.Rebuild._check_topics", arrives)
    status, found = separate.document("rebuild", "transfer", "--apply")
    assert status == 0
    assert (found["differing_rows"], found["applied"]["inserted"]) == (1, 1)
    assert separate.run("verify")[0] == 0


def test_events_of_quarantine_that_can_be_rows_now_become_rows(separate: VerifiedDatabase) -> None:
    pair = separate.pair
    separate.execute(
        "ALTER TABLE sinergi.transfer ADD CONSTRAINT short CHECK (movement_id <> 'refused')"
    )
    pair.publish(transfer("S/1", movement_id="refused"), transfer("S/2"))
    with separate.working():
        pair.until_rows("sinergi.transfer_history", COUNT + 2)
        separate.until_receipted()
    quarantined = "SELECT projection, state FROM sinergi_consumer.quarantine"
    assert separate.run("rebuild", "transfer", "--apply")[0] == 0
    assert pair.ask(quarantined) == [("transfer", "open")]
    separate.execute("ALTER TABLE sinergi.transfer DROP CONSTRAINT short")
    assert separate.run("rebuild", "transfer")[0] == 1
    status, found = separate.document("rebuild", "transfer", "--apply", "--why", "mended")
    assert (status, found["retried"]) == (0, 1)
    assert pair.ask(quarantined) == [("transfer", "retried")]
    decided = "SELECT projection, action, outcome, why FROM sinergi_consumer.decision"
    assert pair.ask(decided) == [("transfer", "retry", "retried", "mended")]
    assert separate.run("verify")[0] == 0


def test_an_event_whose_row_of_quarantine_was_deleted_comes_back_there(
    separate: VerifiedDatabase,
) -> None:
    pair = separate.pair
    separate.execute("ALTER TABLE sinergi.transfer ADD CHECK (movement_id <> 'refused')")
    pair.publish(transfer("S/1", movement_id="refused"))
    with separate.working():
        pair.until_rows("sinergi.transfer_history", COUNT + 1)
        separate.until_receipted()
    separate.execute("DELETE FROM sinergi_consumer.quarantine")
    status, _, err = separate.run("rebuild", "transfer")
    assert (status, "missing in quarantine: 1 event that can be no row" in err) == (1, True)
    assert separate.run("rebuild", "transfer", "--apply")[0] == 0
    kept = "SELECT reason, state FROM sinergi_consumer.quarantine"
    assert pair.ask(kept) == [("rows-refused", "open")]
    assert separate.run("verify")[0] == 0


def test_an_integrators_table_is_rebuilt_record_by_record(
    empty: VerifiedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sinergi_consumers.projections.projection.installed", lambda: (FEW_ESCORTS,)
    )
    pair, table = empty.pair, "sinergi.few_escorts"
    del pair.__dict__["projections"]
    migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, pair.projections)
    empty.fill()
    whole = empty.rows(table)
    empty.execute(
        f"UPDATE {table} SET escorts = 99 WHERE record_id = 'P/1'",
        f"INSERT INTO {table} SELECT * FROM {table} WHERE record_id = 'P/2'",
        f"DELETE FROM {table} WHERE record_id = 'P/3' AND escort_agency = 'PJR'",
    )
    assert empty.run("rebuild", "few_escorts", "--apply")[0] == 0
    assert empty.rows(table) == whole


def test_what_cannot_be_rebuilt_is_refused_in_one_line_and_nothing_is_changed(
    database: VerifiedDatabase,
) -> None:
    status, _, err = database.run("rebuild", "transfr")
    assert status == 2
    assert "there is no such projection here" in err
    assert "transfer" in err
    database.execute(*DAMAGE)
    before = [database.rows(table) for table in TABLES]
    database.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.movement_id = 'y'; RETURN NEW; END $$",
        "CREATE TRIGGER keeping BEFORE UPDATE ON sinergi.transfer FOR EACH ROW"
        " EXECUTE FUNCTION keep()",
    )
    status, _, err = database.run("rebuild", "transfer", "--apply")
    assert status == 2
    assert "look for a trigger that changes them" in err
    database.execute("DROP TRIGGER keeping ON sinergi.transfer")
    database.execute(
        "CREATE TABLE notes (agency text, record_id text, FOREIGN KEY (agency, record_id)"
        " REFERENCES sinergi.transfer (agency, record_id))",
        "INSERT INTO notes SELECT agency, record_id FROM sinergi.transfer"
        " WHERE record_id = 'P/666'",
    )
    status, _, err = database.run("rebuild", "transfer", "--apply")
    assert status == 2
    assert "notes_agency_record_id_fkey" in err
    assert [database.rows(table) for table in TABLES] == before
    database.execute("UPDATE sinergi_consumer.position SET tree_size = 0, frontier = ''")
    status, _, err = database.run("rebuild", "transfer", "--apply")
    assert status == 2
    assert "it has no position" in err


def test_a_table_that_is_no_table_or_absent_is_named_with_how_to_mend_it(
    database: VerifiedDatabase,
) -> None:
    upgrade = ("db", "upgrade", "--role", "consumer")
    whole = [database.rows(table) for table in TABLES]
    absent = "sinergi.transfer is not in the database; `sinergi db upgrade --role consumer` makes"
    column = "sinergi.transfer is not as it is declared (sinergi.transfer.reason is missing); put"
    for damage, said in (
        (["ALTER TABLE sinergi.transfer RENAME COLUMN reason TO other"], column),
        (["DROP TABLE sinergi.transfer"], absent),
        (
            ["CREATE VIEW sinergi.transfer AS SELECT * FROM sinergi.transfer_history"],
            "sinergi.transfer is a view in place of a table; drop that, then `sinergi db upgrade",
        ),
    ):
        database.execute(*damage)
        for options in ((), ("--apply",)):
            status, _, err = database.run("rebuild", "transfer", *options)
            assert (status, said in err) == (2, True), err
    database.execute("DROP VIEW sinergi.transfer")
    assert database.run(*upgrade)[0] == 0
    assert database.run("rebuild", "transfer", "--apply")[0] == 0
    assert [database.rows(table) for table in TABLES] == whole


def test_rows_are_changed_only_by_who_has_the_rights_of_their_owner(
    database: VerifiedDatabase,
) -> None:
    pair = database.pair
    role = f"materialiser_{pair.publisher.rpartition('-')[2]}"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD '{role}'",
        f"GRANT USAGE ON SCHEMA sinergi, sinergi_consumer TO {role}",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA sinergi TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA sinergi_consumer TO {role}",
        "DELETE FROM sinergi.transfer_history",
    )
    try:
        url = pair.consumer.url.set(username=role, password=role, drivername="postgresql")
        address = f"consumer.database={url.render_as_string(hide_password=False)}"
        asked = ("--set", address, "rebuild", "transfer_history", "--apply")
        status, _, err = database.run(*asked)
        assert status == 2
        assert "lacks a right: UPDATE on sinergi.transfer_history" in err
        owner = f"consumer.owner_database={pair.consumer_url}"
        assert database.run("--set", owner, *asked)[0] == 0
        assert pair.count("sinergi.transfer_history") == COUNT
    finally:
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_place_names_a_leaf_that_replay_shows(database: VerifiedDatabase) -> None:
    partition, leaf = place_of(database.pair, "P/3")
    database.execute("UPDATE sinergi.transfer SET movement_id = 'x' WHERE record_id = 'P/3'")
    _, out, _ = database.run("rebuild", "transfer")
    assert f"{partition}/{leaf}" in out
    shown = database.run("replay", database.pair.topic.name, "--leaf", f"{partition}/{leaf}")
    assert "P/3" in shown[1]


@pytest.fixture
def archived(separate: VerifiedDatabase) -> tuple[VerifiedDatabase, str]:
    """A database that has materialised transfers, and an archive of them."""
    file = str(separate.pair.folder / "archive.zip")
    status, _, err = separate.run("archive", "create", separate.pair.topic.name, "-o", file)
    assert status == 0, err
    return separate, file


def test_tables_are_put_right_from_an_archive_without_the_brokers(
    archived: tuple[VerifiedDatabase, str],
) -> None:
    database, file = archived
    whole = [database.rows(table) for table in TABLES]
    database.execute(*DAMAGE)
    away = ("--set", "kafka.bootstrap=127.0.0.1:1")
    rebuild = (*away, "rebuild", "transfer", "--archive", file)
    status, found = database.document(*rebuild)
    assert (status, found["differing_rows"], found["applied"]) == (ExitStatus.NEGATIVE, 6, None)
    status, _, err = database.run(*rebuild, "--apply")
    assert status == ExitStatus.SUCCESS, err
    assert [database.rows(table) for table in TABLES] == whole
    (_, document) = database.document("journal", "--limit", "1")
    assert document["rows"][0]["principals"][0].startswith("archive ")


def test_an_archive_that_is_older_than_the_tables_changes_no_row(
    archived: tuple[VerifiedDatabase, str],
) -> None:
    database, file = archived
    with database.working():
        database.pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
        database.pair.until_rows("sinergi.transfer_history", COUNT + 20)
    database.execute(*DAMAGE)
    before = [database.rows(table) for table in TABLES]
    for options in ((), ("--apply",)):
        status, out, err = database.run("rebuild", "transfer", "--archive", file, *options)
        assert (status, out) == (ExitStatus.ERROR, "")
        assert "leaves that were materialised; read it where it has all of them" in err
    assert [database.rows(table) for table in TABLES] == before


def test_an_archive_that_becomes_older_than_the_tables_before_the_lock_changes_no_row(
    archived: tuple[VerifiedDatabase, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The materialiser moves on while the tables are read: what it adds is not in the archive."""
    database, file = archived
    database.execute(*DAMAGE)
    before: list[list[Any]] = []
    whole = Rebuild._check_topics

    def arrives(self: Rebuild, positions: Mapping[PositionKey, Frontier]) -> None:
        whole(self, positions)  # so far the archive has every leaf
        with database.working():
            database.pair.publish(transfer("Q/1"), transfer("Q/2"))
            database.pair.until_rows("sinergi.transfer_history", COUNT + 2)
        before.extend(database.rows(table) for table in TABLES)

    monkeypatch.setattr(Rebuild, "_check_topics", arrives)
    status, out, err = database.run("rebuild", "transfer", "--archive", file, "--apply")
    assert (status, out) == (ExitStatus.ERROR, "")
    assert "leaves that were materialised; read it where it has all of them" in err
    assert before
    assert [database.rows(table) for table in TABLES] == before


def test_a_position_that_is_edited_before_the_lock_is_refused(
    database: VerifiedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[list[Any]] = []
    whole = Rebuild._check_topics

    def edited(self: Rebuild, positions: Mapping[PositionKey, Frontier]) -> None:
        whole(self, positions)
        database.execute(
            "UPDATE sinergi_consumer.position SET frontier = set_byte(frontier, 0,"
            " get_byte(frontier, 0) # 1) WHERE length(frontier) > 0",
            "UPDATE sinergi.transfer SET movement_id = 'x'",
        )
        before.extend(database.rows(table) for table in TABLES)

    monkeypatch.setattr(Rebuild, "_check_topics", edited)
    status, out, err = database.run("rebuild", "transfer", "--apply")
    assert (status, out) == (ExitStatus.ERROR, "")
    assert "is not of that topic" in err
    assert [database.rows(table) for table in TABLES] == before
