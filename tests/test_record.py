"""`sinergi record`: a record's life, verified, on a terminal, as JSON and as a page."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic
from playwright.sync_api import sync_playwright

from agency_pair import BUS, AgencyPair, transfer
from sinergi.cli.root import run
from sinergi.pages.rendering import page
from sinergi_consumers.audit.records.changes import changes
from sinergi_consumers.audit.records.reading import read_record
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import parse
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.proof import Proof
from test_events import exhibit, person, seizure, visit
from test_evidence_page import browser_program
from test_replay import MessageWithOtherValue
from verified_database import VerifiedDatabase
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TYPES = ("seizure", "suspicious-visit", "transfer")
ID = 'S/1 <script>alert("1")</script>'
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "</td></table><script>alert(2)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "javascript:alert(3)",
    "\u202egnp.exe\u2066",
    "&lt;b&gt; <b>bold</b>",
)


def related(agency: str, event_type: str, record_id: str) -> list[dict[str, Any]]:
    return [
        {
            "other_agency": agency,
            "other_event_type": event_type,
            "other_record_id": record_id,
            "relation": "LED_TO",
        }
    ]


class RecordBus:
    """A seizure in three revisions with hostile texts, which a visit names and which names it."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self.capsys = capsys
        document = deepcopy(pair.agreement)
        terms = document["events"]["transfer"] | {"purposes": ["INVESTIGATION"]}
        document["events"] |= dict.fromkeys(TYPES, terms)
        pair.agree(document)
        admin = open_admin(pair.connection)
        wanted = [f"sinergi.{pair.publisher}.{each}" for each in ("seizure", "suspicious-visit")]
        for each in admin.create_topics([NewTopic(name, 2, -1) for name in wanted]).values():
            each.result(PATIENCE_SECONDS)
        first, second, third, fourth, *more = HOSTILE
        body = seizure(
            record_id=ID,
            case_number=first,
            related=related(pair.publisher, "suspicious-visit", "V/1"),
            exhibits=[exhibit(colour=second, properties=third)],
            witnesses=[person("WITNESS", fourth), *(person("WITNESS", each) for each in more)],
        )
        changed = body | {
            "action": "CORRECTED",
            "zone": "Asia/Makassar",
            "exhibits": [
                exhibit(colour=second, properties=third, lab_result="CONFIRMED"),
                exhibit(label="B", net_weight_g="1.5000"),
            ],
        }
        to_seizure = related(pair.publisher, "seizure", ID)
        for name, event in (
            ("seizure", body),
            ("suspicious-visit", visit(record_id="V/1", related=to_seizure)),
            ("seizure", seizure(record_id="S/2")),
            ("seizure", changed),
            ("seizure", changed | {"action": "RETRACTED"}),
        ):
            pair.publish(parse(name, event))
        sent = "SELECT sum(sent_size)::int FROM sinergi_producer.tree"
        with pair.relaying():
            pair.until(lambda: pair.ask(sent, pair.producer) == [(5,)], "all sent")

    def record(self, *arguments: str, reader: bool = True) -> tuple[int, str, str]:
        self.capsys.readouterr()
        settings = self.pair.reader_settings if reader else self.pair.agency_settings
        status = run(["--config", str(settings), "record", *arguments])
        return (status, *self.capsys.readouterr())


@pytest.fixture
def bus(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> RecordBus:
    return RecordBus(AgencyPair(tmp_path, kafka, agency_slug, databases(), databases()), capsys)


class PageCheck(HTMLParser):
    """What a browser makes of a page: its elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.urls: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_life_has_each_revision_with_its_changes_relations_and_proofs(bus: RecordBus) -> None:
    status, out, err = bus.record("seizure", ID, "--json")
    assert status == 0, err
    life = json.loads(out)
    assert life["holds"] is True
    assert [each["action"] for each in life["revisions"]] == ["RECORDED", "CORRECTED", "RETRACTED"]
    first, second, third = life["revisions"]
    said = {each["field"]: each for each in first["changes"]}
    assert said["case_number"]["after"] == HOSTILE[0]
    assert said["case_number"]["meaning"].startswith("Number of the case as written (nomor perkara")
    assert said["witnesses[1].name"]["protected"] is True
    assert not {"event_id", "revision", "recorded_at"} & said.keys()
    changed = {each["field"]: (each["before"], each["after"]) for each in second["changes"]}
    assert changed["exhibits[2].net_weight_g"] == (None, "1.5000")
    assert changed["exhibits[1].lab_result"][0].startswith("SUSPECTED (")
    assert "case_number" not in changed
    assert third["changes"] == []
    assert [(each["record_id"], each["names_us"]) for each in life["related"]] == [
        ("V/1", False),
        ("V/1", True),
    ]
    assert life["quarantine"] == []
    (told,) = first["receipts"]
    assert (told["entitled"], told["received"]) == (True, False)


def test_a_page_of_a_topic_that_is_not_proved_says_so_above_the_revisions(bus: RecordBus) -> None:
    pair, name = bus.pair, f"sinergi.{bus.pair.publisher}.seizure"
    _, out, _ = bus.record("seizure", ID)
    *_, verdict, times = out[: out.index("\n\n")].splitlines()
    assert verdict.endswith(f": {name} is what {pair.publisher} sealed")
    assert times.startswith("times are in ")
    assert "further revisions" not in out
    pair.publish(*(parse("seizure", seizure(record_id=f"S/{number}")) for number in range(3, 13)))
    sent = "SELECT sum(sent_size)::int FROM sinergi_producer.tree"
    with pair.relaying():
        pair.until(lambda: pair.ask(sent, pair.producer) == [(15,)], "all sent")

    def changed(_: int, all_: list[Any]) -> list[Any]:
        value = all_[-1].value()
        other = value[:-1] + bytes([value[-1] ^ 1])
        return [*all_[:-1], MessageWithOtherValue(all_[-1], other)]

    VerifiedDatabase(pair, bus.capsys).replace_topic(name, 2, changed)
    status, out, _ = bus.record("seizure", ID)
    assert status == 1
    *_, verdict, further, _ = out[: out.index("\n\n")].splitlines()
    assert f"{name} is not what {pair.publisher} sealed: 1 finding" in verdict
    assert further == "what could not be verified may have further revisions"
    assert "RETRACTED" in out
    file = pair.folder / "life.html"
    assert bus.record("seizure", ID, "--html", str(file))[0] == 1
    text = PageCheck(file.read_text(encoding="utf-8")).text
    for each in ("mungkin berisi revisi lain.", "What could not be verified may have further"):
        assert each in text


def test_each_proof_verifies_against_the_bytes_of_its_leaf(bus: RecordBus) -> None:
    _, out, _ = bus.record("seizure", ID, "--json")
    pair = bus.pair
    topic = type(pair.topic)(pair.publisher, "seizure")
    found = read_record(pair.bus, topic, ID)
    assert len(found.revisions) == 3
    for each, shown in zip(found.revisions, json.loads(out)["revisions"], strict=True):
        ring = pair.agreements.ring(topic, each.tp.partition)
        proof = Proof.parse(shown["proof"])
        stated = proof.verify(each.leaf_data, each.tp.origin(BUS), ring)
        assert (stated.size, stated.root.hex()) == (
            shown["sealed"]["size"],
            shown["sealed"]["root"],
        )
        assert (proof.index, each.leaf_index) == (shown["leaf"], shown["leaf"])


def test_the_terminal_shows_it_in_100_columns_without_any_control_character(bus: RecordBus) -> None:
    status, out, err = bus.record("seizure", ID)
    assert status == 0, err
    about, _, tables = out.partition("Revisions, under")  # a line of prose in a pipe is not broken
    assert len(about.splitlines()) == 5
    prose = [each for each in tables.splitlines() if not each.startswith("— ")]
    assert [each for each in prose if len(each) > 100 and " " in each.strip()] == []
    for part in ("Revisions, under the owner's seal", "Related records", "names this record"):
        assert part in out
    assert not {"\u202e", "\u2066", "\x1b"} & {*out}
    assert "\\u202e" in out


def test_all_times_are_in_one_zone_that_is_named_once(bus: RecordBus, tmp_path: Path) -> None:
    """The first event was recorded in Jakarta, the two after it in Makassar."""
    zone = "Asia/Makassar (WITA, +08:00)"
    status, out, err = bus.record("seizure", ID)
    assert status == 0, err
    assert out.count(f"times are in {zone}") == 1
    timeline = out.partition("Revisions, under the owner's seal")[2].partition("\n\n")[0]
    assert len(re.findall(r"\d\d:\d\d:\d\d", timeline)) == 6
    assert "+0" not in timeline
    _, out, _ = bus.record("seizure", ID, "--json")
    life = json.loads(out)
    assert life["zone"] == "Asia/Makassar"
    for each in life["revisions"]:
        assert each["recorded_at"].endswith("+08:00")
        assert each["occurred_at"].endswith("+08:00")
    assert life["made_at"].endswith("+08:00")
    file = tmp_path / "life.html"
    err = bus.record("seizure", ID, "--html", str(file))[2]
    assert f"sinergi: wrote {file}: 3 revisions, {file.stat().st_size:,} bytes" in err
    text = PageCheck(file.read_text(encoding="utf-8")).text
    assert text.count(zone) == 1
    assert "All times on this page" in text


def test_the_page_stands_alone_and_no_text_becomes_markup(bus: RecordBus, tmp_path: Path) -> None:
    file = tmp_path / "life.html"
    status, out, err = bus.record("seizure", ID, "--html", str(file))
    assert (status, out) == (0, ""), err
    text = file.read_text(encoding="utf-8")
    found = PageCheck(text)
    assert not found.elements & {"script", "img", "b", "iframe", "link", "object", "form", "base"}
    assert not {each for each in found.attributes if each.startswith("on")}
    assert found.urls == []
    assert "url(" not in text
    assert "@import" not in text
    assert not {"\u202e", "\u2066"} & {*text}
    for each in (ID, *HOSTILE[:5], HOSTILE[-1]):
        assert each in found.text
    assert "49" not in found.text.partition("{{ 7 * 7 }}")[2][:40]
    assert file.stat().st_mode & 0o077 == 0
    for each in ("Jenis zat, menurut keterangan terakhir.", "Kind of substance, as last known"):
        assert each in text
    for each in ("Riwayat catatan", "Life of a record", "default-src 'none'"):
        assert each in text


def test_a_file_that_exists_is_kept_and_named_before_anything_is_read(
    bus: RecordBus, tmp_path: Path
) -> None:
    file = tmp_path / "life.html"
    file.write_text("mine", encoding="utf-8")
    status, out, err = bus.record("seizure", ID, "--html", str(file))
    assert (status, out) == (2, "")
    assert "--force" in err
    assert file.read_text(encoding="utf-8") == "mine"
    assert bus.record("seizure", ID, "--html", str(file), "--force")[0] == 0
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    status, _, err = bus.record("seizure", ID, "--json", "--html", "-")
    assert status == 2
    assert "both go to standard output" in err
    status, _, err = bus.record("seizure", "S/9", "--html", str(tmp_path / "none.html"))
    assert status == 1
    assert "no such record" in err
    assert not (tmp_path / "none.html").exists()
    status, out, _ = bus.record("seizure", "S/9", "--json")
    assert (status, json.loads(out)["revisions"]) == (1, [])
    assert bus.record("seizur", ID)[0] == 2


def test_the_owner_is_shown_when_its_relay_sealed_and_that_nobody_signed_that(
    bus: RecordBus, tmp_path: Path
) -> None:
    _, out, _ = bus.record("seizure", ID, "--json", reader=False)
    life = json.loads(out)
    assert all(each["sealed"]["sealed_at_by_own_clock"] for each in life["revisions"])
    assert life["quarantine"] is None
    bus.record("seizure", ID, "--html", str(tmp_path / "a.html"), reader=False)
    assert "own clock" in (tmp_path / "a.html").read_text(encoding="utf-8")
    _, out, _ = bus.record("seizure", ID, "--json", "--no-related")
    life = json.loads(out)
    assert not life["searched_related"]
    assert [each["names_us"] for each in life["related"]] == [False]


def test_a_record_with_endless_revisions_or_relations_is_not_taken_into_memory(
    bus: RecordBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinergi_consumers.audit.records.relations.MOST_NAMING", 0)
    _, out, _ = bus.record("seizure", ID, "--json")
    assert [each["names_us"] for each in json.loads(out)["related"]] == [False]
    assert json.loads(out)["related_not_listed"] == 1
    for name, limit in (("MOST_REVISIONS", 2), ("MOST_BYTES", 1_000)):
        with monkeypatch.context() as changed:
            changed.setattr(f"sinergi_consumers.audit.records.reading.{name}", limit)
            status, out, err = bus.record("seizure", ID)
        assert (status, out) == (2, "")
        assert "sinergi replay --key" in err


def test_changes_name_each_field_with_its_meaning_and_codes_in_two_languages() -> None:
    schema = Catalog.shipped().newest("transfer")
    event = transfer("P/1").model_dump()
    found = {each.path: each for each in changes(None, event, None, schema)}
    assert found["reason"].after is not None
    assert found["escort[1].count"].after == "3"
    assert found["escort[1].count"].meaning.doc
    later = event | {"escort": [], "case_number": "LP/1"}
    found = {each.path: each for each in changes(event, later, schema, schema)}
    assert (found["escort[1].count"].before, found["escort[1].count"].after) == ("3", None)
    assert (found["case_number"].before, found["case_number"].after) == (None, "LP/1")
    assert changes(event, event, schema, schema) == []


@pytest.mark.long
def test_the_page_fits_each_width_and_loads_and_runs_nothing(
    bus: RecordBus, tmp_path: Path
) -> None:
    _, out, _ = bus.record("seizure", ID, "--json")
    life, pair = json.loads(out), bus.pair
    zone = read_record(pair.bus, type(pair.topic)(pair.publisher, "seizure"), ID).zone
    for each in life["revisions"][0]["changes"]:
        each["after"] = f"{each['after']} {'x' * 300}"
    path = tmp_path / "life.html"
    told = page("record.html.jinja", life=life, zone=zone, moment=zone.shown_text)
    path.write_bytes(told)
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
        for width in (1200, 390):
            context = browser.new_context(viewport={"width": width, "height": 900})
            opened = context.new_page()
            happened: list[str] = []
            opened.on("dialog", lambda _: happened.append("dialog"))  # noqa: B023
            opened.on("request", lambda request: happened.append(request.url))  # noqa: B023
            opened.goto(path.as_uri())
            assert happened == [path.as_uri()]
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            is_table = opened.locator("table.stacks thead").first.is_visible()
            assert is_table == (width > 640)
            if pictures := os.environ.get("SINERGI_TEST_PICTURES"):
                opened.screenshot(path=f"{pictures}/record-{width}.png", full_page=True)
                opened.pdf(path=f"{pictures}/record-{width}.pdf", prefer_css_page_size=True)
        browser.close()
