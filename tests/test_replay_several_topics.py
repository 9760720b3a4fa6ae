"""A replay of several topics: all that may be read, filtered, related, into files."""

from __future__ import annotations

import csv
import io
import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from agency_pair import AgencyPair
from long_cases import long_after
from sinergi.cli.root import run
from sinergi_consumers.audit.audit import Audit
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas import errors
from sinergi_schemas.events import parse
from sinergi_schemas.kafka.admin import describe, open_admin
from test_events import NIK, person, seizure, visit
from test_events import transfer as transfer_document
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TYPES = ("seizure", "suspicious-visit", "transfer")
NAME = "Contoh Satu"


def related(agency: str, event_type: str, record_id: str) -> dict[str, Any]:
    return {
        "other_agency": agency,
        "other_event_type": event_type,
        "other_record_id": record_id,
        "relation": "OTHER",
    }


class Register:
    """A publisher with topics of three event types, and its reader's command line."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self._capsys = capsys

    def topic(self, event_type: str) -> str:
        return f"sinergi.{self.pair.publisher}.{event_type}"

    def replay(self, *options: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = run(["--config", str(self.pair.reader_settings), "replay", *options])
        return (status, *self._capsys.readouterr())

    def records(self, *options: str) -> list[str]:
        """The records of the events that a replay shows, each once, sorted."""
        status, out, err = self.replay(*options, "--output", "ndjson")
        assert status == 0, err
        return sorted({json.loads(line)["record_id"] for line in out.splitlines()})


def prepare(pair: AgencyPair) -> None:
    """Agree on all three event types, and make the topics that are missing."""
    document = deepcopy(pair.agreement)
    transfers = document["events"]["transfer"] | {"purposes": ["INVESTIGATION"]}
    document["events"] |= dict.fromkeys(TYPES, transfers)
    pair.agree(document)
    names = [f"sinergi.{pair.publisher}.{each}" for each in TYPES if each != "transfer"]
    topics = [NewTopic(each, pair.partitions, -1) for each in names]
    admin = open_admin(pair.connection)
    for each in admin.create_topics(topics).values():
        each.result(PATIENCE_SECONDS)


def publish(pair: AgencyPair, *events: tuple[str, dict[str, Any]]) -> None:
    """Publish events, and wait until all are sent."""
    pair.publish(*(parse(name, document) for name, document in events))
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    with pair.relaying():
        pair.until(lambda: pair.ask(sent, pair.producer) == [(len(events),)], "all sent")


def fill(pair: AgencyPair) -> None:
    """Publish a visit, a seizure that came of it, and the transfer after it; and some others."""
    to_visit = [related(pair.publisher, "suspicious-visit", "V/1")]
    to_seizure = [related(pair.publisher, "seizure", "S/1")]
    inmate = person("CONVICT", "Contoh Dua")
    other = {**person("VISITOR", "Tjontoh Empat"), "nik": None}
    publish(
        pair,
        ("suspicious-visit", visit(record_id="V/1", case_number="LKN/12/III/2026")),
        ("suspicious-visit", visit(record_id="V/2", visitor=other, inmate=other_inmate())),
        ("seizure", seizure(record_id="S/1", related=to_visit, case_number="LKN/12/III/2026")),
        (
            "transfer",
            {**transfer_document(record_id="T/1"), "related": to_seizure, "inmate": inmate},
        ),
        ("transfer", transfer_document(record_id="T/2")),
        ("transfer", transfer_document(record_id="T/2") | {"action": "CORRECTED"}),
    )


def other_inmate() -> dict[str, Any]:
    return {**person("CONVICT", "Contoh Lima"), "nik": None}


@pytest.fixture
def make_register(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Callable[[int], Register]:
    """Makes one with so many partitions."""

    def make(partitions: int) -> Register:
        pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions)
        prepare(pair)
        return Register(pair, capsys)

    return make


@pytest.fixture(scope="module")
def filled_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """What `full` is about."""
    pair = pair_of_module(partitions=1)
    prepare(pair)
    fill(pair)
    return pair


@pytest.fixture
def full(filled_pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> Register:
    """One that is filled; all tests of a module share it, and none changes it."""
    return Register(filled_pair, capsys)


@pytest.fixture
def own(make_register: Callable[[int], Register]) -> Register:
    """One that is filled, for a test that changes it."""
    register = make_register(1)
    fill(register.pair)
    return register


def test_without_a_topic_all_that_the_agreement_lets_us_read_is_verified(full: Register) -> None:
    status, out, err = full.replay()
    assert status == 0
    shown = [line for line in out.splitlines() if "RECORDED" in line or "CORRECTED" in line]
    assert len(shown) == 6
    assert {word for line in shown for word in line.split()} >= {*TYPES, "V/1", "S/1", "T/2"}
    assert max(map(len, out.splitlines())) <= 100
    assert "verdict of all: 3 of 3 topics are what was sealed" in err
    status, out, _ = full.replay("--json")
    assert [each["topic"] for each in json.loads(out)] == [full.topic(each) for each in TYPES]
    assert {each["holds"] for each in json.loads(out)} == {True}


FOUND_BY: list[tuple[list[str], list[str]]] = [
    (["--type", "transfer"], ["T/1", "T/2"]),
    (["--type", "transfer", "--type", "seizure"], ["S/1", "T/1", "T/2"]),
    (["--nik", NIK], ["S/1", "T/1", "V/1"]),
    (["--name", NAME], ["S/1", "V/1"]),
    (["--name", "contoh  satu"], ["S/1", "V/1"]),
    (["--name-like", "Satoe Tjontoh"], ["S/1", "V/1"]),
    (["--name-like", "Contoh Empat"], ["V/2"]),
    (["--case", "lkn/12/iii/2026"], ["S/1", "V/1"]),
    (["--unit", "Lapas Kelas IIA Rekaan"], ["T/1", "T/2", "V/1", "V/2"]),
    (["--unit", "lapas khusus  rekaan"], ["T/1", "T/2"]),
    (["--region", "35"], ["S/1"]),
    (["--leaf", "0/0", "--type", "transfer"], ["T/1"]),
    (["--leaf", "0/1-2", "--type", "transfer"], ["T/2"]),
    (["--occurred-from", "2026-03-03T10:40+07:00"], ["S/1", "T/1", "T/2", "V/1", "V/2"]),
    (["--occurred-to", "2026-03-03T10:40+07:00"], []),
    (["--key", "T/1"], ["T/1"]),
    (["--key", "T/1", "--related"], ["S/1", "T/1", "V/1"]),
    (["--case", "LKN/12/III/2026", "--related"], ["S/1", "T/1", "V/1"]),
    (["--key", "T/2", "--related"], ["T/2"]),
]


def test_events_are_found_by_every_condition(full: Register) -> None:
    found = [(options, full.records(*options)) for options, _ in FOUND_BY]
    assert found == FOUND_BY


def test_a_related_record_is_shown_with_all_of_its_revisions(full: Register) -> None:
    _, out, _ = full.replay(
        "--leaf", "0/1", "--type", "transfer", "--related", "--output", "ndjson"
    )
    assert [json.loads(line)["revision"] for line in out.splitlines()] == [1, 2]


def test_a_name_in_any_spelling_is_told_as_such_without_the_name(full: Register) -> None:
    _, _, err = full.replay("--name-like", "Satoe Tjontoh")
    assert "--name-like found 1 spelling: not every one need be the same person" in err
    assert "Contoh" not in err
    assert "Tjontoh" not in err


def test_what_matches_nothing_is_told_with_a_sum_and_the_nearest_spelling(full: Register) -> None:
    for options, hint in (
        (("--unit", "Lapas Kelas IIA Rekan"), "did you mean Lapas Kelas IIA Rekaan"),
        (("--case", "LKN/12/II/2026"), "did you mean LKN/12/III/2026"),
        (("--unit", "Kantor Pos"), "no event that was read has this value"),
        (("--name", "Tidak Ada"), "--name-like also finds other spellings"),
        (("--leaf", "0/99"), "transfer/0 has 3 leaves"),
        (("--leaf", "7/0"), "there is no partition 7"),
        (("--region", "99"), "--region: no event that was read has a place in this region"),
        (("--nik", "3510000000000001"), "--nik: no event that was read has a person with this NIK"),
        (("--name-like", "Tidak Ada"), "--name-like: no event that was read has a person with"),
        (("--from", "2030-01-01T00:00Z"), "--from, --to: no event that was read was recorded then"),
        (("--occurred-from", "2030-01-01T00:00Z"), "no event that was read occurred then"),
    ):
        status, out, err = full.replay(*options, "--output", "ndjson")
        # Leaves that were named and are not there are a finding, as a record is.
        assert (status, out) == (int(options[0] == "--leaf"), ""), err
        assert "of 3 topics; 0 match" in err
        assert hint in err, options
    assert "did you mean" not in full.replay("--case", "LKN/12/III/2026")[2]


def test_no_condition_that_an_event_meets_is_called_unmet_or_misspelt(full: Register) -> None:
    unit, case = ("--unit", "Lapas Khusus Rekaan"), ("--case", "LKN/12/III/2026")
    together = "  no event that was read meets all conditions together"
    for options in (
        (*case, *unit),
        (*case, "--leaf", "0/2", "--type", "transfer", "--type", "seizure"),
        (*unit, "--nik", NIK, "--region", "35"),
        (*case, "--name-like", "Contoh Empat"),
    ):
        _, _, err = full.replay(*options)
        assert "; 0 match" in err
        assert together in err, options
        assert not [line for line in err.splitlines() if line.startswith("  --")], options
    _, _, err = full.replay(*unit, "--to", "2020-01-01T00:00Z")
    assert "--from, --to: no event that was read was recorded then" in err
    assert "--unit" not in err


def test_a_leaf_of_another_record_is_not_called_absent(full: Register) -> None:
    options = ("--type", "transfer", "--key", "T/1")
    status, _, err = full.replay(*options, "--leaf", "0/1")
    assert (status, "1 event of the record does not meet the other conditions" in err) == (1, True)
    assert "--leaf:" not in err
    assert "--leaf: " in full.replay(*options, "--leaf", "0/99")[2]


def test_several_topics_end_with_a_line_over_all_of_them(full: Register) -> None:
    _, _, err = full.replay("--unit", "lapas khusus rekaan")
    *_, total, verdict = err.splitlines()
    assert total == "sinergi: read 6 events of 3 topics; 3 match"
    assert verdict.startswith("verdict of all: 3 of 3 topics")


def test_a_record_that_is_in_none_of_the_topics_is_told_once(full: Register) -> None:
    status, out, err = full.replay("--key", "T/9")
    assert (status, out) == (1, "")  # no table has headings alone
    assert err.count('no such record: no verified event in these topics has the key "T/9"') == 1
    assert full.replay("--key", "T/1")[0] == 0


def test_a_misspelt_record_is_answered_with_the_nearest_keys(
    full: Register, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for more in ([], ["--type", "transfer"], ["--related"]):
        status, _, err = full.replay("--key", "T/11", *more)
        assert status == 1
        assert "--key: did you mean T/1" in err, more
    assert "--key: no key that was read is spelt like it" in full.replay("--key", "MUT/0093")[2]
    assert "did you mean" not in full.replay("--key", "T/1", "--to", "2020-01-01T00:00Z")[2]
    capsys.readouterr()
    settings, bundle = str(full.pair.reader_settings), str(tmp_path / "none.zip")
    create = ("evidence", "create", "--key", "T/11", "--why", "x", "-o", bundle)
    run(["--config", settings, *create])
    assert "--key: did you mean T/1" in capsys.readouterr().err


def found_records(out: str) -> dict[str, tuple[bool, int]]:
    """Of each topic's verdict: whether the record is there, and how many events are not shown."""
    return {
        each["topic"].rpartition(".")[2]: (
            each["record"]["found"],
            each["record"]["do_not_meet_other_conditions"],
        )
        for each in json.loads(out)
    }


def test_a_record_whose_events_meet_no_other_condition_is_not_told_to_be_missing(
    full: Register,
) -> None:
    for more in ([], ["--related"]):
        status, out, err = full.replay("--key", "T/2", "--case", "none", "--json", *more)
        assert status == 1
        assert "2 events of the record do not meet the other conditions" in err
        assert "no such record" not in err
        found = {"seizure": (False, 0), "suspicious-visit": (False, 0), "transfer": (True, 2)}
        assert found_records(out) == found
    status, _, err = full.replay("--key", "T/2", "--to", "2020-01-01T00:00Z", "--related")
    assert status == 1
    assert "not within that time: 2 events of the record" in err
    assert "no such record" not in err


def test_a_record_is_found_in_its_own_topic_and_not_in_those_of_related_records(
    full: Register,
) -> None:
    _, out, _ = full.replay("--key", "T/1", "--related", "--json")
    found = {"seizure": (False, 0), "suspicious-visit": (False, 0), "transfer": (True, 0)}
    assert found_records(out) == found
    assert [each["shown"] for each in json.loads(out)] == [1, 1, 1]


def test_related_records_of_topics_that_are_not_read_are_counted(
    full: Register, tmp_path: Path
) -> None:
    file, seizures = tmp_path / "x.parquet", full.topic("seizure")
    options = ("--key", "T/1", "--related", "--type", "transfer")
    to_file = ("--output", "parquet", "--out", str(file))
    status, out, err = full.replay(*options, *to_file, "--json")
    assert status == 2
    assert f"--related: 1 related record of 1 topic that was not read: {seizures}" in err
    (document,) = json.loads(out)
    assert document["related_not_read"] == [{"topic": seizures, "records": 1}]
    facts = json.loads(pl.read_parquet_metadata(file)["sinergi"])
    assert facts["verdicts"][0]["related_not_read"] == document["related_not_read"]
    _, out, err = full.replay("--key", "T/1", "--related", "--json")
    assert {len(each["related_not_read"]) for each in json.loads(out)} == {0}
    assert full.replay("--key", "T/1", "--related")[0] == 0
    assert full.replay("--key", "T/1", "--type", "transfer")[0] == 0
    assert "not read" not in err
    _, out, _ = full.replay("--key", "T/1", "--type", "transfer", "--json")
    assert json.loads(out)[0]["related_not_read"] is None


def test_an_event_type_that_is_not_installed_is_the_verdict_of_its_topic(
    own: Register, tmp_path: Path
) -> None:
    transfers = own.pair.agreement["events"]["transfer"]
    own.pair.agree(own.pair.agreement | {"events": {"patroli": transfers}}, "patroli.toml")
    patrols = own.topic("patroli")
    for output in ("ndjson", "parquet"):
        options = ("--output", output, "--out", str(tmp_path / output))
        status, _, err = own.replay(*options)
        assert status == 2
        assert f"undecided whether {patrols} is what" in err
        assert "it could not be read: There is no event type patroli" in err
        assert f"3 of 4 topics are what was sealed; undecided: {patrols}" in err
    assert {each.stem for each in (tmp_path / "parquet").iterdir()} == {*TYPES}
    status, _, err = own.replay(patrols)
    assert status == 2
    assert "sinergi: There is no event type patroli" in err
    assert "verdict" not in err


def test_topics_of_an_agreement_that_has_not_begun_are_left_out(own: Register) -> None:
    """They need not exist yet. Those of an ended one do, and are still evidence."""
    pair = own.pair
    swapped = {"publishers": [pair.reader], "readers": [pair.publisher]}
    events = {"transfer": pair.agreement["events"]["transfer"] | swapped}
    future = {"from": datetime(2090, 1, 1, tzinfo=UTC), "until": datetime(2099, 1, 1, tzinfo=UTC)}
    pair.agree(pair.agreement | {"events": events, "in_force": future}, "future.toml")
    status, out, err = own.replay("--json")
    assert status == 0, err
    assert [each["topic"] for each in json.loads(out)] == [own.topic(each) for each in TYPES]
    past = {"from": datetime(2001, 1, 1, tzinfo=UTC), "until": datetime(2002, 1, 1, tzinfo=UTC)}
    pair.agree(pair.agreement | {"events": events, "in_force": past}, "future.toml")
    status, out, _ = own.replay("--json")
    assert status == 2
    assert f"sinergi.{pair.reader}.transfer" in {each["topic"] for each in json.loads(out)}


def test_a_topic_that_cannot_be_read_does_not_keep_the_others_from_being_audited(
    own: Register,
) -> None:
    missing = own.topic("suspicious-visit")
    admin = open_admin(own.pair.connection)
    admin.delete_topics([missing])[missing].result(PATIENCE_SECONDS)
    own.pair.until(lambda: missing not in describe(admin, [missing]), "it is gone")
    status, out, err = own.replay("--output", "ndjson")
    assert status == 2
    shown = {json.loads(line)["topic"] for line in out.splitlines()}
    assert shown == {own.topic("seizure"), own.topic("transfer")}
    assert f"undecided whether {missing} is what" in err
    assert f"{missing} is not on these brokers" in err
    assert f"2 of 3 topics are what was sealed; undecided: {missing}" in err
    assert own.replay(missing)[0] == 2


@pytest.fixture
def halves(make_register: Callable[[int], Register]) -> Register:
    """One with transfers in two partitions, the first of which has lost its beginning."""
    register = make_register(2)
    pair = register.pair
    publish(pair, *(("transfer", transfer_document(record_id=f"T/{at}")) for at in range(20)))
    first = TopicPartition(pair.topic.name, 0, 1)
    admin = open_admin(pair.connection)
    admin.delete_records([first])[first].result(PATIENCE_SECONDS)
    return register


def test_related_records_are_found_in_the_partitions_after_a_broken_one(halves: Register) -> None:
    topic = halves.topic("transfer")
    status, out, _ = halves.replay(topic, "--output", "ndjson")
    shown = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert {each["partition"] for each in shown} == {1}
    record = shown[0]["record_id"]
    options = ("--key", record, "--related", "--output", "ndjson")
    status, out, err = halves.replay(topic, *options)
    assert [json.loads(line)["record_id"] for line in out.splitlines()] == [record], err
    assert status == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.NotPermitted("User:x", "Read", "topic", ("x",), "denied"),
        errors.TopicMissing("x"),
        errors.PartitionsDiffer("x", 1, 2, "pks.toml"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_topic_that_cannot_be_surveyed_keeps_its_verdict_and_the_others(
    full: Register, monkeypatch: pytest.MonkeyPatch, error: errors.SinergiError
) -> None:
    unreadable = full.topic("suspicious-visit")

    class Survey(Replay):
        def partition(self, *arguments: Any) -> Iterator[pl.DataFrame]:
            if self.topic.name == unreadable:
                raise error
            return super().partition(*arguments)

    monkeypatch.setattr(
        Audit,
        "survey",
        lambda audit: Survey(audit._bus, audit.topic),
    )
    status, out, err = full.replay("--key", "T/1", "--related", "--output", "ndjson")
    assert status == 2
    assert {json.loads(line)["record_id"] for line in out.splitlines()} >= {"T/1", "S/1"}
    assert f"undecided whether {unreadable} is what" in err
    assert f"2 of 3 topics are what was sealed; undecided: {unreadable}" in err


def test_files_of_several_types_go_to_a_folder_and_hold_what_ndjson_holds(
    full: Register, tmp_path: Path
) -> None:
    _, out, _ = full.replay("--output", "ndjson")
    events = [json.loads(line) for line in out.splitlines()]
    for kind in ("csv", "parquet"):
        folder = tmp_path / kind
        status, out, err = full.replay("--output", kind, "--out", str(folder))
        assert (status, out) == (0, ""), err
        assert sorted(each.name for each in folder.iterdir()) == [
            f"{each}.{kind}" for each in TYPES
        ]
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in TYPES:
            rows = rows_of(folder / f"{name}.{kind}")
            expected = [each for each in events if each["topic"] == full.topic(name)]
            assert [each["event_id"] for each in rows] == [each["event_id"] for each in expected]
            assert folder.joinpath(f"{name}.{kind}").stat().st_mode & 0o777 == 0o600
        assert full.replay("--output", kind, "--out", str(folder))[0] == 2
        assert f"wrote {folder / TYPES[0]}.{kind}: " in err
        status, _, err = full.replay("--output", kind, "--out", str(tmp_path / f"x.{kind}"))
        assert (status, f"x.{kind} is named as one file" in err) == (2, True)
        assert full.replay("--output", kind, "--out", str(folder), "--force")[0] == 0


@pytest.mark.parametrize("kind", long_after(1, ["parquet", "csv", "ndjson"]))
def test_a_path_that_ends_with_a_slash_is_a_folder_also_for_one_type(
    full: Register, tmp_path: Path, kind: str
) -> None:
    options = ("--type", "transfer", "--output", kind, "--out")
    for name in ("made", "made", f"named.{kind}"):  # missing, there already, and named as a file
        status, _, err = full.replay(*options, f"{tmp_path / name}/", "--force")
        assert status == 0, err
        assert [each.name for each in (tmp_path / name).iterdir()] == [f"transfer.{kind}"]
    (tmp_path / "file").touch()
    status, _, err = full.replay(*options, f"{tmp_path / 'file'}/", "--force")
    assert (status, "it is no folder" in err) == (2, True)
    status, _, err = full.replay(*options, str(tmp_path / "plain"))
    assert (status, (tmp_path / "plain").is_file()) == (0, True), err


def test_a_type_without_an_event_gets_no_file_and_is_named(full: Register, tmp_path: Path) -> None:
    folder = tmp_path / "of"
    options = ("--case", "LKN/12/III/2026", "--output", "csv", "--out", str(folder))
    status, _, err = full.replay(*options)
    assert status == 0, err
    assert {each.name for each in folder.iterdir()} == {"seizure.csv", "suspicious-visit.csv"}
    assert "sinergi: no event of the type transfer, and so no file of it" in err


def test_signed_notes_are_confirmed_with_their_number_and_folder(
    full: Register, tmp_path: Path
) -> None:
    status, _, err = full.replay("--notes", str(tmp_path / "notes"))
    assert status == 0, err
    count = len([*(tmp_path / "notes").iterdir()])
    assert f"sinergi: wrote {count} notes into {tmp_path / 'notes'}" in err


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_a_parquet_file_says_what_was_asked_and_what_was_proved(
    full: Register, tmp_path: Path
) -> None:
    file = tmp_path / "transfers.parquet"
    options = ("--type", "transfer", "--key", "T/1", "--output", "parquet", "--out", str(file))
    status, _, err = full.replay(*options)
    assert status == 0, err
    facts = json.loads(pl.read_parquet_metadata(file)["sinergi"])
    assert facts["asked_for"] == {"key": "T/1", "related": False}
    (agreement,) = full.pair.agreements
    assert facts["agreements"] == [agreement.hash]
    (verdict,) = facts["verdicts"]
    assert verdict["holds"] is True
    (partition,) = verdict["partitions"]
    assert partition["leaves"] == 3
    assert len(partition["root"]) == 64
    assert partition["signed_by"][0].startswith(full.pair.key.name)
    assert pl.read_parquet(file)["record_id"].to_list() == ["T/1"]


def test_a_file_without_an_event_has_the_columns(full: Register, tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        file = tmp_path / f"none.{kind}"
        options = ("--type", "transfer", "--occurred-to", "2020-01-01T00:00Z")
        assert full.replay(*options, "--output", kind, "--out", str(file))[0] == 0
        columns = (
            pl.read_parquet(file).columns if kind == "parquet" else file.read_text().split(",")
        )
        assert "record_id" in columns
        assert rows_of(file) == []
