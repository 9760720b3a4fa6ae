"""`sinergi verify` compares a database with the topics, row by row, and names every attack."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from agency_pair import AgencyPair, agreement, send, transfer
from sinergi_consumers.testing.sinks import FEW_ESCORTS
from sinergi_schemas import topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.seal.keys import SigningKey
from test_replay import MessageWithOtherValue
from verified_database import COUNT, NIK, VerifiedDatabase, copied, fill, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROLE = "auditor_of_a_test"


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
def verified_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """A publisher and a reader that has materialised transfers, of which one was corrected."""
    pair = pair_of_module()
    fill(pair)
    return pair


@pytest.fixture
def verified(
    verified_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> VerifiedDatabase:
    """A copy of that reader's database. All tests share its topics, and none changes them."""
    return VerifiedDatabase(verified_pair.copied(tmp_path, databases), capsys)


@pytest.fixture
def separate(empty: VerifiedDatabase) -> VerifiedDatabase:
    """As `verified`, with topics of its separate."""
    empty.fill()
    return empty


def test_a_database_that_has_what_was_published_is_proved(verified: VerifiedDatabase) -> None:
    status, out, err = verified.run("verify")
    assert status == 0, (out, err)
    assert max(map(len, out.splitlines())) <= 100
    found = [each["part"] for each in verified.parts("proved")]
    assert found.count("rows") == 6
    assert {*found} == {"seal", "heads", "receipts", "position", "rows"}
    assert err.splitlines()[-1] == "verdict: 11 of 11 parts proved"


IN_HISTORY = "WHERE record_id = 'P/3' AND revision = 1"
ATTACKS = {
    "a value edited with psql": (
        "UPDATE sinergi.transfer SET movement_id = 'x' WHERE record_id = 'P/3'",
        ("sinergi.transfer", "changed", ["movement_id"]),
    ),
    "a row deleted": (
        "DELETE FROM sinergi.transfer WHERE record_id = 'P/3'",
        ("sinergi.transfer", "missing", []),
    ),
    "a row added": (
        copied("sinergi.transfer", "P/3", record_id="P/666"),
        ("sinergi.transfer", "extra", []),
    ),
    "a child row edited": (
        "UPDATE sinergi.transfer_escort SET count = 50 WHERE record_id = 'P/3' AND position = 1",
        ("sinergi.transfer_escort", "changed", ["count"]),
    ),
    "a child row deleted": (
        f"DELETE FROM sinergi.transfer_history_escort {IN_HISTORY} AND position = 0",
        ("sinergi.transfer_history_escort", "missing", []),
    ),
    "an old revision of a history edited": (
        f"UPDATE sinergi.transfer_history SET reason = 'SECURITY' {IN_HISTORY}",
        ("sinergi.transfer_history", "changed", ["reason"]),
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_on_rows_is_named_with_its_place(
    verified: VerifiedDatabase, attack: str
) -> None:
    place = place_of(verified.pair, "P/3")
    statement, expected = ATTACKS[attack]
    verified.execute(statement)
    status, found = verified.document("verify")
    assert (status, found["proved"], found["differing_rows"]) == (1, False, 1)
    (difference,) = found["differences"]
    assert (difference["table"], difference["kind"], difference["columns"]) == expected
    if "_history" not in expected[0]:
        assert (difference["partition"], difference["leaf"]) == place
    (part,) = [each for each in found["parts"] if each["verdict"] != "proved"]
    assert part["of"] == expected[0]
    assert "whoever may write to that table in the database (postgres" in part["could_be_done_by"]


def test_a_revision_that_is_put_back_is_found_with_its_child_rows(
    verified: VerifiedDatabase,
) -> None:
    verified.execute(
        "DELETE FROM sinergi.transfer WHERE record_id = 'P/3'",
        "DELETE FROM sinergi.transfer_escort WHERE record_id = 'P/3'",
        "INSERT INTO sinergi.transfer SELECT * FROM sinergi.transfer_history"
        " WHERE record_id = 'P/3' AND revision = 1",
        "INSERT INTO sinergi.transfer_escort SELECT * FROM sinergi.transfer_history_escort"
        " WHERE record_id = 'P/3' AND revision = 1",
    )
    status, found = verified.document("verify")
    assert status == 1
    kinds = {(each["table"], each["kind"]) for each in found["differences"]}
    assert kinds == {
        ("sinergi.transfer", "changed"),
        ("sinergi.transfer_escort", "changed"),
        ("sinergi.transfer_escort", "missing"),
    }
    escorts = next(each for each in found["parts"] if each["of"] == "sinergi.transfer_escort")
    assert re.match(
        r"1 changed \(.+ in 1\), 1 missing; ", escorts["found"]
    )  # not: of a missing row
    record = next(each for each in found["differences"] if each["table"] == "sinergi.transfer")
    assert (record["expected"]["revision"], record["found"]["revision"]) == ("2", "1")


@pytest.mark.parametrize("name", ["sinergi.transfer", "sinergi.transfer_history"])
def test_a_view_in_place_of_a_table_is_named_and_its_rows_are_compared(
    verified: VerifiedDatabase, name: str
) -> None:
    verified.execute(
        f"ALTER TABLE {name} RENAME TO kept",
        f"CREATE VIEW {name} AS SELECT * FROM sinergi.kept WHERE record_id <> 'P/5'",
    )
    status, found = verified.document("verify")
    assert status == 1
    table, rows = (each for each in found["parts"] if each["verdict"] == "disproved")
    assert (table["part"], table["of"]) == ("table", name)
    assert "it is a view in place of a table" in table["found"]
    assert table["could_be_done_by"] == "the owner of the schema, or a superuser"
    assert (rows["of"], rows["found"][:9]) == (name, "1 missing")
    (difference,) = found["differences"]
    ((partition, leaf),) = verified.pair.ask(
        "SELECT partition, leaf_index FROM sinergi.kept WHERE record_id = 'P/5'"
    )
    assert (difference["partition"], difference["leaf"]) == (partition, leaf)


def test_a_row_of_a_view_that_names_no_leaf_is_an_extra_row_without_a_place(
    verified: VerifiedDatabase,
) -> None:
    names = verified.pair.ask(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'sinergi' AND table_name = 'transfer' ORDER BY ordinal_position"
    )
    false = {"leaf_index": "'none' AS leaf_index", "record_id": "'false' AS record_id"}
    columns = ", ".join(false.get(name, name) for (name,) in names)
    verified.execute(
        "ALTER TABLE sinergi.transfer RENAME TO kept",
        f"CREATE VIEW sinergi.transfer AS SELECT {columns} FROM sinergi.kept LIMIT 1",
    )
    status, found = verified.document("verify", "--limit", "99")
    extra = [each for each in found["differences"] if each["kind"] == "extra"]
    assert (status, [each["leaf"] for each in extra]) == (1, [None])
    assert f"{extra[0]['partition']}/?" in verified.run("verify", "--limit", "99")[1]


def test_a_column_that_rounds_its_values_is_named(verified: VerifiedDatabase) -> None:
    verified.execute("ALTER TABLE sinergi.transfer_escort ALTER count TYPE numeric(3, -1)")
    status, found = verified.document("verify")
    assert status == 1
    table, rows = (each for each in found["parts"] if each["verdict"] == "disproved")
    assert table["found"] == "count is numeric(3,-1), and is declared integer"
    assert rows["of"] == "sinergi.transfer_escort"


def test_a_tail_that_was_cut_off_is_named_and_its_rows_are_not_proved(
    separate: VerifiedDatabase,
) -> None:
    partition, _ = place_of(separate.pair, "P/3")
    separate.replace_topic(
        separate.pair.topic.name, 2, lambda number, all_: [] if number == partition else all_
    )
    status, found = separate.document("verify")
    assert status == 1
    seal = next(each for each in found["parts"] if each["part"] == "seal")
    assert seal["verdict"] == "disproved"
    assert "its newest messages were cut off" in seal["found"]
    assert "the brokers' operator" in seal["could_be_done_by"]
    rows = [each for each in found["parts"] if each["part"] == "rows"]
    assert {each["verdict"] for each in rows} == {"not checked"}
    assert "the topic shows 0 of its" in rows[0]["found"]
    (receipts,) = [each for each in found["parts"] if each["part"] == "receipts"]
    assert receipts["verdict"] == "not checked"
    assert re.match(
        rf"signed for \d+ leaves of partition {partition}, of which the topic shows 0$",
        receipts["found"],
    )
    assert found["differing_rows"] == 0
    out = separate.run("verify")[1]
    assert len(rows) == 6
    assert "rows of sinergi.transfer and 2 more " in out, "what one reason keeps unchecked"
    assert out.startswith(f"{separate.pair.topic.name}\n  part ")


def test_a_message_that_was_replaced_is_named(separate: VerifiedDatabase) -> None:
    def changed(number: int, all_: list[Any]) -> list[Any]:
        if number:
            return all_
        value = all_[0].value()
        return [MessageWithOtherValue(all_[0], value[:-1] + bytes([value[-1] ^ 1])), *all_[1:]]

    separate.replace_topic(separate.pair.topic.name, 2, changed)
    status, found = separate.document("verify")
    assert status == 1
    (seal,) = [each for each in found["parts"] if each["verdict"] == "disproved"]
    assert seal["part"] == "seal"
    assert "At least one was changed, swapped or inserted" in seal["found"]


def nothing(_number: int, _messages: list[Any]) -> list[Any]:
    return []


def test_a_receipt_that_is_withheld_is_named(separate: VerifiedDatabase) -> None:
    receipts = topics.receipts_topic(separate.pair.reader)
    separate.replace_topic(receipts, 1, nothing)
    status, found = separate.document("verify")
    assert status == 1
    (part,) = [each for each in found["parts"] if each["verdict"] == "disproved"]
    assert part["part"] == "receipts"
    assert "was published, and none is there" in part["found"]
    assert receipts in part["could_be_done_by"]


def test_two_histories_are_named_and_the_publisher_with_them(separate: VerifiedDatabase) -> None:
    pair = separate.pair
    sizes = [len(separate.messages(pair.topic.name, number)) for number in range(2)]
    separate.replace_topic(pair.topic.name, 2, nothing)
    for number, size in enumerate(sizes):
        other = [transfer(f"Q/{number}/{each}") for each in range(size)]
        send(pair, pair.tape(number).write(other))
    status, found = separate.document("verify")
    assert status == 1
    wrong = [each for each in found["parts"] if each["verdict"] == "disproved"]
    assert {each["part"] for each in wrong} >= {"seal", "checkpoint", "position"}
    for each in wrong:
        assert each["could_be_done_by"] == f"{pair.publisher}, whose key has signed both", each
    assert found["differing_rows"] == 0


def test_a_position_that_was_edited_is_told_apart_from_two_histories(
    verified: VerifiedDatabase,
) -> None:
    verified.execute(
        "UPDATE sinergi_consumer.position SET frontier = sha256('x') || substr(frontier, 33)"
        " WHERE projection = 'transfer' AND partition = 0"
    )
    (part,) = verified.parts("disproved")
    assert (part["part"], part["of"]) == ("position", f"transfer on {verified.pair.topic.name}")
    assert "sinergi_consumer.position" in part["could_be_done_by"]


def test_a_materialiser_beside_makes_no_false_differences(separate: VerifiedDatabase) -> None:
    with separate.working():
        for number in range(5):
            separate.pair.publish(
                *(transfer(f"P/{each}", "CORRECTED") for each in range(4)),
                *(transfer(f"R/{number}/{each}") for each in range(20)),
            )
            status, out, err = separate.run("verify")
            assert status == 0, (out, err)


def test_an_integrators_table_without_a_key_is_compared_as_a_multiset(
    empty: VerifiedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sinergi_consumers.projections.projection.installed", lambda: (FEW_ESCORTS,)
    )
    table = "sinergi.few_escorts"
    empty.execute(f"DROP TABLE IF EXISTS {table}")
    pair = empty.pair
    pair.__dict__.pop("projections", None)
    from sinergi import migrate

    migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, pair.projections)
    empty.fill()
    assert empty.run("verify")[0] == 0
    empty.execute(
        f"UPDATE {table} SET escorts = 99 WHERE record_id = 'P/1'",
        f"INSERT INTO {table} SELECT * FROM {table} WHERE record_id = 'P/2'",
        f"DELETE FROM {table} WHERE record_id = 'P/3' AND escort_agency = 'PJR'",
    )
    status, found = empty.document("verify", "--show-values")
    assert status == 1
    kinds = {each["key"]["record_id"]: each["kind"] for each in found["differences"]}
    assert kinds == {"P/1": "changed", "P/2": "extra", "P/3": "missing"}
    changed = next(each for each in found["differences"] if each["kind"] == "changed")
    assert (changed["expected"]["escorts"], changed["found"]["escorts"]) == ("3", "99")


def test_a_row_hidden_behind_a_false_row_of_quarantine_is_found(
    verified: VerifiedDatabase,
) -> None:
    partition, leaf = place_of(verified.pair, "P/5")
    verified.execute(
        "DELETE FROM sinergi.transfer_escort WHERE record_id = 'P/5'",
        "DELETE FROM sinergi.transfer WHERE record_id = 'P/5'",
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,"
        " reason, detail, fingerprint, key_hash, leaf_hash, size) VALUES ('transfer',"
        f" '{verified.pair.topic.name}', {partition}, {leaf}, 'discarded', 'rows-refused', 'x',"
        " '', '', '', 0)",
    )
    status, found = verified.document("verify")
    assert status == 1
    assert {each["quarantine"] for each in found["differences"]} == {"held"}
    assert "in quarantine" in verified.run("verify")[1]


def test_an_event_that_a_foreign_key_refused_is_not_called_a_difference(
    empty: VerifiedDatabase,
) -> None:
    empty.execute(
        "CREATE TABLE reasons (reason text PRIMARY KEY)",
        "INSERT INTO reasons VALUES ('HEALTH')",
        "ALTER TABLE sinergi.transfer ADD FOREIGN KEY (reason) REFERENCES reasons",
    )
    empty.pair.publish(transfer("S/1", reason="SECURITY"))
    empty.fill()
    assert empty.pair.count("sinergi_consumer.quarantine") == 1
    status, found = empty.document("verify")
    assert status == 2
    assert found["proved"] is None
    unchecked = [each for each in found["parts"] if each["verdict"] == "not checked"]
    assert [each["of"] for each in unchecked] == ["sinergi.transfer", "sinergi.transfer_escort"]
    assert "foreign key, trigger or rule" in unchecked[0]["found"]


def test_a_revision_in_two_partitions_accuses_nobody_of_an_edit(empty: VerifiedDatabase) -> None:
    """They have no order between them. The reader has the one that it got first, from partition 1;
    a verification reads partition 0 first.
    """
    pair = empty.pair
    for number in (1, 0):
        event = transfer("P/1", movement_id=f"of {number}").model_copy(update={"revision": 1})
        send(pair, pair.tape(number).write([event]))
        with pair.materialising():
            pair.until_rows("sinergi_consumer.receipt WHERE published_at IS NOT NULL", 2 - number)
    assert pair.ask("SELECT movement_id FROM sinergi.transfer") == [("of 1",)]
    _, found = empty.document("verify")
    assert [each for each in found["parts"] if each["verdict"] == "disproved"] == []
    rows = {each["of"] for each in found["parts"] if "two partitions" in each["found"]}
    assert "sinergi.transfer" in rows
    assert empty.run("rebuild", "transfer", "--apply")[0] == 2
    assert pair.ask("SELECT movement_id FROM sinergi.transfer") == [("of 1",)]


def test_an_event_that_is_neither_a_row_nor_in_quarantine_is_found(
    separate: VerifiedDatabase,
) -> None:
    pair = separate.pair
    separate.execute("ALTER TABLE sinergi.transfer ADD CHECK (movement_id <> 'refused')")
    pair.publish(transfer("S/1", movement_id="refused"))
    with separate.working():
        pair.until_rows("sinergi.transfer_history", COUNT + 1)
        separate.until_receipted()
    assert separate.run("verify")[0] == 0
    separate.execute("DELETE FROM sinergi_consumer.quarantine")
    (part,) = separate.parts("disproved")
    assert part["part"] == "quarantine"
    assert "(rows-refused) and is not in quarantine" in part["found"]


def test_protected_values_are_shown_only_when_they_are_asked_for(
    verified: VerifiedDatabase, tmp_path: Path
) -> None:
    verified.execute("UPDATE sinergi.transfer SET inmate_nik = '9999990101900002'")
    file = tmp_path / "differences.ndjson"
    status, out, err = verified.run("verify", "--out", str(file))
    assert status == 1
    text = out + err + file.read_text(encoding="utf-8")
    count = len(file.read_text(encoding="utf-8").splitlines())
    told = f"sinergi: wrote {file}: {count} differing rows, {file.stat().st_size:,} bytes"
    assert told in err
    assert "(protected)" in out
    assert NIK not in text
    assert "9999990101900002" not in text
    assert "inmate_nik" in text
    status, out, _ = verified.run("verify", "--out", str(file), "--force", "--show-values")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {each["found"]["inmate_nik"] for each in lines} == {"9999990101900002"}
    assert NIK in out


def test_rights_to_read_and_to_make_temporary_tables_suffice(
    verified: VerifiedDatabase,
) -> None:
    pair = verified.pair
    role = f"{ROLE}_{pair.publisher.rpartition('-')[2]}"
    named = ("--set", f"consumer.database_roles.auditor={role}")
    status, _, err = verified.run(*named, "db", "upgrade", "--role", "consumer")
    assert status == 0, err
    try:
        verified.execute(f"ALTER ROLE {role} PASSWORD '{role}'")
        url = pair.consumer.url.set(username=role, password=role, drivername="postgresql")
        address = f"consumer.database={url.render_as_string(hide_password=False)}"
        asked = ("--set", address, "verify")
        status, out, err = verified.run(*asked)
        assert status == 0, (out, err)
        verified.execute(f"REVOKE SELECT ON sinergi.transfer_escort FROM {role}")
        status, _, err = verified.run(*asked)
        assert status == 2
        assert "lacks SELECT on sinergi.transfer_escort" in err
        assert "consumer.database_roles.auditor" in err
    finally:
        verified.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_table_that_is_missing_leaves_the_others_checked(verified: VerifiedDatabase) -> None:
    verified.execute("DROP TABLE sinergi.transfer_related")
    status, found = verified.document("verify")
    assert status == 2
    (part,) = [each for each in found["parts"] if each["verdict"] == "not checked"]
    assert part["of"] == "transfer"
    assert (
        "sinergi.transfer_related is not in the database: run `sinergi db upgrade`"
        in (part["found"])
    )
    proved = {each["of"] for each in found["parts"] if each["verdict"] == "proved"}
    assert "sinergi.transfer_history" in proved


def test_a_database_that_has_materialised_nothing_is_not_proved(empty: VerifiedDatabase) -> None:
    empty.pair.publish(transfer("P/1"))
    with empty.pair.relaying():
        sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
        empty.pair.until(lambda: empty.pair.ask(sent, empty.pair.producer) == [(1,)], "sent")
    status, found = empty.document("verify")
    assert status == 2
    assert any("there is no position yet" in each["found"] for each in found["parts"])
    rows = [each for each in found["parts"] if each["part"] == "rows"]
    assert {each["verdict"] for each in rows} == {"not checked"}


def test_what_cannot_be_verified_is_refused_in_one_line(
    empty: VerifiedDatabase, tmp_path: Path
) -> None:
    known = empty.pair.topic.name
    with pytest.MonkeyPatch.context() as patch:  # as if the agreement had other readers
        patch.setattr(Agreements, "read_by", lambda *_: [])
        status, _, err = empty.run("verify", known)
    assert status == 2
    assert f"no agreement lets {empty.pair.reader} read {known}; it reads none" in err
    away = "consumer.database=postgresql://nobody@127.0.0.1:1/nothing"
    status, _, err = empty.run("--set", away, "verify")
    assert status == 2
    assert "The database is not available" in err
    status, _, err = empty.run("verify", "--json", "--out", "-")
    assert status == 2
    assert "both go to standard output" in err
    (tmp_path / "there").touch()
    assert empty.run("verify", "--out", str(tmp_path / "there"))[0] == 2


TOPIC_PARTS = dict.fromkeys(("seal", "heads", "receipts"), "proved")


def without_database(verified: VerifiedDatabase, agency: str | None) -> tuple[str, str]:
    """The option for settings of an agency, or of an auditor, that name no database."""
    values = {"agreements": str(verified.pair.folder), "kafka": {"bootstrap": verified.pair.kafka}}
    file = verified.pair.folder / "without-database.settings"
    agencies = {} if agency is None else {"agency": agency}
    file.write_text(tomli_w.dumps(agencies | values), encoding="utf-8")
    return "--config", str(file)


def test_the_database_of_an_agency_whose_settings_name_none_counts_as_not_checked(
    verified: VerifiedDatabase, tmp_path: Path
) -> None:
    settings = without_database(verified, verified.pair.reader)
    status, out, err = verified.run(*settings, "verify")
    assert status == 2, err
    assert max(map(len, out.splitlines())) <= 100
    assert err.splitlines()[-1] == (
        "verdict: 3 of 4 parts proved; not checked: rows of a reader's database"
    )
    status, found = verified.document(*settings, "verify")
    assert (status, found["proved"], found["tables"]) == (2, None, [])
    by_verdict = {each["part"]: each["verdict"] for each in found["parts"]}
    assert by_verdict == TOPIC_PARTS | {"rows": "not checked"}
    status, out, err = verified.run(*settings, "verify", "--out", str(tmp_path / "x"))
    assert (status, out) == (2, "")
    assert "consumer.database is not set; leave --out away" in err


def test_the_topics_are_verified_also_where_the_database_of_the_agency_is_away(
    verified: VerifiedDatabase,
) -> None:
    away = ("--set", "consumer.database=postgresql://nobody@127.0.0.1:1/nothing")
    status, found = verified.document(*away, "verify")
    by_verdict = {each["part"]: each["verdict"] for each in found["parts"]}
    assert (status, by_verdict) == (2, TOPIC_PARTS | {"rows": "not checked"})
    status, out, err = verified.run(*away, "verify")
    assert "the database of consumer.database does not answer" in " ".join(out.split())
    assert err.count("The database is not available") == 1
    assert (status, err.splitlines()[-1][:8]) == (2, "verdict:")


def test_an_auditor_without_an_agency_proves_topics_and_finds_one_that_was_cut(
    separate: VerifiedDatabase, tmp_path: Path
) -> None:
    pair, settings = separate.pair, without_database(separate, None)
    status, out, err = separate.run(*settings, "verify")
    assert status == 0, err
    assert max(map(len, out.splitlines())) <= 100
    assert err.splitlines()[-2:] == [
        "sinergi: these settings name no agency, so there is no database of yours to check",
        "verdict: 3 of 3 parts proved",
    ]
    status, found = separate.document(*settings, "verify", pair.topic.name)
    assert (status, found["proved"], found["tables"]) == (0, True, [])
    assert {each["part"]: each["verdict"] for each in found["parts"]} == TOPIC_PARTS
    status, out, err = separate.run(*settings, "verify", "--out", str(tmp_path / "x"))
    assert (status, out) == (2, "")
    assert "these settings name no agency; leave --out away" in err
    number = place_of(pair, "P/3")[0]
    cut = {number: slice(-1)}
    separate.replace_topic(
        pair.topic.name, pair.partitions, lambda at, all_: all_[cut.get(at, slice(None))]
    )
    status, found = separate.document(*settings, "verify")
    assert (status, found["proved"]) == (1, False)
    assert {each["part"] for each in found["parts"] if each["verdict"] == "disproved"} == {"seal"}


def test_with_another_key_of_the_owner_nothing_of_its_topic_is_proved(
    verified: VerifiedDatabase,
) -> None:
    pair, settings = verified.pair, without_database(verified, None)
    pair.key = SigningKey.generate(pair.key.name)
    pair.agree(agreement(pair.key.public, pair.receipt_key.public, pair.partitions))
    status, found = verified.document(*settings, "verify")
    assert (status, found["proved"]) == (2, None)
    assert {each["part"]: each["verdict"] for each in found["parts"]} == dict.fromkeys(
        TOPIC_PARTS, "not checked"
    )
