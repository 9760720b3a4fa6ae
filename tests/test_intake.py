"""Files by a mapping: each valid line is published once, each other one reported, not quoted."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import tomli_w

from signed_agreement import write_signed
from sinergi.cli import publish as publish_command
from sinergi.cli import root
from sinergi.migrate import Role, upgrade
from sinergi_producers.outbox.publishing import Outbox, Published
from sinergi_producers.sources.files.intake import (
    BATCH,
    Intake,
    IntakeSummary,
    Publish,
    backfill_into,
)
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_producers.sources.files.refusals import RefusedLines
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.errors import (
    ActionRefused,
    DatabaseAway,
    EventsRefused,
    InputChanged,
    InputRefused,
    IntakeNotBegun,
    IntakeStopped,
    MappingRefused,
    NotAgreed,
    OutputExists,
    OutputRefused,
    RowsRefused,
)
from sinergi_schemas.seal.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sinergi_schemas.events import Event

HEADER = "Nomor,Tanggal,Asal,Tujuan,Tindakan"
MAPPING = {
    "event_type": "transfer",
    "fields": {
        "record_id": "Nomor",
        "action": "Tindakan",
        "purpose": {"constant": "STATISTICS"},
        "handling": {"constant": "B"},
        "zone": {"constant": "Asia/Jakarta"},
        "occurred_at": {"column": "Tanggal", "format": "%d/%m/%Y"},
        "departed_at": {"column": "Tanggal", "format": "%d/%m/%Y"},
        "origin": {"name": "Asal"},
        "destination": {"name": "Tujuan"},
        "reason": {"constant": "OTHER"},
    },
}


def no_bar(_done: int, _of: int) -> None:
    """Nobody watches."""


class FakeOutbox:
    """An outbox without a database: it keeps events by id and refuses what it is told to."""

    def __init__(self, *refused: str, limit: int | None = None) -> None:
        self.events: dict[object, Event] = {}
        self.calls = 0
        self.limit = limit
        self.refused = set(refused)

    def __call__(self, events: Sequence[Event]) -> list[Published]:
        self.calls += 1
        if self.limit is not None and self.calls > self.limit:
            raise DatabaseAway("57P01")
        for place, event in enumerate(events):
            if event.record_id in self.refused:
                why = ActionRefused("RECORDED", "the record exists already")
                raise EventsRefused(place, str(why)) from why
        done = [Published(event, is_new=event.event_id not in self.events) for event in events]
        self.events |= {event.event_id: event for event in events}
        return done


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    path = tmp_path / "mapping.toml"
    path.write_text(tomli_w.dumps(MAPPING))
    return Mapping.load(path)


@pytest.fixture
def register(tmp_path: Path) -> Path:
    return tmp_path / "register.csv"


def write(path: Path, *rows: str) -> None:
    path.write_text("\n".join((HEADER, *rows)))


def good(number: str, day: str = "2/7/2018") -> str:
    return f"{number},{day},Lapas Rekaan,Rutan Rekaan,RECORDED"


def take_in(mapping: Mapping, path: Path, publish: Publish | None) -> IntakeSummary:
    with RefusedLines(path.with_suffix(".refused"), force=True) as refused:
        summary = Intake(mapping, publish, refused).run(path, no_bar)
    assert summary.lines == (summary.published + summary.already + summary.refused + summary.ready)
    return summary


def told(path: Path) -> list[dict[str, Any]]:
    text = path.with_suffix(".refused").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# What becomes of the lines


def test_each_line_is_published_or_refused_with_all_its_reasons(
    mapping: Mapping, register: Path
) -> None:
    write(
        register,
        good("1"),
        "2,2018-07-02,Lapas Rekaan,,RECORDED",
        "3,2/7/2018,Lapas Rekaan",
        ",,,,",
        "4,2/7/2018,Lapas Rekaan,Lapas Rekaan,RECORDED",
        good("5"),
    )
    fake_outbox = FakeOutbox()
    summary = take_in(mapping, register, fake_outbox)
    assert (summary.lines, summary.published, summary.refused) == (5, 3, 2)
    assert (summary.warned, summary.blank) == (1, 1)
    assert [event.record_id for event in fake_outbox.events.values()] == ["1", "4", "5"]
    form = "not a date of the form %d/%m/%Y"
    assert told(register) == [
        {
            "line": 3,
            "problems": [
                {"field": "occurred_at", "rule": form, "columns": ["Tanggal"]},
                {"field": "departed_at", "rule": form, "columns": ["Tanggal"]},
                {"field": "destination", "rule": "is required", "columns": ["Tujuan"]},
            ],
        },
        {
            "line": 4,
            "problems": [
                {"field": "", "rule": "3 cells where the header has 5", "columns": []},
            ],
        },
    ]
    (warning,) = summary.warnings.findings()
    assert (warning.problem.field, warning.count, warning.lines) == ("destination", 1, (6,))


def test_no_cell_of_a_refused_line_is_repeated_anywhere(mapping: Mapping, register: Path) -> None:
    secrets = ["NomorRahasia", "HariRahasia", "AsalRahasia\x07", "TujuanRahasia", "AksiRahasia"]
    write(register, ",".join(secrets))
    summary = take_in(mapping, register, FakeOutbox())
    assert summary.refused == 1
    seen = json.dumps(summary.document()) + register.with_suffix(".refused").read_text()
    assert not any(secret[:10] in seen for secret in secrets)


def test_a_second_run_publishes_nothing(mapping: Mapping, register: Path) -> None:
    write(register, *(good(str(number)) for number in range(2500)))
    fake_outbox = FakeOutbox()
    assert take_in(mapping, register, fake_outbox).published == 2500
    again = take_in(mapping, register, fake_outbox)
    assert (again.published, again.already) == (0, 2500)
    assert len(fake_outbox.events) == 2500


def test_rows_that_equal_each_other_are_each_an_event(tmp_path: Path, register: Path) -> None:
    fields = {**MAPPING["fields"], "record_id": {"template": "{@digest}-{@line}"}}  # type: ignore[dict-item]
    path = tmp_path / "mapping.toml"
    path.write_text(tomli_w.dumps({**MAPPING, "fields": fields}))
    write(register, *[good("same")] * 300)
    mapping = Mapping.load(path)
    document = tomli_w.dumps({**MAPPING, "fields": fields, "file": {"ignore": ["Nomor"]}})
    path.write_text(document)
    fake_outbox = FakeOutbox()
    assert take_in(mapping, register, fake_outbox).unmapped == ("Nomor",)
    assert take_in(Mapping.load(path), register, fake_outbox).unmapped == ()
    assert len({event.record_id for event in fake_outbox.events.values()}) == 300


def test_an_intake_that_was_stopped_goes_on_where_it_stopped(
    mapping: Mapping, register: Path
) -> None:
    write(register, *(good(str(number)) for number in range(3500)))
    fake_outbox = FakeOutbox(limit=2)
    with pytest.raises(IntakeStopped, match=r"up to line 2001 .*57P01"):
        take_in(mapping, register, fake_outbox)
    assert len(fake_outbox.events) == 2 * BATCH
    fake_outbox.limit = None
    summary = take_in(mapping, register, fake_outbox)
    assert (summary.published, summary.already) == (1500, 2000)


def test_what_the_outbox_refuses_costs_only_its_own_lines(mapping: Mapping, register: Path) -> None:
    write(register, *(good(str(number)) for number in range(2000)))
    fake_outbox = FakeOutbox("0", "700", "701", "1999")
    summary = take_in(mapping, register, fake_outbox)
    assert (summary.published, summary.refused) == (1996, 4)
    assert [each["line"] for each in told(register)] == [2, 702, 703, 2001]
    assert fake_outbox.calls < 20


def test_what_the_database_refuses_costs_only_its_own_lines(
    mapping: Mapping, register: Path
) -> None:
    class Database(FakeOutbox):
        def __call__(self, events: Sequence[Event]) -> list[Published]:
            if any(event.record_id in {"7", "700"} for event in events):
                self.calls += 1
                raise RowsRefused("23514", "outbox, record_id")
            return super().__call__(events)

    write(register, *(good(str(number)) for number in range(1000)))
    fake_outbox = Database()
    summary = take_in(mapping, register, fake_outbox)
    assert (summary.published, summary.refused) == (998, 2)
    assert [each["line"] for each in told(register)] == [9, 702]
    rule = "the database refuses it (SQLSTATE 23514, outbox, record_id)"
    assert told(register)[0]["problems"][0]["rule"] == rule
    assert fake_outbox.calls < 50


def test_a_batch_refused_throughout_is_not_tried_a_thousand_times_whole(
    mapping: Mapping, register: Path
) -> None:
    everything = [str(number) for number in range(BATCH)]
    write(register, *map(good, everything))
    fake_outbox = FakeOutbox(*everything)
    assert take_in(mapping, register, fake_outbox).refused == BATCH
    assert fake_outbox.calls == BATCH


def test_a_trial_run_publishes_nothing_and_says_the_same(mapping: Mapping, register: Path) -> None:
    write(register, good("1"), good("2", "never"))
    summary = take_in(mapping, register, None)
    assert (summary.ready, summary.refused, summary.published) == (1, 1, 0)
    assert [each["line"] for each in told(register)] == [3]


def test_a_file_that_grows_meanwhile_stops_the_intake(mapping: Mapping, register: Path) -> None:
    write(register, *(good(str(number)) for number in range(1500)))
    fake_outbox = FakeOutbox()

    def grow(_done: int, _of: int) -> None:
        with register.open("a") as file:
            file.write("\n" + good("late"))

    with RefusedLines(None) as refused, pytest.raises(InputChanged):
        Intake(mapping, fake_outbox, refused).run(register, grow)
    assert len(fake_outbox.events) == BATCH


def test_a_mapping_for_another_file_publishes_nothing(mapping: Mapping, register: Path) -> None:
    register.write_text("Nomer,Tanggal,Asal,Tujuan\n" + good("1"))
    fake_outbox = FakeOutbox()
    with pytest.raises(MappingRefused, match=r"'Nomor'.*did you mean Nomer"):
        take_in(mapping, register, fake_outbox)
    assert fake_outbox.calls == 0


# Numbers that a spreadsheet has rounded


def with_niks(tmp_path: Path, register: Path, niks: Sequence[str]) -> IntakeSummary:
    inmate = {"role": {"constant": "CONVICT"}, "name": "Nama", "nik": "NIK"}
    fields = {**MAPPING["fields"], "inmate": inmate}  # type: ignore[dict-item]
    path = tmp_path / "mapping.toml"
    path.write_text(tomli_w.dumps({**MAPPING, "fields": fields}))
    lines = [f"{good(str(number))},Contoh,{nik}" for number, nik in enumerate(niks)]
    register.write_text("\n".join((f"{HEADER},Nama,NIK", *lines)))
    return take_in(Mapping.load(path), register, None)


def true_niks(count: int) -> list[str]:
    return [f"99999901019{number % 100:02}{1 + number // 100:03}" for number in range(count)]


@pytest.mark.parametrize("spared", [0, 5])
def test_a_file_with_niks_that_nearly_all_end_in_0_is_refused_before_anything_is_published(
    tmp_path: Path, register: Path, capsys: pytest.CaptureFixture[str], spared: int
) -> None:
    niks = true_niks(100)
    niks = [*niks[:spared], *(f"{nik[:10]}{at:05}0" for at, nik in enumerate(niks[spared:]))]
    summary = with_niks(tmp_path, register, niks)
    assert summary.rounded == ("NIK",)
    assert summary.document()["rounded"] == ["NIK"]
    assert summary.warned == 100
    assert command(register, "-m", tmp_path / "mapping.toml", "--dry-run") == 2
    assert "in the column 'NIK'; write the file anew" in " ".join(capsys.readouterr().err.split())
    fake_outbox = FakeOutbox()
    with pytest.raises(InputRefused, match=r"'NIK'.* file\.accept_rounded"):
        take_in(Mapping.load(tmp_path / "mapping.toml"), register, fake_outbox)
    assert fake_outbox.calls == 0


def test_rounded_niks_are_published_where_the_mapping_accepts_them_and_each_is_counted(
    tmp_path: Path, register: Path
) -> None:
    with_niks(tmp_path, register, [f"{nik[:15]}0" for nik in true_niks(10)])
    path = tmp_path / "mapping.toml"
    path.write_text(path.read_text() + '\n[file]\naccept_rounded = ["NIK"]\n')
    summary = take_in(Mapping.load(path), register, FakeOutbox())
    assert (summary.published, summary.warned, summary.rounded) == (10, 10, ("NIK",))
    rules = [each.problem.rule for each in summary.warnings.findings()]
    assert "column 'NIK' holds a number that a spreadsheet may have rounded" in rules
    path.write_text(path.read_text().replace('["NIK"]', '["NIC"]'))
    with pytest.raises(MappingRefused, match="no field is read from column 'NIC'"):
        take_in(Mapping.load(path), register, FakeOutbox())


@pytest.mark.parametrize(
    "niks",
    [
        [f"999999010190{number:04}" for number in range(1, 200)],
        ["9999990101900010"] * 50,
        ["9999990101900010", "9999990101900020"],
        [""] * 20,
    ],
    ids=["as they are given out", "one person's", "two", "none"],
)
def test_a_column_of_niks_of_which_some_end_in_0_is_not_warned_of(
    tmp_path: Path, register: Path, niks: list[str]
) -> None:
    assert with_niks(tmp_path, register, niks).rounded == ()


# The file of refused lines


def test_the_file_of_refused_lines_is_of_the_last_run_that_may_replace_it(
    mapping: Mapping, register: Path
) -> None:
    path = register.with_suffix(".refused")
    write(register, good("1"), good("2"))
    take_in(mapping, register, FakeOutbox())
    assert not path.exists()
    write(register, good("1"), good("2", "never"))
    take_in(mapping, register, FakeOutbox())
    assert len(told(register)) == 1
    with pytest.raises(OutputExists, match="already exists"), RefusedLines(path):
        raise AssertionError
    assert len(told(register)) == 1
    write(register, good("1"), good("2"))
    take_in(mapping, register, FakeOutbox())
    assert told(register) == []


def test_an_intake_that_stops_leaves_the_file_of_refused_lines_as_it_was(
    mapping: Mapping, register: Path
) -> None:
    """So that the same command goes on, and tells all of them."""

    def stopped(_done: int, _size: int) -> None:
        raise KeyboardInterrupt

    path = register.with_suffix(".refused")
    write(register, good("1", "never"))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), RefusedLines(path) as refused:
            Intake(mapping, FakeOutbox(), refused).run(register, stopped)
        assert sorted(register.parent.iterdir()) == sorted([mapping.path, register])


def test_a_file_that_cannot_be_written_is_named(
    mapping: Mapping, register: Path, tmp_path: Path
) -> None:
    write(register, good("1"), good("2", "never"))
    fake_outbox = FakeOutbox()
    with (
        pytest.raises(OutputRefused, match="none/refused cannot be written"),
        RefusedLines(tmp_path / "none" / "refused") as refused,
    ):
        Intake(mapping, fake_outbox, refused).run(register, no_bar)
    assert fake_outbox.calls == 0


# The command


def command(*arguments: object) -> int:
    return root.run(["publish", *map(str, arguments)])


def test_a_trial_run_needs_no_settings_and_tells_by_its_status(
    mapping: Mapping, register: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(register, good("1"), good("2"))
    assert command(register, "--mapping", mapping.path, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ready"] == 2
    write(register, good("1"), good("2", "never"))
    assert command(register, "--mapping", mapping.path, "--dry-run") == 1
    shown = capsys.readouterr()
    assert "not a date of the form" in " ".join(shown.out.split())
    assert "sinergi: 1 refused line; --refused FILE lists each of them" in shown.err
    assert sorted(register.parent.iterdir()) == sorted([mapping.path, register])
    lines = register.with_name("lines.ndjson")
    assert command(register, "-m", mapping.path, "--dry-run", "--refused", lines) == 1
    assert f"sinergi: 1 refused line in {lines}\n" in capsys.readouterr().err
    assert json.loads(lines.read_text())["line"] == 3


def test_what_cannot_be_done_is_one_clear_line_and_status_2(
    mapping: Mapping, register: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(register, good("1"))
    for arguments, said in (
        ((register.with_name("none.csv"), "-m", mapping.path, "--dry-run"), "No such file"),
        ((register, "-m", register, "--dry-run"), "it is not TOML"),
        ((register, "-m", mapping.path), "producer.database"),
        ((register, "-m", mapping.path, "--dry-run", "--refused", register), "would replace it"),
    ):
        assert command(*arguments) == 2
        shown = capsys.readouterr()
        assert said in shown.err
        assert shown.out == ""
    assert register.read_text().endswith(good("1"))


def test_a_trial_run_refuses_a_record_that_a_file_records_twice(
    mapping: Mapping, register: Path
) -> None:
    corrected = good("1").replace("RECORDED", "CORRECTED")
    write(register, good("1"), good("2"), good("1"), corrected, good("3"))
    summary = take_in(mapping, register, None)
    assert (summary.ready, summary.refused) == (4, 1)
    (line,) = told(register)
    assert (line["line"], line["problems"][0]["field"]) == (4, "action")


def settings_of(tmp_path: Path, purpose: str) -> Path:
    outbox(tmp_path / "agreements", purpose=purpose)
    config = tmp_path / "sinergi.toml"
    config.write_text('agency = "lapas-rekaan"\n')
    return config


def test_a_trial_run_checks_agreement_and_purposes_where_there_are_settings(
    mapping: Mapping,
    register: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(register, good("1"))
    assert command(register, "-m", mapping.path, "--dry-run") == 0
    assert "not checked: the agreement and its purposes" in capsys.readouterr().err
    config = settings_of(tmp_path, "INVESTIGATION")
    monkeypatch.setenv("SINERGI_CONFIG", str(config))
    assert command(register, "-m", mapping.path, "--dry-run") == 1
    shown = capsys.readouterr()
    assert "for INVESTIGATION" in " ".join(shown.out.split())
    assert "sinergi: not checked: what the database holds already" in shown.err
    config.write_text('agency = "bnnk-rekaan"\n')
    assert command(register, "-m", mapping.path, "--dry-run") == 2
    assert "No agreement in force covers" in capsys.readouterr().err


def test_a_wrong_password_says_that_nothing_was_published_and_names_the_setting(
    mapping: Mapping, register: Path
) -> None:
    write(register, good("1"))
    with pytest.raises(IntakeNotBegun, match=r"Nothing of .*setting `producer\.database`"):
        take_in(mapping, register, FakeOutbox(limit=0))


def test_ctrl_c_says_up_to_which_line_the_file_is_published(
    mapping: Mapping,
    register: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(register, *(good(str(number)) for number in range(BATCH + 1)))
    fake_outbox = FakeOutbox()

    def stopped(events: Sequence[Event]) -> list[Published]:
        if fake_outbox.calls == 1:
            raise KeyboardInterrupt
        return fake_outbox(events)

    @contextmanager
    def opened(*, dry_run: bool) -> Iterator[tuple[Publish, None]]:
        assert not dry_run
        yield stopped, None

    monkeypatch.setattr(publish_command, "_outbox", opened)
    assert command(register, "-m", mapping.path) == 130
    assert f"is published up to line {BATCH + 1};" in capsys.readouterr().err


def test_a_title_above_the_header_is_one_line_that_names_the_key(
    mapping: Mapping, register: Path
) -> None:
    header = f"{HEADER}\n{good('1')}"
    for first, said in (
        ("Daftar mutasi,,,,", "set file.header_line = 2"),
        ("sep=,", "set file.header_line = 2"),
        ("sep=;", 'set file.delimiter = ";" and file.header_line = 2'),
    ):
        register.write_text(f"{first}\n{header}")
        with pytest.raises(InputRefused) as refused:
            take_in(mapping, register, None)
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("begins", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_a_spreadsheet_is_named_as_one(mapping: Mapping, register: Path, begins: bytes) -> None:
    register.write_bytes(begins + b"\0" * 100)
    with pytest.raises(InputRefused, match="it is a spreadsheet; save it as CSV"):
        take_in(mapping, register, None)


def test_a_file_of_windows_names_the_key_of_its_encoding(mapping: Mapping, register: Path) -> None:
    row = good("1").replace("Rutan", "Rutan \u201cA\u201d")
    register.write_bytes(f"{HEADER}\n{row}".encode("windows-1252"))
    assert take_in(mapping, register, None).refused == 1
    assert 'set file.encoding, such as "windows-1252"' in told(register)[0]["problems"][0]["rule"]


# Into a real outbox


@pytest.fixture
def engine(postgresql: str) -> Iterator[sa.Engine]:
    upgrade(postgresql, Role.PRODUCER)
    engine = sa.create_engine(postgresql)
    yield engine
    engine.dispose()


def outbox(folder: Path, agency: str = "lapas-rekaan", purpose: str = "STATISTICS") -> Outbox:
    """The outbox of an agency under an agreement that covers the transfers of lapas-rekaan."""
    parties = ("lapas-rekaan", "bnnk-rekaan")
    keys = {party: SigningKey.generate(f"bus.example/{party}") for party in parties}
    today = SYSTEM.now().date()
    agreement = {
        "bus": "bus.example",
        "title": "Rekaan",
        "legal_basis": ["Rekaan"],
        "numbers": [{"party": party, "number": "1"} for party in parties],
        "in_force": {
            "from": today - timedelta(days=2),
            "until": date(2999, 1, 1),
            "zone": "Asia/Jakarta",
        },
        "parties": {
            party: {
                "name": party,
                "keys": [str(keys[party].public)],
                "receipt_keys": [],
            }
            for party in parties
        },
        "events": {
            "transfer": {
                "publishers": ["lapas-rekaan"],
                "readers": ["bnnk-rekaan"],
                "purposes": [purpose],
                "partitions": 2,
            }
        },
    }
    folder.mkdir()
    write_signed(folder / "rekaan.toml", agreement, keys.values())
    return Outbox(agency, Agreements.load(folder), Catalog.shipped())


def test_lines_become_backfill_in_the_outbox_exactly_once(
    mapping: Mapping, register: Path, engine: sa.Engine, tmp_path: Path
) -> None:
    write(register, *(good(str(number)) for number in range(1200)), good("bad", "never"))
    publish = backfill_into(outbox(tmp_path / "agreements"), engine)
    first = take_in(mapping, register, publish)
    second = take_in(mapping, register, publish)
    assert (first.published, first.already, first.refused) == (1200, 0, 1)
    assert (second.published, second.already, second.refused) == (0, 1200, 1)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT count(*), count(DISTINCT event_id), bool_and(backfill)"
                " FROM sinergi_producer.outbox"
            )
        ).one()
    assert tuple(rows) == (1200, 1200, True)


def test_a_record_told_twice_in_a_file_refuses_its_second_line(
    mapping: Mapping, register: Path, engine: sa.Engine, tmp_path: Path
) -> None:
    corrected = good("1").replace("RECORDED", "CORRECTED")
    write(register, good("1"), good("2"), good("1"), corrected, good("3"))
    summary = take_in(mapping, register, backfill_into(outbox(tmp_path / "agreements"), engine))
    assert (summary.published, summary.refused) == (4, 1)
    (line,) = told(register)
    assert line["line"] == 4
    assert line["problems"][0]["field"] == "action"
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY 1, 2")
        ).all()
    assert [tuple(row) for row in rows] == [("1", 1), ("1", 2), ("2", 1), ("3", 1)]


def test_lines_read_anew_by_another_mapping_are_refused_not_passed_over(
    mapping: Mapping, register: Path, engine: sa.Engine, tmp_path: Path
) -> None:
    write(register, good("1"), good("2"))
    publish = backfill_into(outbox(tmp_path / "agreements"), engine)
    take_in(mapping, register, publish)
    changed = mapping.path.read_text().replace('"OTHER"', '"HEALTH"')
    mapping.path.write_text(changed)
    summary = take_in(Mapping.load(mapping.path), register, publish)
    assert (summary.published, summary.already, summary.refused) == (0, 0, 2)
    assert "another mapping" in told(register)[0]["problems"][0]["rule"]


def test_without_an_agreement_nothing_is_published(
    mapping: Mapping, register: Path, engine: sa.Engine, tmp_path: Path
) -> None:
    write(register, good("1"))
    publish = backfill_into(outbox(tmp_path / "agreements", "bnnk-rekaan"), engine)
    with pytest.raises(NotAgreed):
        take_in(mapping, register, publish)
