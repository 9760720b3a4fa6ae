"""Delimited files: the right number for each row, and a fault never costs more than its line."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi_producers.intake.identity import row_event_id
from sinergi_producers.intake.reading import DelimitedFile, FileForm, Row
from sinergi_producers.intake.values import DateForm, NumberForm
from sinergi_schemas.errors import InputChanged, InputRefused

VECTORS = Path(__file__).parent / "vectors" / "intake"
AUCKLAND = ZoneInfo("Pacific/Auckland")


def rows(path: Path, form: FileForm | None = None) -> list[Row]:
    with DelimitedFile(path, form or FileForm()) as file:
        return list(file)


@pytest.fixture
def register(tmp_path: Path) -> Path:
    return tmp_path / "register.csv"


# Identity


def test_event_ids_are_those_of_the_vectors() -> None:
    vectors = json.loads((VECTORS / "event_ids.json").read_text())["vectors"]
    for vector in vectors:
        found = row_event_id(bytes.fromhex(vector["digest"]), vector["line"])
        assert str(found) == vector["event_id"]
        assert found.version == 8


# Rows and their lines


def test_a_header_on_any_line_and_rows_numbered_as_an_editor_numbers_them(register: Path) -> None:
    register.write_bytes(b"\r\nFrom,To\r\nA,B\r\n\r\nC,D")
    with DelimitedFile(register, FileForm(header_line=2)) as file:
        assert file.header == ["From", "To"]
        assert [(row.line, row.cells) for row in file if not row.blank] == [
            (3, ["A", "B"]),
            (5, ["C", "D"]),
        ]


def test_rows_of_empty_cells_are_blank(register: Path) -> None:
    register.write_bytes(b'a,b\n,\n \t,\xc2\xa0\n"",""\n\nx,\n')
    assert [row.line for row in rows(register) if not row.blank] == [6]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b'2,"open', "a quote is left open"),
        (b'2,"a"b', "behind a closing quote"),
        (b"2,\xff\xfe", "bytes that are not utf-8"),
        (b"2,a\0b", "NUL"),
        (b"2,a\rb", "carriage return"),
        (b"2", "1 cell where the header has 2"),
        (b"2,3,4", "3 cells where the header has 2"),
        (b"2," + b"x" * 140_000, "longer than 131,072"),
        (b"2," + b"x" * 2_100_000, "line longer than 1,048,576"),
    ],
)
def test_a_damaged_line_is_refused_alone_under_its_number(
    register: Path, damage: bytes, said: str
) -> None:
    register.write_bytes(b"a,b\n1,good\n" + damage + b"\n3,good\n4,good\n")
    one, bad, *after = rows(register)
    assert one == Row(2, ["1", "good"])
    assert bad.line == 3
    assert said in bad.fault
    assert after == [Row(4, ["3", "good"]), Row(5, ["4", "good"])]


def test_a_cell_of_several_lines_bears_its_first_line_where_the_mapping_allows_it(
    register: Path,
) -> None:
    register.write_bytes(b'a,b\n1,"two\r\nlines"\n2,x\n')
    assert rows(register, FileForm(line_breaks=" / ")) == [
        Row(2, ["1", "two / lines"]),
        Row(4, ["2", "x"]),
    ]


@pytest.mark.parametrize("tail", [b"", b'9,"quoted, later"\n'])
def test_a_stray_quote_never_swallows_the_lines_behind_it(register: Path, tail: bytes) -> None:
    good = b"".join(b"%d,good\n" % number for number in range(500))
    register.write_bytes(b'a,b\nbad,"open\n' + good + tail)
    bad, *after = rows(register, FileForm(line_breaks="\n"))
    assert bad.line == 2
    assert bad.fault
    assert [row.line for row in after] == list(range(3, 3 + len(after)))
    assert len(after) == 500 + bool(tail)
    assert not any(row.fault for row in after)


def test_an_open_quote_above_the_limit_of_a_row_loses_neither_lines_nor_their_numbers(
    register: Path,
) -> None:
    good = b"%s,good\n" % (b"x" * 1000)
    register.write_bytes(b'a,b\nbad,"open\n' + good * 2000)
    found = rows(register, FileForm(line_breaks="\n"))
    assert [row.line for row in found] == list(range(2, 2003))
    assert [row.line for row in found if row.fault] == [2]


@given(
    table=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8),
            min_size=2,
            max_size=2,
        ),
        max_size=8,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerows([["a", "b"], *table])
    path = tmp_path_factory.mktemp("read") / "table.csv"
    path.write_bytes(text.getvalue().encode())
    found = [row.cells for row in rows(path, FileForm(line_breaks="\n"))]
    assert found == [[cell.strip(" \t\u00a0") for cell in row] for row in table]


def test_a_big_file_takes_no_more_memory_than_a_small_one(register: Path) -> None:
    def peak(count: int) -> int:
        register.write_bytes(b"a,b\n" + b"some,cells\n" * count)
        tracemalloc.start()
        with DelimitedFile(register, FileForm()) as file:
            assert sum(1 for _ in file) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(100_000) < peak(1_000) + 100_000


# Encodings


@pytest.mark.parametrize(
    ("stated", "written"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-16-be", "utf-16-be"),
        ("windows-1252", "windows-1252"),
    ],
)
def test_the_stated_encoding_is_read_with_or_without_its_mark(
    register: Path, stated: str, written: str
) -> None:
    register.write_bytes("nama,kota\nÁkos,Zürich\n".encode(written))
    with DelimitedFile(register, FileForm(encoding=stated)) as file:
        assert file.header == ["nama", "kota"]
        assert [row.cells for row in file] == [["Ákos", "Zürich"]]


@pytest.mark.parametrize(
    ("stated", "content", "said"),
    [
        ("windows-1252", "a,b\n".encode("utf-8-sig"), "byte order mark of utf-8"),
        ("utf-8", "a,b\n".encode("utf-16"), "byte order mark of utf-16"),
        ("utf-16", "a,b\n".encode("utf-16-le"), "utf-16-le or -be"),
        ("latin-15x", b"a,b\n", "not a text encoding"),
        ("rot13", b"a,b\n", "not a text encoding"),
        ("utf-8", b"a,\xff\n", "line 1 should be the header"),
        ("utf-8", b"\na,b\n", "blank"),
        ("utf-8", b"", "ends with line 0"),
    ],
)
def test_a_file_that_is_not_as_stated_is_refused_whole(
    register: Path, stated: str, content: bytes, said: str
) -> None:
    register.write_bytes(content)
    with pytest.raises(InputRefused, match=said):
        rows(register, FileForm(encoding=stated))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="No such file"):
        rows(tmp_path / "none.csv")
    with pytest.raises(InputRefused, match="not a regular file"):
        rows(tmp_path)


def test_a_file_that_grows_under_the_reader_is_noticed(register: Path) -> None:
    register.write_bytes(b"a,b\n1,2\n")
    with DelimitedFile(register, FileForm()) as file:
        file.check_unchanged()
        with register.open("ab") as writer:
            writer.write(b"3,4\n")
        with pytest.raises(InputChanged, match="was written to"):
            file.check_unchanged()


# Dates


def test_a_day_is_its_first_instant_in_its_zone() -> None:
    moment = DateForm(("%d-%b-%y",)).read_moment("2-Jul-18", AUCKLAND)
    assert (moment.at, moment.precision) == (datetime(2018, 7, 1, 12, tzinfo=UTC), "DAY")


def test_a_day_whose_midnight_was_skipped_begins_where_the_clocks_went_to() -> None:
    beirut = ZoneInfo("Asia/Beirut")
    moment = DateForm(("%Y-%m-%d",)).read_moment("2022-03-27", beirut)
    assert moment.at == datetime(2022, 3, 26, 22, tzinfo=UTC)
    assert moment.at.astimezone(beirut).hour == 1


def test_a_local_time_that_never_was_is_refused() -> None:
    with pytest.raises(ValueError, match="did not exist"):
        DateForm(("%Y-%m-%d %H:%M",)).read_moment("2018-09-30 02:30", AUCKLAND)


def test_a_local_time_that_came_twice_is_refused_or_chosen_as_stated() -> None:
    text, form = "2018-04-01 02:30", ("%Y-%m-%d %H:%M",)
    with pytest.raises(ValueError, match="came twice"):
        DateForm(form).read_moment(text, AUCKLAND)
    earlier = DateForm(form, ambiguous="earlier").read_moment(text, AUCKLAND)
    later = DateForm(form, ambiguous="later").read_moment(text, AUCKLAND)
    assert earlier.ambiguous
    assert later.ambiguous
    assert (later.at - earlier.at).total_seconds() == 3600
    assert earlier.at == datetime(2018, 3, 31, 13, 30, tzinfo=UTC)


def test_an_offset_in_the_text_needs_no_zone() -> None:
    moment = DateForm(("%Y-%m-%dT%H:%M:%S%z",)).read_moment("2025-03-03T17:00:00+07:00", None)
    assert (moment.at, moment.precision) == (datetime(2025, 3, 3, 10, tzinfo=UTC), "EXACT")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Senin, 10 Februari 2025", "%A, %d %B %Y"),
        ("senin, 10 pebruari 2025", "%A, %d %B %Y"),
        ("10 Feb 2025", "%d %b %Y"),
    ],
)
def test_indonesian_months_and_weekdays(text: str, form: str) -> None:
    assert DateForm((form,), indonesian=True).read_date(text) == date(2025, 2, 10)


def test_a_weekday_that_is_not_the_dates_own_is_refused() -> None:
    with pytest.raises(ValueError, match="weekday"):
        DateForm(("%A, %d %B %Y",), indonesian=True).read_date("Selasa, 10 Februari 2025")


def test_a_date_that_two_formats_read_differently_is_refused() -> None:
    form = DateForm(("%d/%m/%Y", "%m/%d/%Y"))
    with pytest.raises(ValueError, match="two dates"):
        form.read_date("10/2/2025")
    assert form.read_date("13/2/2025") == form.read_date("2/13/2025") == date(2025, 2, 13)


# Numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.328,27", "1328.27"),
        ("115.905", "115905"),
        ("1234,5", "1234.5"),
        ("-3,10", "-3.10"),
        ("4,8200", "4.8200"),
    ],
)
def test_a_decimal_comma_is_read_as_stated_with_its_places(text: str, value: str) -> None:
    assert str(NumberForm(",", ".").read_decimal(text)) == str(Decimal(value))


@pytest.mark.parametrize(
    "text",
    ["1.32,5", ",5", "5,", "1e5", "1..000", "1000.000", "1,2,3", "٣", "6,31 gram", "", "--1"],
)
def test_a_number_in_another_form_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a number") as refused:
        NumberForm(",", ".").read_decimal(text)
    assert not text or text not in str(refused.value)


def test_whole_numbers() -> None:
    assert NumberForm(",", ".").read_integer("1.000") == 1000
    assert NumberForm().read_integer("0012") == 12
    with pytest.raises(ValueError, match="plain digits"):
        NumberForm().read_integer("1.000")
