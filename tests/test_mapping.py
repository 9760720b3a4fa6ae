"""Mapping files: every error is reported at once; a row gives an event or its problems."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from sinergi_producers.sources.files.delimited import FileForm, FileRow
from sinergi_producers.sources.files.field_sources import RowProblem
from sinergi_producers.sources.files.identity import row_event_id
from sinergi_producers.sources.files.mapping import BoundMapping, MappedRow, Mapping
from sinergi_producers.sources.files.mapping_tables import (
    DateSpec,
    FieldSpec,
    FileSpec,
    MappingSpec,
    NumberSpec,
)
from sinergi_schemas.codes import Indicator, Precision, TransferReason
from sinergi_schemas.errors import MappingRefused
from sinergi_schemas.events import SuspiciousVisit, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[1] / "examples" / "inter-prison-transfers" / "mapping.toml"
DIGEST = bytes(range(32))


def transfer() -> dict[str, Any]:
    """A mapping that is right, to be spoiled."""
    return {
        "event_type": "transfer",
        "fields": {
            "record_id": {"template": "{Nomor}/{@line}"},
            "action": {"constant": "RECORDED"},
            "purpose": {"constant": "PRISON_SECURITY"},
            "handling": {"constant": "R"},
            "zone": {"column": "Zona", "codes": "zones"},
            "occurred_at": {"columns": ["Tanggal", "Jam"], "format": "%d/%m/%Y %H.%M"},
            "departed_at": {"columns": ["Tanggal", "Jam"], "format": "%d/%m/%Y %H.%M"},
            "origin": {"name": "Asal"},
            "destination": {"name": "Tujuan"},
            "reason": {"column": "Alasan", "codes": "reasons", "default": "OTHER"},
            "inmate": {"role": {"constant": "CONVICT"}, "name": "Nama", "nik": "NIK"},
            "escort": [
                {"escort_agency": {"constant": "Lapas"}, "count": "Lapas"},
                {"escort_agency": {"constant": "Brimob"}, "count": "Brimob"},
            ],
        },
        "dates": {"language": "indonesian"},
        "codes": {
            "zones": {"WIB": "Asia/Jakarta", "WITA": "Asia/Makassar"},
            "reasons": {"pembinaan": "COACHING", "": "UNKNOWN"},
        },
    }


ROW = {
    "Nomor": "W15-1",
    "Zona": "WITA",
    "Tanggal": "3/2/2025",
    "Jam": "20.20",
    "Asal": "Lapas Rekaan",
    "Tujuan": "Rutan Rekaan",
    "Alasan": "pembinaan",
    "Nama": "Contoh Dua",
    "NIK": "9999990101900002",
    "Lapas": "2",
    "Brimob": "",
}


@pytest.fixture
def load(tmp_path: Path) -> Callable[[dict[str, Any]], Mapping]:
    def write_and_load(document: dict[str, Any]) -> Mapping:
        path = tmp_path / "mapping.toml"
        path.write_text(tomli_w.dumps(document), encoding="utf-8")
        return Mapping.load(path)

    return write_and_load


def bound(mapping: Mapping) -> BoundMapping:
    return mapping.bind(list(ROW), DIGEST)


def read(mapping: Mapping, **changes: str) -> MappedRow:
    return bound(mapping).read(FileRow(7, list((ROW | changes).values())))


def problems(reading: MappedRow) -> list[str]:
    assert reading.event is None
    return [f"{problem.field}: {problem.rule}" for problem in reading.problems]


def said(refused: pytest.ExceptionInfo[MappingRefused]) -> list[str]:
    return [line.strip() for line in refused.value.listing.splitlines() if line]


# Rows


def test_a_row_becomes_an_event(load: Any) -> None:
    reading = read(load(transfer()))
    event = reading.event
    assert isinstance(event, Transfer)
    assert event.event_id == row_event_id(DIGEST, 7)
    assert event.record_id == "W15-1/7"
    assert event.zone == "Asia/Makassar"
    assert event.departed_at == datetime(2025, 2, 3, 12, 20, tzinfo=UTC)
    assert event.occurred_precision is Precision.EXACT
    assert event.reason is TransferReason.COACHING
    assert event.inmate is not None
    assert event.inmate.nik == "9999990101900002"
    assert [(each.escort_agency, each.count) for each in event.escort] == [("Lapas", 2)]
    assert event.agency == ""
    assert event.revision == 0


def test_each_row_is_read_on_the_clocks_of_its_own_zone(load: Any) -> None:
    mapping = load(transfer())
    east, west = read(mapping).event, read(mapping, Zona="WIB").event
    assert east is not None
    assert west is not None
    assert (west.occurred_at - east.occurred_at).total_seconds() == 3600


def test_without_columns_for_it_a_part_is_left_out(load: Any) -> None:
    event = read(load(transfer()), Nama="", NIK="", Lapas="").event
    assert isinstance(event, Transfer)
    assert event.inmate is None
    assert event.escort == ()


def test_a_code_list_may_have_a_default_and_a_word_for_nothing(load: Any) -> None:
    mapping = load(transfer())
    unknown, other = read(mapping, Alasan="").event, read(mapping, Alasan="lain").event
    assert isinstance(unknown, Transfer)
    assert isinstance(other, Transfer)
    assert unknown.reason is TransferReason.UNKNOWN
    assert other.reason is TransferReason.OTHER


def test_every_problem_of_a_row_is_named_once_and_no_value_with_it(load: Any) -> None:
    document = transfer()
    del document["fields"]["reason"]["default"]
    secrets = {"NIK": "not-a-nik", "Alasan": "strange", "Tanggal": "31/2/2025", "Lapas": "many"}
    found = problems(read(load(document), Nomor="", **secrets))
    assert sorted(found) == [
        "departed_at: not a date of the form %d/%m/%Y %H.%M",
        "escort[0].count: not a whole number in plain digits",
        "inmate.nik: is not 16 digits",
        "occurred_at: not a date of the form %d/%m/%Y %H.%M",
        "reason: not in codes.reasons, and there is no default",
        "record_id: is required",
    ]
    assert not any(secret in line for secret in secrets.values() for line in found)


def test_an_unknown_zone_is_said_once(load: Any) -> None:
    found = problems(read(load(transfer()), Zona="WIT"))
    assert found == ["zone: not in codes.zones, and there is no default"]
    assert problems(read(load(transfer()), Zona="")) == ["zone: is required"]


def test_a_row_that_could_not_be_read_keeps_its_fault_and_line(load: Any) -> None:
    reading = bound(load(transfer())).read(FileRow(9, [], "a NUL character"))
    assert reading == MappedRow(9, None, (RowProblem("", "a NUL character"),))


def test_a_problem_names_the_columns_to_look_at(load: Any) -> None:
    reading = read(load(transfer()), Nomor="", NIK="1", Jam="25.00", Lapas="x")
    assert {problem.field: problem.columns for problem in reading.problems} == {
        "record_id": ("Nomor",),
        "inmate.nik": ("NIK",),
        "occurred_at": ("Tanggal", "Jam"),
        "departed_at": ("Tanggal", "Jam"),
        "escort[0].count": ("Lapas", "Brimob"),
    }


def test_what_warns_does_not_refuse(load: Any) -> None:
    reading = read(load(transfer()), Tujuan="Lapas Rekaan")
    assert reading.event is not None
    assert "destination: is the same unit as origin" in reading.warnings


def test_a_time_that_came_twice_is_refused_or_warns_as_the_mapping_says(load: Any) -> None:
    document = transfer()
    document["codes"]["zones"]["NZ"] = "Pacific/Auckland"
    twice = {"Zona": "NZ", "Tanggal": "1/4/2018", "Jam": "02.30"}
    assert "occurred twice" in problems(read(load(document), **twice))[0]
    document["dates"]["ambiguous"] = "later"
    reading = read(load(document), **twice)
    assert reading.event is not None
    assert "occurred_at: this local time occurred twice" in reading.warnings


@pytest.mark.parametrize("mark", ["%%H", "%%A"])
def test_a_doubled_percent_sign_is_a_percent_sign_and_no_directive(load: Any, mark: str) -> None:
    document = transfer()
    for name in ("occurred_at", "departed_at"):
        document["fields"][name] = {"column": "Tanggal", "format": f"%d/%m/%Y {mark}"}
    event = read(load(document), Tanggal=f"3/2/2025 {mark[1:]}").event
    assert event is not None
    assert event.occurred_precision is Precision.DAY


def test_a_moment_beyond_the_calendar_refuses_its_row(load: Any) -> None:
    found = problems(read(load(transfer()), Tanggal="01/01/0001", Jam="00.00"))
    assert sorted(found) == [
        "departed_at: is outside the years 1 to 9999 in UTC",
        "occurred_at: is outside the years 1 to 9999 in UTC",
    ]


def test_a_number_is_read_with_the_stated_marks_only(load: Any) -> None:
    document = transfer()
    document["numbers"] = {"decimal": ",", "thousands": "."}
    event = read(load(document), Lapas="1.000").event
    assert isinstance(event, Transfer)
    assert event.escort[0].count == 1000


def test_the_default_record_id_is_made_of_digest_and_line(load: Any) -> None:
    document = transfer()
    del document["fields"]["record_id"]
    event = read(load(document)).event
    assert event is not None
    assert event.record_id == f"{DIGEST.hex()[:16]}-7"


# Mapping files


def test_the_mapping_of_the_example_is_right() -> None:
    assert Mapping.load(EXAMPLE).event_type == "transfer"


def test_the_mapping_in_the_documentation_is_right_and_shows_every_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "intake.md").read_text(encoding="utf-8")
    shown = text.partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "shown.toml"
    path.write_text(shown, encoding="utf-8")
    mapping = Mapping.load(path)
    assert mapping.form == FileForm()
    for table in (FileSpec, NumberSpec, DateSpec, MappingSpec):
        assert not [key for key in table.model_fields if key not in shown]
    assert not [key for key in FieldSpec.model_fields if f"`{key}`" not in text]


def test_everything_wrong_is_said_at_once_with_the_nearest_right_name(load: Any) -> None:
    document = transfer()
    fields = document["fields"]
    document["file"] = {"delimitr": ";", "header_line": 0}
    fields["orign"] = fields.pop("origin")
    fields["departed_at"] = {"column": "Tanggal", "format": "%d/%m"}
    fields["arrived_at"] = {"column": "Tanggal"}
    fields["action"] = {"constant": "RECORDET"}
    fields["agency"] = {"constant": "lapas-rekaan"}
    fields["reason"]["codes"] = "reason"
    fields["inmate"]["nik"] = {"colum": "NIK"}
    fields["destination"] = "Tujuan"
    fields["movement_id"] = {"template": "{@lin}"}
    fields["status_as_written"] = {"column": "Nama", "format": "%Y"}
    document["codes"]["zones"]["WIT"] = "Asia/Jayapur"
    with pytest.raises(MappingRefused) as refused:
        load(document)
    lines = said(refused)
    for expected in (
        "file.delimitr: there is no such key; did you mean delimiter?",
        "file.header_line: must be at least 1",
        "fields.orign: Transfer has no such field; did you mean origin?",
        "fields.origin: is required",
        "fields.departed_at: '%d/%m' has no year",
        "fields.arrived_at: is a date; write its format",
        "fields.action: 'RECORDET' is not a code of this field; did you mean RECORDED?",
        "fields.agency: is filled in when the event is published",
        "fields.reason: there is no table [codes.reason]; did you mean reasons?",
        "fields.inmate.nik.colum: there is no such key; did you mean column?",
        "fields.destination: has fields of its own; write a table with some of name",
        "fields.movement_id: there is no {@lin}",
        "fields.status_as_written: format does not apply to this field",
        "codes.zones: 'Asia/Jayapur' is not an IANA zone",
        "codes.reasons: no field uses these codes",
    ):
        assert any(line.startswith(expected) for line in lines), (expected, lines)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("codes.reasons.pembinaan", "COACHIN", "did you mean COACHING?"),
        ("fields.reason.default", "OTHERS", "did you mean OTHER?"),
        ("fields.reason", {"column": "Alasan", "default": "OTHER"}, "has a default but no codes"),
        ("fields.reason", {"column": "Alasan", "constant": "OTHER"}, "exactly one of column"),
        ("fields.departed_at.format", "%d/%m/%Y %Q", "%Q is not supported"),
        ("fields.departed_at.format", "%d/%m/%Y %I.%M", "%I and %p go together"),
        ("fields.departed_at.format", "%d/%m/%Y%", "% is not supported"),
        ("fields.departed_at.format", "%d/%d/%m/%Y", "has the day twice"),
        ("fields.departed_at.format", "%d/%m/%B/%Y", "has the month twice"),
        ("fields.departed_at.format", "%d/%m/%y %Y", "has the year twice"),
        ("fields.departed_at.format", "%A %a %d/%m/%Y", "has the weekday twice"),
        ("fields.departed_at.format", "%d/%m/%Y %H %I%p", "has the hour twice"),
        ("fields.departed_at.format", "%d/%m/%Y %M", "has the minute without the hour"),
        ("fields.departed_at.format", "%d/%m/%Y %H.%S", "has the second without the minute"),
        ("fields.departed_at.format", "%d/%m/%Y %H.%f", "has the fraction without the second"),
        ("fields.departed_at.format", "dd/mm/yyyy", "has no directives: write %d/%m/%Y"),
        ("fields.departed_at.format", "DD-MMM-YY HH:mm", "write %d-%b-%y %H:%M"),
        ("fields.departed_at.format", "h.mm.ss d mmmm yyyy", "write %H.%M.%S %d %B %Y"),
        ("fields.departed_at.format", "tanggal", "has no year"),
        ("fields.inmate.nik", {"constant": "12345"}, "'12345' is not 16 digits"),
        ("fields.departed_at.codes", "reasons", "codes does not apply to this field"),
        ("fields.escort", "Lapas", "is a list; write a list of tables"),
        ("fields.escort", [{"escort_agency": "Lapas", "cont": "Brimob"}], "did you mean count?"),
        (
            "fields.related",
            [{"other_agency": "Asal"}],
            "related item 1.other_record_id: is required",
        ),
        ("numbers", {"decimal": ",", "thousands": ","}, "must be different marks"),
        ("dates.language", "indonesia", "language"),
        ("file", {"delimiter": '"'}, "delimiter and quote must differ"),
        ("event_type", "transfr", "did you mean transfer?"),
    ],
)
def test_a_mistake_is_named(load: Any, path: str, value: object, expected: str) -> None:
    document = transfer()
    table = document
    *outer, last = path.split(".")
    for part in outer:
        table = table[part]
    table[last] = value
    with pytest.raises(MappingRefused) as refused:
        load(document)
    assert any(expected in line for line in said(refused)), said(refused)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"event_type = transfer", "not TOML"),
        (b'event_type = "\xff"', "not UTF-8"),
        (b"", "missing"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "mapping.toml"
    path.write_bytes(content)
    with pytest.raises(MappingRefused, match=expected):
        Mapping.load(path)
    with pytest.raises(MappingRefused, match="No such file"):
        Mapping.load(tmp_path / "none.toml")


def test_columns_that_are_not_in_the_file_are_named_with_the_nearest(load: Any) -> None:
    mapping = load(transfer())
    header = [name for name in ROW if name not in {"Tanggal", "NIK"}] + ["Tangal", "Zona"]
    with pytest.raises(MappingRefused) as refused:
        mapping.bind(header, DIGEST)
    assert said(refused)[0].endswith("not in the header of the file; did you mean Tangal?") or any(
        line.endswith("did you mean Tangal?") for line in said(refused)
    )
    assert "column 'Zona' stands 2 times in the header of the file" in said(refused)
    assert any(line.startswith("column 'NIK' is not in the header") for line in said(refused))


def test_columns_that_nobody_mapped_or_ignored_are_told(load: Any) -> None:
    document = transfer()
    document["file"] = {"ignore": ["Catatan"]}
    header = [*ROW, "Catatan", "Blok", ""]
    assert load(document).bind(header, DIGEST).unmapped == ("Blok", f"(column {len(header)})")


def test_a_visitors_book_with_codes_in_one_cell_and_decimal_commas(load: Any) -> None:
    mapping = load(
        {
            "event_type": "suspicious-visit",
            "numbers": {"decimal": ",", "thousands": "."},
            "dates": {"language": "indonesian"},
            "fields": {
                "action": {"constant": "RECORDED"},
                "purpose": {"constant": "PREVENTION"},
                "handling": {"constant": "R"},
                "zone": {"constant": "Asia/Jakarta"},
                "occurred_at": {
                    "column": "Waktu",
                    "format": "%A, %d %B %Y, %H.%M",
                    "precision": "ABOUT",
                },
                "unit": {"name": {"constant": "Lapas Rekaan"}},
                "channel": {"constant": "GOODS_LEFT"},
                "indicators": {"column": "Kecurigaan", "split": ";", "codes": "suspicions"},
                "finds": [
                    {
                        "kind": {"constant": "NARCOTICS"},
                        "description": "Temuan",
                        "weight_g": "Berat",
                    }
                ],
            },
            "codes": {"suspicions": {"gugup": "NERVOUS", "terburu-buru": "HURRIED"}},
        }
    )
    header = ["Waktu", "Kecurigaan", "Temuan", "Berat"]
    book = mapping.bind(header, DIGEST)
    full = ["Selasa, 3 Maret 2026, 09.50", "gugup; terburu-buru;", "12 paket", "1.328,2700"]
    event = book.read(FileRow(2, full)).event
    assert isinstance(event, SuspiciousVisit)
    assert event.occurred_precision is Precision.ABOUT
    assert event.indicators == (Indicator.NERVOUS, Indicator.HURRIED)
    assert [(find.description, str(find.weight_g)) for find in event.finds] == [
        ("12 paket", "1328.2700")
    ]
    empty = book.read(FileRow(3, [full[0], "gugup", "", ""])).event
    assert isinstance(empty, SuspiciousVisit)
    assert empty.finds == ()
    found = problems(book.read(FileRow(4, ["Senin, 3 Maret 2026, 09.50", "gugup;?", "x", "1.5"])))
    assert sorted(found) == [
        "finds[0].weight_g: not a number with decimal mark ',' and thousands mark '.'",
        "indicators: not in codes.suspicions, and there is no default",
        "occurred_at: the weekday is not that of the date",
    ]
