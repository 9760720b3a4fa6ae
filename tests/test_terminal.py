"""Output of every command that prints foreign text, at any width and in any encoding.

No escape sequence, bidi control, line end or markup in a text takes effect; nothing is cut off; no
command fails half-way because of a character.
"""

from __future__ import annotations

import ast
import csv
import importlib
import io
import json
import os
import pkgutil
import pty
import subprocess
import sys
import unicodedata
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints
from unittest.mock import patch
from uuid import UUID

import polars as pl
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

import reference
from sinergi.cli import (
    outbox,
    provision_output,
    publish,
    quarantine,
    root,
    schemas,
    status,
    terminal,
)
from sinergi.cli import settings as settings_command
from sinergi.cli.destination import Destination, Output
from sinergi.cli.logs import set_up
from sinergi.cli.output import open_writer
from sinergi.cli.tables import ColumnKind, TableColumn, laid_out
from sinergi.exit_status import ExitStatus
from sinergi.provision.access import AccessAction, AccessStep
from sinergi.provision.plan import ProvisionPlan
from sinergi.provision.rights import AclEntry
from sinergi.provision.topics import TopicAction, TopicStep
from sinergi.settings.settings import SettingEntry
from sinergi.status import facts
from sinergi.status.judgement import judge
from sinergi_consumers.quarantine.admin import Quarantined, RecordedDecision
from sinergi_consumers.quarantine.retry import RetryOutcome
from sinergi_consumers.sinks.protocol import QuarantineKey as Retried
from sinergi_producers.outbox.pending import PendingRow
from sinergi_producers.recovery.lost_events import Settlement
from sinergi_producers.recovery.reading import Extent
from sinergi_producers.recovery.recovery import RecoveryPlan
from sinergi_producers.sources.files.field_sources import RowProblem
from sinergi_producers.sources.files.intake import FindingCounts, IntakeSummary
from sinergi_schemas import errors
from sinergi_schemas.plain_text import PATTERN, encodable, listing, plain, plain_lines
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Given = Callable[[Callable[..., None]], Callable[..., None]]

ROOT = Path(__file__).parents[1]
CLI = ROOT / "deploy/sinergi/cli"
NOW = datetime(2026, 3, 17, 6, 5, tzinfo=UTC)
EVENT = UUID("01989d00-0000-7000-8000-000000000001")
UNFOLDED = 1_000_000  # columns at which every row is one line
LONG = "sinergi.lembaga-pemasyarakatan-kelas-iia-banyuwangi.suspicious-visit"
NASTY = (
    "\x1b[2J\x1b]0;x\x07",
    "\x9b31m",
    "\u202eevil",
    "a\u2028b",
    "a\u2029b",
    "a\nb",
    "a\r\nb",
    "a\x85b",
    "[/b]",
    "[bold red]x[/]",
    "\ud800",
    "\U000e0041",
    "\u200b",
    "\x7f",
    ":smile:",
    "%s {0} {x}",
    "=1+1",
)
TEXTS = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=4).map("".join)


@contextmanager
def captured(encoding: str = "utf-8", *, columns: int | None = None) -> Iterator[Captured]:
    """The two streams as a process has them that writes into files."""
    found = Captured(encoding)
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "FORCE_COLOR"}}
    if columns:
        environment["COLUMNS"] = str(columns)
    with (
        patch.object(sys, "stdout", found.out),
        patch.object(sys, "stderr", found.err),
        patch.dict(os.environ, environment, clear=True),
    ):
        terminal.prepare()
        yield found
        found.out.flush()
        found.err.flush()


class Captured:
    """What was written."""

    def __init__(self, encoding: str) -> None:
        self.out, self.err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))

    @property
    def text(self) -> str:
        """All of it."""
        parts = (each.buffer.getvalue().decode(each.encoding) for each in (self.out, self.err))
        return "".join(parts)

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")[:-1]


def assert_plain(text: str) -> None:
    """Hold text to Unicode itself, and not to what the product takes for plain."""
    for character in set(text) - {"\n", " "}:
        kind = unicodedata.category(character)
        assert kind[0] not in "CZ" or kind == "Cn", f"{character!r} is {kind}"


# Text


def test_only_what_is_drawn_and_stays_in_its_place_is_shown_as_it_is() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        kind = unicodedata.category(character)
        is_drawn = kind[0] not in "CZ" or character == " "
        if plain(character) == character:
            assert is_drawn or kind == "Cn", hex(code)
        elif is_drawn:  # the other code points that are drawn as nothing
            assert kind in {"Mn", "Lo"}, hex(code)
            assert code in {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0} or (
                0x180B <= code <= 0x180F or 0xFE00 <= code <= 0xFE0F or code >= 0xE0100
            ), hex(code)


def test_polars_and_python_agree_on_what_is_plain() -> None:
    every = [chr(each) for each in range(sys.maxunicode + 1) if not 0xD800 <= each <= 0xDFFF]
    found = pl.Series(every).str.contains(PATTERN)
    assert [each != plain(each) for each in every] == found.to_list()


@given(TEXTS)
def test_json_stays_the_same_json(text: str) -> None:
    assert json.loads(plain(json.dumps(text, ensure_ascii=False))) == json.loads(json.dumps(text))


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252", "utf-16"])
@given(text=TEXTS)
def test_any_text_can_be_encoded(encoding: str, text: str) -> None:
    assert_plain(encodable(plain(text), encoding))


# Tables

WHAT = "its newest messages were cut off, or are being sent again by its owner"
COLUMNS = tuple(TableColumn(each.name.lower(), each) for each in ColumnKind)


@given(
    st.lists(st.lists(TEXTS, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=4),
    st.integers(20, 200),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_table_cuts_a_value_or_breaks_a_word(
    rows: list[list[str]], width: int, encoding: str
) -> None:
    lines = [
        "".join(each.text for each in line) for line in laid_out(COLUMNS, rows, width, encoding)
    ]
    whole = "\n".join(lines)
    assert_plain(whole)
    for row in rows:
        for text, column in zip(row, COLUMNS, strict=True):
            shown = encodable(plain(text), encoding)
            parts = shown.split(" ") if column.kind is ColumnKind.PROSE else [shown.strip(" ")]
            assert all(part in whole for part in parts)


def table(width: int, *topics: str) -> list[str]:
    columns = (
        TableColumn("topic", ColumnKind.HEADING),
        TableColumn("part.", ColumnKind.NUMBER),
        TableColumn("since"),
        TableColumn("what", ColumnKind.PROSE),
    )
    rows = [[topic, "0", "2026-03-17T06:05:00+07:00", WHAT] for topic in topics]
    return ["".join(each.text for each in line) for line in laid_out(columns, rows, width, "utf-8")]


def test_columns_that_fit_stand_beside_each_other() -> None:
    assert table(200, "sinergi.a.transfer") == [
        "topic               part.  since                      what",
        f"sinergi.a.transfer      0  2026-03-17T06:05:00+07:00  {WHAT}",
    ]


def test_columns_that_do_not_fit_stand_under_headings() -> None:
    assert table(80, f"{LONG}-one", f"{LONG}-two") == [
        f"{LONG}-one",
        "  part.  since                      what",
        "      0  2026-03-17T06:05:00+07:00  its newest messages were cut off, or are",
        "                                    being sent again by its owner",
        f"{LONG}-two",
        "  part.  since                      what",
        "      0  2026-03-17T06:05:00+07:00  its newest messages were cut off, or are",
        "                                    being sent again by its owner",
    ]


def test_a_narrow_terminal_gets_a_block_a_row() -> None:
    assert table(40, "sinergi.a.transfer") == [
        "topic  sinergi.a.transfer",
        "part.  0",
        "since  2026-03-17T06:05:00+07:00",
        "what   its newest messages were cut off,",
        "       or are being sent again by its",
        "       owner",
    ]


def test_a_value_that_is_too_long_for_its_column_stands_below_its_row() -> None:
    columns = (TableColumn("setting"), TableColumn("value"), TableColumn("from"))
    url = "postgresql://sdp_relay@db.lapas-rekaan.example/sdp?sslmode=verify-full"
    rows = [["agency", "lapas-rekaan", "default"], ["producer.database", url, "default"]]
    lines = ["".join(each.text for each in line) for line in laid_out(columns, rows, 80, "utf-8")]
    assert lines == [
        f"setting{' ' * 12}value{' ' * 49}from",
        f"agency{' ' * 13}lapas-rekaan{' ' * 42}default",
        f"producer.database{' ' * 56}default",
        f"    {url}",
    ]


def test_a_value_longer_than_a_block_stands_below_its_name() -> None:
    columns = (TableColumn("party"), TableColumn("key", ColumnKind.PROSE))
    lines = [*laid_out(columns, [["lapas", "k" * 30]], 20, "utf-8")]
    assert ["".join(each.text for each in line) for line in lines] == [
        "party  lapas",
        "key",
        f"  {'k' * 30}",
    ]


def tables() -> Iterator[tuple[str, tuple[TableColumn, ...]]]:
    """Every table of which the columns are a constant; `PRINTING` has the others."""
    for module in pkgutil.iter_modules([str(CLI)], "sinergi.cli."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, tuple) and value and isinstance(value[0], TableColumn):
                yield f"{module.name}.{name}", value


@pytest.mark.parametrize("length", [20, 40])
@pytest.mark.parametrize(("name", "columns"), [*tables()])
def test_a_table_of_ordinary_names_has_at_most_100_columns(
    name: str, columns: tuple[TableColumn, ...], length: int
) -> None:
    word = "n" * length
    texts = {ColumnKind.NUMBER: "1234567", ColumnKind.PROSE: " ".join([word] * 5)}
    rows = [[texts.get(each.kind, word) for each in columns]] * 2
    lines = ["".join(part.text for part in line) for line in laid_out(columns, rows, 100, "utf-8")]
    assert max(map(len, lines)) <= 100, name
    assert lines[0].strip(), name


# Every command that prints


def waiting_rows(text: str, topic: str) -> None:
    row = PendingRow(1, EVENT, topic.rpartition(".")[2], text, 1, NOW, backfill=False, held=text)
    with (
        patch.object(root, "settings"),
        patch(
            "sinergi_producers.outbox.pending.pending_rows",
            lambda *_: ([row, row._replace(id=2)], 2),
        ),
    ):
        outbox.list_(held=False, unsealed=False, limit=100, as_json=False)


def recovered(text: str, topic: str) -> None:
    extents = [Extent(topic, 0, 1, 2, 3), Extent(f"{topic}-two", 0, 1, 2, 3)]
    event = {
        "outcome": "forgotten",
        "event_type": "transfer",
        "record_id": text,
        "revision": 1,
        "event_id": str(EVENT),
        "leaf": 1,
        "partition": 2,
    }
    with patch.object(outbox, "_events", lambda _: [event]):
        outbox._show(RecoveryPlan(extents, Settlement(), []))


def provisioned(text: str, topic: str) -> None:
    steps = [
        TopicStep(f"{topic}-{number}", verdict, 1, 3, {}, f"cleanup.policy {text} → compact")
        for number, verdict in enumerate(TopicAction)
    ]
    entry = AclEntry(f"User:{text}", "TOPIC", topic, "LITERAL", "READ")
    access = [
        AccessStep("", entry.principal, each, action, text)
        for action in AccessAction
        for each in (entry, None)
    ]
    plan = ProvisionPlan("bus", "cluster", {}, (), steps, access)
    provision_output.show(plan, (), only_changes=False, as_json=False)


def quarantined(text: str, topic: str) -> Quarantined:
    return Quarantined(
        7,
        "open",
        "awaiting-schema",
        "grams_by_region",
        topic,
        0,
        12,
        EVENT,
        1,
        NOW,
        text,
        text,
        "00" * 32,
        1_234,
        kept=False,
    )


def quarantine_listed(text: str, topic: str) -> None:
    rows = [quarantined(text, topic), quarantined(text, f"{topic}-two")]
    terminal.show_table(quarantine._LISTED, map(quarantine._cells, rows))


def quarantine_shown(text: str, topic: str) -> None:
    row = quarantined(text, topic)
    told = {
        "decisions": [RecordedDecision("retry", text, text, text, NOW)],
        "key": "00",
        "datum": "00",
    }
    quarantine._show(row, told)


def quarantine_retried(text: str, topic: str) -> None:
    outcome = RetryOutcome(
        Retried("p", TopicPartition("sinergi.a.transfer", 0), 1), "rows-refused", f"{topic} {text}"
    )
    quarantine._show_outcomes([(1, outcome)], as_json=False)


def replayed(text: str, topic: str) -> None:
    events = pl.DataFrame(
        {
            "recorded_at": [NOW, NOW],
            "zone": ["Asia/Jakarta", text.replace("\ud800", "")],
            "agency": [topic.split(".")[1]] * 2,
            "record_id": [text.replace("\ud800", "")] * 2,
            "revision": [1, 2],
            "action": ["RECORDED", "CORRECTED"],
            "partition": [0, 0],
            "leaf_index": [1, 2],
        }
    )
    with open_writer(Destination(Output.TABLE), ["transfer"]) as writer:
        writer.add(Topic(topic.split(".")[1], "transfer"), events)
        writer.finish({})


def set_to(text: str, topic: str) -> None:
    class Found:
        file = text

        @staticmethod
        def entries() -> list[SettingEntry]:
            return [SettingEntry("keys", f"/srv/{text}", topic)]

    with patch.object(root, "settings", Found):
        settings_command.settings(as_json=False)


def state(text: str, topic: str) -> None:
    trees = (facts.Tree(0, 1_234_567, 1_234_000, 200.0), facts.Tree(1, 1, 1, 0.0))
    share = facts.ReadPartition(
        0, 5, 9, {"p": 1}, 300.0, text, {text: 2}, facts.Halt("gap", text, NOW, NOW)
    )
    names = [topic, f"{topic}-two"]
    published = tuple(
        facts.PublishedTopic(n, 2, 1, 3, 4, NOW, 99.0, {text: 1}, trees) for n in names
    )
    read = tuple(facts.ReadTopic(n, 1, 1, NOW, text, (share, share)) for n in names)
    found = facts.Facts(
        "lapas-rekaan",
        NOW,
        facts.PublisherFacts(facts.LeaseFacts(text, NOW, is_held=True), published),
        facts.ReaderFacts(text, 1, read),
        (facts.Away(facts.FactSource.BROKER, text, text),),
        (),
    )
    status._print(found, judge(found))


def taken_in(text: str, topic: str) -> None:
    tally = FindingCounts()
    tally.add(RowProblem(text, text, (topic, text)), 12)
    publish._show(IntakeSummary(lines=1, refused=1, refusals=tally, warnings=tally), dry_run=False)


def schemas_shown(text: str, topic: str) -> None:
    terminal.show_table(schemas._FIELDS, [[topic, text, "yes", text]])


PRINTING = [
    waiting_rows,
    recovered,
    provisioned,
    quarantine_listed,
    quarantine_shown,
    quarantine_retried,
    replayed,
    set_to,
    state,
    taken_in,
    schemas_shown,
]


@pytest.mark.parametrize("printing", PRINTING)
@given(text=TEXTS, encoding=st.sampled_from(["utf-8", "iso-8859-1", "ascii"]))
@example(text="".join(NASTY), encoding="utf-8")
def test_no_text_is_obeyed_by_a_terminal_whichever_command_shows_it(
    printing: Callable[[str, str], None], text: str, encoding: str
) -> None:
    with captured(encoding, columns=UNFOLDED) as plainly:
        printing("x" if text else "", LONG)
    with captured(encoding, columns=UNFOLDED) as found:
        printing(text, LONG)
    assert_plain(found.text)
    assert len(found.lines) == len(plainly.lines)  # a line of its own nobody gets


@pytest.mark.parametrize("columns", [None, 80, 100])
@pytest.mark.parametrize("printing", PRINTING)
def test_at_80_and_at_100_columns_nothing_is_cut_or_broken(
    printing: Callable[[str, str], None], columns: int | None
) -> None:
    """In a file or a pipe, where nothing says how wide it is, it has 100 columns."""
    text = (
        "held since the agreement ended at 2026-03-17T06:05:00+07:00, ask the parties for another"
    )
    with captured(columns=UNFOLDED) as plainly:
        printing(text, LONG)
    with captured(columns=columns) as found:
        printing(text, LONG)
    over_headings = {"topic", "record", "principal", "agency"}  # where no name stands
    words = set(plainly.text.split()) - over_headings
    assert words <= set(found.text.split())
    # The first three say more than tables, and a plan has in a pipe one line for each right.
    if printing not in {quarantine_shown, state, set_to, provisioned}:
        too_long = [each for each in found.lines if len(each) > (columns or 100)]
        assert [each for each in too_long if text not in each] == []


# Events for programs


def written(events: pl.DataFrame, path: Path, **options: Any) -> str:
    with open_writer(Destination(path=path, force=True, **options), ["transfer"]) as writer:
        for part in (events[:1], events[1:]):
            writer.add(Topic("lapas-rekaan", "transfer"), part)
        writer.finish({})
    return path.read_text("utf-8")


def of_texts(texts: list[str]) -> pl.DataFrame:
    whole = [each.replace("\ud800", "") for each in texts]
    lists = [[{"note": each, "count": 1}] for each in whole]
    return pl.DataFrame({"text": whole, "list": lists, "number": [-1] * len(whole)})


@settings(max_examples=30)
@given(st.lists(TEXTS, min_size=1, max_size=3))
@example(list(NASTY))
def test_ndjson_is_exact_and_csv_a_line_an_event(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    events, path = of_texts(texts), tmp_path_factory.getbasetemp() / "events"
    ndjson = written(events, path, output=Output.NDJSON)
    assert_plain(ndjson)
    assert [json.loads(each) for each in ndjson.split("\n")[:-1]] == events.to_dicts()
    for for_spreadsheets in (False, True):
        text = written(events, path, output=Output.CSV, for_spreadsheets=for_spreadsheets)
        assert_plain(text)
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) == len(text.split("\n")) - 1 == len(texts) + 1
        for (shown, number, listed), row in zip(rows[1:], events.to_dicts(), strict=True):
            assert json.loads(listed) == row["list"]
            assert number == "-1"
            assert shown.removeprefix("'" if for_spreadsheets else "") == plain(row["text"]) or (
                shown == plain(row["text"])
            )
            assert not for_spreadsheets or shown[:1] not in set("=+-@\t\r\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+62 811", "'+62 811"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "'=1"),
        ("1=1", "1=1"),
        ("\t=1", "\\u0009=1"),
    ],
)
def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path, text: str, cell: str) -> None:
    events, path = pl.DataFrame({"text": [text]}), tmp_path / "events.csv"
    assert written(events, path, output=Output.CSV) == f"text\n{plain(text)}\n"
    safe = written(events, path, output=Output.CSV, for_spreadsheets=True)
    assert next(csv.reader(safe.splitlines()[1:])) == [cell]
    with (
        pytest.raises(errors.ReplayRefused, match="--spreadsheet-safe goes with --output csv"),
        open_writer(Destination(Output.NDJSON, path, for_spreadsheets=True), ["transfer"]),
    ):
        pass


# Errors, logs and the streams


def filled(kind: type[errors.SinergiError], text: str) -> errors.SinergiError:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name == "listing":
            values[each.name] = listing([text])
        else:
            values[each.name] = {str: text, int: 3}.get(hints[each.name], (text,))
    return kind(**values)


@settings(max_examples=10)
@given(TEXTS)
@example("".join(NASTY))
def test_no_error_is_obeyed_by_a_terminal(text: str) -> None:
    kinds = [*reference.kinds(errors.SinergiError)]
    assert len(kinds) > 60
    with captured() as found:
        for kind in kinds:
            said = str(filled(kind, text))
            assert said.count("\n") == said.count("\n  ") == ("listing" in get_type_hints(kind))
            root._report(said)
    assert_plain(found.text)


@pytest.mark.parametrize("as_json", [True, False])
@given(text=TEXTS)
@example(text="".join(NASTY))
def test_no_log_is_obeyed_by_a_terminal(*, as_json: bool, text: str) -> None:
    with captured() as found:
        set_up("debug", as_json=as_json)
        log = structlog.get_logger()
        log.warning(
            text, said=text, listed=[text], named={text: text}, data=text.encode("utf-8", "replace")
        )
        log.warning("refused", why=ValueError(text), path=Path(text.replace("\0", "")))
    assert_plain(found.text)
    assert len(found.lines) == 2


def test_a_log_shows_an_error_of_several_lines_on_one_and_escapes_nothing_twice() -> None:
    problems = listing(["a.toml: bus: bad\x1b", "a.toml: title: it's"])
    why = errors.AgreementRefused("a.toml", problems)
    with captured() as found:
        set_up("debug", as_json=False)
        structlog.get_logger().warning("refused", why=str(why))
    shown = "a.toml: bus: bad\\u001b; a.toml: title: it's"
    assert found.lines[0].endswith(f'why="a.toml cannot be used as an agreement: {shown}"')


@given(TEXTS)
def test_no_argument_of_ours_is_taken_for_markup(text: str) -> None:
    for words in ([text], ["--log-level", text], ["replay", text], ["schemas", "show", text]):
        with captured() as found:
            assert root.run(["--config", "/dev/null", *words]) in {0, 2}
        assert "this is a bug" not in found.text


def test_every_command_prints_through_the_one_module() -> None:
    allowed = {
        "local.py": {"Console"},  # handed on to what shows a bar
        "logs.py": {"sys.stderr"},
        "native_output.py": {"sys.stderr"},  # another descriptor for it
        "output.py": {"sys.stdout"},  # its encoding
        "stop_signals.py": {"sys.stderr"},  # before anything is loaded
        "terminal.py": {"Console", "Progress", "sys.stdout", "sys.stderr"},
    }
    for path in sorted(CLI.glob("*.py")):
        found = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        direct = {
            "print",
            "typer.echo",
            "click.echo",
            "Console",
            "Table",
            "sys.stdout",
            "sys.stderr",
        }
        assert found & direct <= allowed.get(path.name, set()), path.name


ENCODINGS = [
    {"PYTHONIOENCODING": "iso-8859-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp037"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
]


def sinergi(
    folder: Path, environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SINERGI_", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "sinergi", *words],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "environment", ENCODINGS, ids=lambda each: " ".join(map("=".join, each.items()))
)
def test_no_output_encoding_ends_a_command_half_done(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    encoding = environment.get("PYTHONIOENCODING", "ascii")
    made = sinergi(
        tmp_path, environment, "init", "--agency", "bnnk-x", "--bus", "a.b", "--folder", "ö…"
    )
    assert (made.returncode, b"Error" in made.stderr) == (0, False)
    assert "[parties.bnnk-x]" in made.stdout.decode(encoding, "replace")
    (folder,) = tmp_path.iterdir()
    assert sorted(each.name for each in folder.iterdir()) == ["agreements", "keys", "sinergi.toml"]
    config = str(folder / "sinergi.toml")
    assert sinergi(tmp_path, environment, "--config", config, "settings").returncode == 0
    assert sinergi(tmp_path, environment, "--help").returncode == 0


def test_a_schema_is_shown_byte_by_byte_in_every_encoding(tmp_path: Path) -> None:
    shown = sinergi(
        tmp_path, {"PYTHONIOENCODING": "ascii"}, "schemas", "show", "seizure/1", "--raw"
    )
    assert shown.stdout == (ROOT / "schemas/sinergi_schemas/avro/seizure/1.avsc").read_bytes()


@pytest.mark.parametrize("words", [["schemas", "list"], ["schemas", "show", "seizure"], ["--help"]])
def test_a_full_disk_is_told_and_is_no_bug(tmp_path: Path, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sinergi", *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    why = b"No space left on device"
    said = b"sinergi: standard output cannot be written (%b); send it elsewhere.\n" % why
    assert (done.returncode, done.stderr) == (ExitStatus.ERROR, said)


def test_a_terminal_gets_styles_of_ours_and_of_nobody_else(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"SINERGI_KEYS": "/[bold red]\x1b[2J\u202e[/b]", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "sinergi", "settings"], cwd=tmp_path, stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[1m" in shown  # the heads of the columns
    assert b"/[bold red]\\u001b[2J\\u202e[/b]" in shown
    assert b"\x1b[2J" not in shown


def _read(terminal_side: int) -> bytes:
    try:
        return os.read(terminal_side, 65_536)
    except OSError:  # Linux says so of a terminal whose other end is closed
        return b""


def test_lines_of_ours_keep_their_line_feeds_and_nothing_else() -> None:
    assert plain_lines("a\nb\r\u2028c") == "a\nb\\u000d\\u2028c"
