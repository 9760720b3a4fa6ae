"""`sinergi withheld`: whether anything that was sealed between two times is missing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from confluent_kafka import Producer

from agency_pair import BUS, DATABASE, AgencyPair, send, transfer
from sinergi.cli import withheld_output
from sinergi.cli.root import run
from sinergi_schemas import message, topics
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.zones import local_text
from test_moved_topics import deleted, made
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_consumers.testing.tape import TapeMessage

BEGIN, END = "2026-03-03T08:00+07:00", "2026-03-03T17:00+07:00"
OCCURRED = datetime.fromisoformat("2026-03-01T00:00+07:00")


def at(clock: str) -> datetime:
    """A time of the day that is audited."""
    return datetime.fromisoformat(f"2026-03-03T{clock}+07:00")


class SealedDay:
    """A topic with one partition that its owner has sealed and stated on one day."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self.kept: list[TapeMessage] = []
        self._capsys = capsys
        self._tape = pair.tape()
        self._notes: dict[int, str] = {}

    def sealed(self, *recorded: str, sent: bool = True) -> int:
        """Seal events that were recorded at these times in one batch; the size of the tree."""
        events = [
            transfer(
                f"P/{len(self.kept)}-{number}",
                recorded_at=at(clock),
                occurred_at=OCCURRED,
                departed_at=OCCURRED,
            )
            for number, clock in enumerate(recorded)
        ]
        written = self._tape.write(events)
        self.kept += written
        notes = (value for name, value in written[-1].headers() if name == message.CHECKPOINT)
        self._notes[len(self.kept)] = next(notes).decode()
        if sent:
            send(self.pair, written)
        return len(self.kept)

    def heads(self, clock: str | datetime, size: int) -> None:
        """Put heads on the control topic that state a tree."""
        when = clock if isinstance(clock, datetime) else at(clock)
        root = checkpoint.parse(parse_note(self._notes[size])).root
        stated = SignedHeads(
            BUS,
            self.pair.publisher,
            int(when.timestamp()),
            (TreeHead(self.pair.topic.name, 0, size, root),),
        )
        note = heads.sign(stated, [self.pair.key])
        self._put(topics.control_topic(self.pair.publisher), "heads", note)

    def receipt(self, clock: str, size: int) -> str:
        """A receipt of the reader for a tree that the owner has signed."""
        when = int(at(clock).timestamp())
        return checkpoint.cosign(self._notes[size], self.pair.receipt_key, when)

    def publish_receipt(self, clock: str, size: int) -> None:
        key = f"{DATABASE}/{self.pair.topic.name}/0"
        self._put(topics.receipts_topic(self.pair.reader), key, self.receipt(clock, size))

    def store_receipt(self, clock: str, size: int, note: str | None = None) -> None:
        """Put a receipt into the reader's own table."""
        with self.pair.consumer.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO sinergi_consumer.receipt (topic, partition, size, note, signed_at)"
                " VALUES (%s, 0, %s, %s, %s)",
                (self.pair.topic.name, size, note or self.receipt(clock, size), at(clock)),
            )

    def keep_receipt(self, clock: str, size: int) -> None:
        """Put a receipt into the owner's table of those that its relay has seen."""
        reader = f"{self.pair.reader}/{DATABASE}"
        with self.pair.producer.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO sinergi_producer.seen_receipt"
                " (event_type, partition, reader, size, note, signed_by_reader_at)"
                " VALUES ('transfer', 0, %s, %s, %s, %s)",
                (reader, size, self.receipt(clock, size), at(clock)),
            )

    def ordinary(self) -> None:
        """Four leaves: one from before, two of the interval, one from after it; heads as usual."""
        self.sealed("07:30")
        self.heads("07:59", 1)
        self.sealed("09:00")
        self.sealed("16:00")
        self.heads("17:00", 3)
        self.sealed("18:00")
        self.heads("18:01", 4)

    def cut_off(self, size: int) -> None:
        """Let the operator create the topic again with its first leaves only."""
        deleted(self.pair)
        made(self.pair)
        send(self.pair, self.kept[:size])

    def run(self, *words: str, settings: Path | None = None) -> tuple[int, str, str]:
        self._capsys.readouterr()
        file = settings or self.auditor
        status = run(["--config", str(file), "withheld", "--from", BEGIN, "--to", END, *words])
        return (status, *self._capsys.readouterr())

    def document(self, *words: str, settings: Path | None = None) -> tuple[int, dict[str, Any]]:
        status, out, err = self.run(*words, "--json", settings=settings)
        assert out, err
        return status, json.loads(out)

    def partition(self, *words: str, settings: Path | None = None) -> tuple[int, dict[str, Any]]:
        """The exit status, and what is said of the only partition."""
        status, found = self.document(*words, settings=settings)
        ((only,),) = (each["partitions"] for each in found["topics"])
        return status, only

    @property
    def auditor(self) -> Path:
        """The settings of somebody who has no database."""
        file = self.pair.folder / "auditor.conf"
        values = {"agreements": str(self.pair.folder), "kafka": {"bootstrap": self.pair.kafka}}
        file.write_text(tomli_w.dumps(values), encoding="utf-8")
        return file

    def _put(self, topic: str, key: str, value: str) -> None:
        producer = Producer({"bootstrap.servers": self.pair.kafka})
        producer.produce(topic, value.encode(), key.encode(), 0)
        assert producer.flush(PATIENCE_SECONDS) == 0


@pytest.fixture
def day(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> SealedDay:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    return SealedDay(pair, capsys)


def test_leaves_between_two_heads_are_all_there_and_the_range_is_stated(day: SealedDay) -> None:
    day.ordinary()
    status, found = day.document()
    assert (status, found["proved"]) == (0, True)
    (topic,) = found["topics"]
    (part,) = topic["partitions"]
    assert part["sealed_between"] == {"from": 1, "below": 3}
    owner = f"{BUS}/{day.pair.publisher}"
    for which, clock, size in (("first", "07:59", 1), ("second", "17:00", 3)):
        stated = part[which]
        assert (stated["kind"], stated["name"], stated["clock"]) == ("heads", owner, "owner")
        assert (datetime.fromisoformat(stated["signed_at"]), stated["size"]) == (at(clock), size)
    counts = ("recorded_then", "sealed_before", "sealed_late", "recorded_outside")
    assert [part[each] for each in counts] == [2, 0, 0, 0]
    assert found["not_proved"] == list(withheld_output.NOT_PROVED)


def test_the_tables_are_narrow_state_the_zone_once_and_say_what_is_not_shown(
    day: SealedDay,
) -> None:
    day.ordinary()
    day.sealed("10:00")
    status, out, err = day.run()
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert out.splitlines()[0].startswith("times are in Asia/Jakarta; those of heads by the owner")
    assert out.count("Asia/Jakarta") == 1
    assert "2026-03-03 17:00:00" in out
    for each in withheld_output.NOT_PROVED:
        assert each in " ".join(out.split())
    assert err.splitlines()[-1].startswith("verdict: nothing that was sealed between the stat")


def test_a_tail_that_was_cut_off_between_the_two_statements_is_missing(day: SealedDay) -> None:
    day.ordinary()
    day.cut_off(2)
    status, found = day.document()
    assert (status, found["proved"]) == (1, False)
    (part,) = found["parts"]
    assert part["verdict"] == "disproved"
    assert "/0 ends at 2 leaves, but according to the heads that" in part["why"]


def test_a_tail_is_missing_also_where_only_old_heads_have_it(day: SealedDay) -> None:
    """The operator has put smaller heads behind the others; the larger ones still count."""
    day.ordinary()
    day.heads("18:02", 1)
    day.cut_off(2)
    status, _ = day.document()
    assert status == 1


def test_heads_that_the_owner_stopped_enclose_nothing_and_the_last_ones_are_named(
    day: SealedDay,
) -> None:
    day.sealed("07:30")
    day.heads("07:59", 1)
    day.sealed("09:00")
    day.heads("12:00", 2)
    status, found = day.document()
    assert (status, found["proved"]) == (2, None)
    (part,) = found["parts"]
    assert part["verdict"] == "not checked"
    assert f"{day.pair.publisher} has signed no heads at the end of the interval" in part["why"]
    assert f"the last known ones at {local_text(at('12:00'))}" in part["why"]
    (topic,) = found["topics"]
    assert topic["heads_known_to"] == at("12:00").isoformat()
    assert [(each["after"], each["before"]) for each in topic["gaps"]] == [
        (at("07:59").isoformat(), at("12:00").isoformat()),
        (at("12:00").isoformat(), None),
    ]
    assert "verdict: nothing is proved of 1 partition; not checked: " in day.run()[2]


def test_a_receipt_does_not_take_the_place_of_the_owners_last_heads(day: SealedDay) -> None:
    """A reader may be behind: its receipt does not show that the owner had sealed no more."""
    day.sealed("07:30")
    day.heads("07:59", 1)
    day.sealed("09:00")
    day.publish_receipt("17:30", 2)
    status, found = day.document()
    assert status == 2
    (part,) = found["parts"]
    assert f"receipt that {BUS}/{day.pair.reader}/{DATABASE} signed" in part["why"]
    assert "shows that at least 2 leaves were sealed" in part["why"]


def test_a_gap_between_heads_is_shown_with_the_receipts_of_then_and_changes_no_verdict(
    day: SealedDay,
) -> None:
    day.ordinary()
    day.publish_receipt("12:00", 2)
    status, found = day.document()
    assert status == 0
    (topic,) = found["topics"]
    (gap,) = topic["gaps"]
    assert (gap["after"], gap["before"]) == (at("07:59").isoformat(), at("17:00").isoformat())
    ((receipt),) = gap["receipts"]
    assert (receipt["kind"], receipt["clock"], receipt["size"]) == ("receipt", "reader", 2)


def test_heads_each_minute_leave_no_gap(day: SealedDay) -> None:
    size = day.sealed("07:30")
    begin = at("16:50")
    for minute in range(12):
        day.heads(begin + timedelta(minutes=minute), size)
    status, found = day.document("--from", begin.isoformat())
    assert (status, found["topics"][0]["gaps"]) == (0, [])


def test_an_event_that_was_recorded_then_and_sealed_after_the_second_statement_is_late(
    day: SealedDay,
) -> None:
    day.ordinary()
    day.sealed("10:00")
    day.heads("18:02", 5)
    status, part = day.partition()
    assert (status, part["recorded_then"], part["sealed_late"]) == (0, 3, 1)
    (late,) = part["late"]
    assert (late["leaf"], late["recorded_at"]) == (4, at("10:00").isoformat())
    event_id = next(value for name, value in day.kept[4].headers() if name == "ce_id").decode()
    assert late["event_id"] == event_id
    _, out, err = day.run()
    assert event_id in out
    assert "  1 late in all, 1 shown" in out
    assert "; 1 event sealed late" in err.splitlines()[-1]


def test_leaves_whose_publisher_dated_them_outside_of_the_interval_are_counted(
    day: SealedDay,
) -> None:
    day.sealed("08:30")
    day.heads("07:59", 1)
    day.sealed("06:00", "18:30", "09:00")
    day.heads("17:01", 4)
    status, part = day.partition()
    counts = ("recorded_then", "sealed_before", "sealed_late", "recorded_outside")
    assert (status, [part[each] for each in counts]) == (0, [2, 1, 0, 2])


def test_a_statement_of_a_larger_tree_than_the_topic_disproves_it(day: SealedDay) -> None:
    day.ordinary()
    size = day.sealed("18:30", sent=False)
    day.heads("18:31", size)
    status, found = day.document()
    assert status == 1
    assert f"it has {size}:" in found["parts"][0]["why"]


def test_another_tree_in_an_old_statement_disproves_the_topic(day: SealedDay) -> None:
    """The owner has sealed leaf 1 anew: only heads of the interval's beginning have the first."""
    day.sealed("07:30")
    other = SealedDay(day.pair, day._capsys)
    other.sealed("07:31", sent=False)
    other.heads("07:59", 1)
    day.heads("17:00", day.sealed("09:00"))
    status, found = day.document()
    assert status == 1
    assert found["topics"][0]["findings"]


def test_where_nothing_was_stated_before_the_range_begins_at_leaf_0(day: SealedDay) -> None:
    day.sealed("09:00")
    day.sealed("10:00")
    day.heads("17:00", 2)
    status, part = day.partition()
    assert (status, part["first"], part["sealed_between"]) == (0, None, {"from": 0, "below": 2})


@pytest.mark.parametrize("side", ["owner", "reader"])
def test_receipts_of_a_database_stand_in_for_heads_that_were_compacted(
    day: SealedDay, side: str
) -> None:
    for clock in ("07:30", "09:00", "10:00"):
        day.sealed(clock)
    day.heads("18:01", 3)
    store = day.keep_receipt if side == "owner" else day.store_receipt
    store("07:45", 1)
    store("12:00", 2)
    settings = day.pair.agency_settings if side == "owner" else day.pair.reader_settings
    status, found = day.document(day.pair.topic.name, settings=settings)
    assert status == 0
    (topic,) = found["topics"]
    assert topic["heads_known_from"] == at("18:01").isoformat()
    (part,) = topic["partitions"]
    assert (part["first"]["kind"], part["first"]["size"]) == ("receipt", 1)
    assert part["sealed_between"] == {"from": 1, "below": 3}
    (gap,) = topic["gaps"]
    assert gap["after"] is None
    assert [each["size"] for each in gap["receipts"]] == [2]


def test_a_receipt_in_the_readers_database_shows_a_tail_that_heads_and_topic_lack(
    day: SealedDay,
) -> None:
    """The operator has cut off the tail, and the heads and receipts that stated it."""
    day.sealed("07:30")
    day.heads("07:59", 1)
    day.heads("17:00", 1)
    day.store_receipt("12:00", day.sealed("09:00", sent=False))
    assert day.partition()[0] == 0
    status, found = day.document(settings=day.pair.reader_settings)
    assert (status, found["parts"][0]["verdict"]) == (1, "disproved")


def test_a_stored_receipt_that_nobody_signed_is_named_and_counts_for_nothing(
    day: SealedDay,
) -> None:
    day.ordinary()
    day.store_receipt("07:58", 1, "changed")
    status, found = day.document(settings=day.pair.reader_settings)
    assert status == 0
    (topic,) = found["topics"]
    assert topic["partitions"][0]["first"]["kind"] == "heads"
    assert any("has no valid receipt of" in each for each in topic["remarks"])


def test_a_database_that_is_away_leaves_its_receipts_unchecked(day: SealedDay) -> None:
    day.ordinary()
    away = "consumer.database=postgresql://nobody@127.0.0.1:1/nothing"
    day._capsys.readouterr()
    words = ["--config", str(day.pair.reader_settings), "--set", away]
    status = run([*words, "withheld", "--from", BEGIN, "--to", END, "--json"])
    found = json.loads(day._capsys.readouterr().out)
    assert status == 2
    assert [each["verdict"] for each in found["parts"]] == ["proved", "not checked"]
    assert "the reader's table could not be read" in found["parts"][1]["why"]


def test_heads_that_are_dated_later_than_now_enclose_nothing(day: SealedDay) -> None:
    day.sealed("09:00")
    day.heads(SYSTEM.now() + timedelta(days=1), 1)
    status, found = day.document()
    assert status == 2
    assert any("is dated later than the clock" in each for each in found["topics"][0]["remarks"])


def test_an_archive_gives_the_same_answer_without_a_broker(day: SealedDay, tmp_path: Path) -> None:
    day.ordinary()
    file = tmp_path / "archive.zip"
    config = ["--config", str(day.auditor)]
    assert run([*config, "archive", day.pair.topic.name, "-o", str(file)]) == 0
    status, of_broker = day.partition()
    day._capsys.readouterr()
    nowhere = [*config, "--set", "kafka.bootstrap=127.0.0.1:1"]
    words = ["withheld", "--from", BEGIN, "--to", END, "--json", "--archive", str(file)]
    assert run([*nowhere, *words]) == status == 0
    (topic,) = json.loads(day._capsys.readouterr().out)["topics"]
    assert topic["partitions"] == [of_broker]


def test_a_topic_that_cannot_be_read_is_named_and_leaves_the_others_proved(
    day: SealedDay,
) -> None:
    day.ordinary()
    agreed = day.pair.agreement
    agreed["events"]["seizure"] = agreed["events"]["transfer"]
    day.pair.agree(agreed)
    status, found = day.document()
    assert (status, found["proved"]) == (2, None)
    verdicts = {each["of"]: (each["part"], each["verdict"]) for each in found["parts"]}
    missing = f"sinergi.{day.pair.publisher}.seizure"
    assert verdicts == {
        missing: ("topic", "not checked"),
        f"{day.pair.topic.name}/0": ("partition", "proved"),
    }
    status, out, err = day.run()
    assert status == 2
    assert missing not in out
    assert f"sinergi: {missing}: not checked: it could not be read: " in err


def test_a_time_at_the_beginning_of_the_calendar_is_taken(day: SealedDay) -> None:
    day.ordinary()
    status, part = day.partition("--from", "0001-01-01T00:00Z", settings=day.pair.reader_settings)
    assert (status, part["sealed_between"], part["recorded_then"]) == (
        0,
        {"from": 0, "below": 3},
        3,
    )


def test_the_journal_keeps_what_was_asked_for_and_the_verdict(day: SealedDay) -> None:
    day.ordinary()
    assert day.document("--why", "LKN/12", settings=day.pair.reader_settings)[0] == 0
    question = "SELECT command, why, asked_for->>'from' FROM sinergi_consumer.journal LIMIT 1"
    assert day.pair.ask(question) == [("withheld", "LKN/12", BEGIN)]


MISTAKES = {
    "the end before the beginning": (("--from", END, "--to", BEGIN), "--from is not before --to"),
    "no zone": (("--from", "2026-03-03T08:00", "--to", END), "lacks a zone offset, as +07:00"),
    "no time": (("--from", "3 March", "--to", END), "'3 March' is no time; write 2026"),
    "the future": (("--from", BEGIN, "--to", "2999-01-01T00:00Z"), "lies in the future"),
    "no topic": (("transfer", "--from", BEGIN, "--to", END), "is not sinergi.<agency>.<event-typ"),
    "no such zone": (("--from", BEGIN, "--to", END, "--zone", "WIB"), "--zone 'WIB' is no zone"),
    "not agreed": (
        ("sinergi.lapas-x.seizure", "--from", BEGIN, "--to", END),
        "No agreement in force covers sinergi.lapas-x.seizure",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_in_one_line_and_nothing_is_shown(
    day: SealedDay, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    words, said = MISTAKES[mistake]
    capsys.readouterr()
    status = run(["--config", str(day.auditor), "withheld", *words])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert said in err
