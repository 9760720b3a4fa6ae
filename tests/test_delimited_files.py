"""Delimited files: each row has the right line number; an error costs only its line."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi_producers.sources.files import date_format
from sinergi_producers.sources.files.dates_and_numbers import DateForm, NumberForm
from sinergi_producers.sources.files.delimited import DelimitedFile, FileForm, FileRow
from sinergi_producers.sources.files.identity import row_event_id
from sinergi_schemas.errors import InputChanged, InputRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parent / "vectors" / "intake"
AUCKLAND = ZoneInfo("Pacific/Auckland")


def rows(path: Path, form: FileForm | None = None) -> list[FileRow]:
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


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_file_with_another_delimiter_is_told_by_its_header(
    register: Path, delimiter: str
) -> None:
    register.write_text("From,To,Why\nA,B,C\n".replace(",", delimiter), encoding="utf-8")
    with pytest.raises(InputRefused, match=r"one cell with .* in it; set file\.delim"):
        DelimitedFile(register, FileForm())
    register.write_text("Alasan; tujuan\nA\n", encoding="utf-8")  # one column, and a name
    with DelimitedFile(register, FileForm()) as file:
        assert file.header == ["Alasan; tujuan"]


def test_a_header_line_far_behind_the_end_is_refused_at_once(register: Path) -> None:
    register.write_text("a,b\n", encoding="utf-8")
    with pytest.raises(InputRefused, match="and the file ends with line 1"):
        DelimitedFile(register, FileForm(header_line=2**62))


def test_rows_of_empty_cells_are_blank(register: Path) -> None:
    register.write_bytes(b'a,b\n,\n \t,\xc2\xa0\n"",""\n\nx,\n')
    assert [row.line for row in rows(register) if not row.blank] == [6]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b'2,"open', "a quote is left open"),
        (b'2,"a"b', "after a closing quote"),
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
    assert one == FileRow(2, ["1", "good"])
    assert bad.line == 3
    assert said in bad.fault
    assert after == [FileRow(4, ["3", "good"]), FileRow(5, ["4", "good"])]


def test_a_cell_of_several_lines_bears_its_first_line_where_the_mapping_allows_it(
    register: Path,
) -> None:
    register.write_bytes(b'a,b\n1,"two\r\nlines"\n2,x\n')
    assert rows(register, FileForm(line_breaks=" / ")) == [
        FileRow(2, ["1", "two / lines"]),
        FileRow(4, ["2", "x"]),
    ]


ROWS_ABOUT = ((2, ["1", "before"]), (6, ["9", "behind"]))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b'2,"one\n3,two\n4,three"\n', "a line break in a quoted cell"),
        (b'"two\n3,two\n4",three\n', "a line break in a quoted cell"),
        (b'2,"a ""quoted"" word\r\n3,two\r\n4,""three"\r\n', "a line break in a quoted cell"),
        (b'"2\n3","three\n4"\n', "a line break in a quoted cell"),
        (b'"the "old" name\n3,two\n4",three\n', "after a closing quote"),
        (b'2, "one\n3,two\n4,three"\n', "a space before the quote"),
        (b'\r2,"one\n3,two\n4,three"\n', "carriage return"),
        (b'2,"\xff one\n3,two\n4,three"\n', "a line break in a quoted cell"),
        (b'2,"' + b"x" * 140_000 + b'\n3,two\n4,three"\n', "longer than 131,072"),
        (b'2,"' + b"x" * 1_100_000 + b'\n3,two\n4,three"\n', "line longer than 1,048,576"),
    ],
)
def test_no_line_inside_a_quoted_cell_is_read_as_a_row(
    register: Path, broken: bytes, said: str
) -> None:
    register.write_bytes(b"a,b\n1,before\n" + broken + b"9,behind\n")
    found = rows(register)
    assert [(row.line, row.cells) for row in found if not row.fault] == list(ROWS_ABOUT)
    (refused,) = [row for row in found if row.fault]
    assert refused.line == 3
    assert said in refused.fault
    assert "all 3 lines up to its end are refused" in refused.fault


def test_a_quoted_cell_of_two_lines_counts_them(register: Path) -> None:
    register.write_bytes(b'a,b\n1,"one\n2,two"\n')
    (refused,) = rows(register)
    assert "all 2 lines" in refused.fault


@pytest.mark.parametrize("line_breaks", [None, " / "])
@given(
    table=st.lists(
        st.lists(
            st.sampled_from(["", "x", "1,y", "p\n1,y", "\n", 'say "x"', 'a\n"b",\nc', '"'])
            | st.text(st.sampled_from('ab,"\n '), max_size=12),
            min_size=2,
            max_size=2,
        ),
        max_size=6,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_only_whole_rows_are_read_from_a_file_of_which_some_cells_hold_line_breaks(
    tmp_path_factory: pytest.TempPathFactory,
    line_breaks: str | None,
    table: list[list[str]],
    end: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    wanted, line = [], 2
    writer.writerow(["a", "b"])
    for row in table:
        writer.writerow(row)
        breaks = sum(cell.count("\n") for cell in row)
        if not breaks or line_breaks is not None:
            cells = [cell.replace("\n", line_breaks or "").strip(" \t\u00a0") for cell in row]
            wanted.append((line, cells))
        line += 1 + breaks
    path = tmp_path_factory.mktemp("read") / "table.csv"
    path.write_bytes(text.getvalue().encode())
    found = rows(path, FileForm(line_breaks=line_breaks))
    assert [(row.line, row.cells) for row in found if not row.fault] == wanted
    assert len(found) == len(table)


@given(text=st.text(st.sampled_from('ab,"\r\n\0 \xff'), max_size=60), breaks=st.booleans())
def test_whatever_a_file_holds_each_of_its_lines_is_in_one_row(
    tmp_path_factory: pytest.TempPathFactory, text: str, *, breaks: bool
) -> None:
    path = tmp_path_factory.mktemp("read") / "table.csv"
    path.write_bytes(b"a,b\n" + text.encode("latin-1"))
    found = rows(path, FileForm(line_breaks=" " if breaks else None))
    after = 2 + text.count("\n") + (text[-1:] not in {"", "\n"})
    lines = [*(row.line for row in found), after]
    assert lines[0] == 2
    for row, (line, behind) in zip(found, pairwise(lines), strict=True):
        assert behind > line
        if row.fault:
            said = re.search(r"all (\d+) lines", row.fault)
            assert behind - line == (int(said[1]) if said else 1) or breaks


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


@pytest.mark.long
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
        ("idna", b"a,b\n", "an encoding of host names"),
        ("punycode", b"a,b\n", "an encoding of host names"),
        ("utf-8\0", b"a,b\n", "not a text encoding"),
        ("utf-7", b"a,+3P8-\n", "line 1 should be the header"),
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
        with pytest.raises(InputChanged, match="Somebody wrote to"):
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
    with pytest.raises(ValueError, match="occurred twice"):
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
    ("text", "form", "day"),
    [
        ("Senin, 10 Februari 2025", "%A, %d %B %Y", date(2025, 2, 10)),
        ("senin, 10 pebruari 2025", "%A, %d %B %Y", date(2025, 2, 10)),
        ("Sen 10 Peb 2025", "%a %d %b %Y", date(2025, 2, 10)),
        ("10 Feb 2025", "%d %b %Y", date(2025, 2, 10)),
        ("1 Mrt 2025", "%d %b %Y", date(2025, 3, 1)),
        ("30 Sept 2025", "%d %b %Y", date(2025, 9, 30)),
        ("7 AGUST 2025", "%d %b %Y", date(2025, 8, 7)),
        ("10 Nopember 2025", "%d %B %Y", date(2025, 11, 10)),
        ("Ahad, 2 Maret 2025", "%A, %d %B %Y", date(2025, 3, 2)),
        ("Jumat, 14 Maret 2025", "%A, %d %B %Y", date(2025, 3, 14)),
        ("Jum''at, 14 Maret 2025", "%A, %d %B %Y", date(2025, 3, 14)),
        ("Jumat 14Maret2025", "%A %d%B%Y", date(2025, 3, 14)),
        ("14\u00a0Maret  2025", "%d %B %Y", date(2025, 3, 14)),
    ],
)
def test_indonesian_months_and_weekdays(text: str, form: str, day: date) -> None:
    assert DateForm((form,), indonesian=True).read_date(text) == day


@pytest.mark.parametrize("mark", "'`\u00b4\u02bb\u02bc\u02be\u2018\u2019\u201b\u2032\uff07")
def test_friday_is_read_with_any_apostrophe(mark: str) -> None:
    form = DateForm(("%A, %d-%m-%Y",), indonesian=True)
    assert form.read_date(f"JUM{mark}AT, 14-03-2025") == date(2025, 3, 14)
    with pytest.raises(ValueError, match="weekday"):
        form.read_date(f"jum{mark}at, 13-03-2025")


@pytest.mark.parametrize("name", ["\u017fept", "o\u212at", "Juniper", "Jum-at"])
def test_a_letter_that_only_looks_like_another_names_no_month(name: str) -> None:
    with pytest.raises(ValueError, match="not a date"):
        DateForm(("%d %b %Y",), indonesian=True).read_date(f"1 {name} 2025")


def test_no_two_names_side_by_side_read_as_two_others() -> None:
    names = [*date_format._named(date_format._MONTHS_ENGLISH + date_format._MONTHS_INDONESIAN)]
    days = [*date_format._named(date_format._WEEKDAYS_ENGLISH + date_format._WEEKDAYS_INDONESIAN)]
    for first, second in ((names, days), (days, names), (names, ["am", "pm"])):
        together = [f"{one}{other}" for one in first for other in second]
        assert len(set(together)) == len(together)


def test_a_weekday_that_is_not_the_dates_own_is_refused() -> None:
    with pytest.raises(ValueError, match="weekday"):
        DateForm(("%A, %d %B %Y",), indonesian=True).read_date("Selasa, 10 Februari 2025")


def test_a_date_that_two_formats_read_differently_is_refused() -> None:
    form = DateForm(("%d/%m/%Y", "%m/%d/%Y"))
    with pytest.raises(ValueError, match="read different dates"):
        form.read_date("10/2/2025")
    assert form.read_date("13/2/2025") == form.read_date("2/13/2025") == date(2025, 2, 13)


@pytest.mark.parametrize(
    ("form", "full", "short"),
    [
        ("%d%m%Y", "01112020", ["1112020", "111120", "011120201"]),
        ("%Y%m%d", "20201101", ["2020111", "202011 1"]),
        ("%d%m%y", "011120", ["11120", "1112020"]),
        ("%Y-%m-%d %H%M", "2020-11-01 0110", ["2020-11-01 110", "2020-11-01 01100"]),
        ("%d/%m/%Y %I%M%p", "01/11/2020 0110am", ["01/11/2020 110am"]),
        ("%d.%m.20%y", "01.11.2020", ["01.11.202020", "01.11.20 20"]),
        ("%d.20%m.%Y", "01.2011.2020", ["01.201.2020"]),
        ("%Y-%m-%dT%H:%M:%S%f", "2020-11-01T01:10:05", []),
        ("%f%S %d/%m/%Y %H:%M", "00000059 01/11/2020 01:10", ["559 01/11/2020 01:10"]),
        ("%z%d/%m/%Y", "+070001/11/2020", ["+0701/11/2020"]),
    ],
)
def test_digits_that_touch_are_read_at_full_width_only(
    form: str, full: str, short: list[str]
) -> None:
    reader = DateForm((form,))
    if short:
        assert reader.read_date(full) == date(2020, 11, 1)
    for text in short:
        with pytest.raises(ValueError, match="not a date"):
            reader.read_date(text)


_SIGNS = st.sampled_from(
    ["%d", "%m", "%Y", "%y", "%H", "%M", "%S", "%f", "%B", "%z", "1", "/", " "]
)


@given(signs=st.lists(_SIGNS, max_size=9), text=st.text("0123456789/ +Z", max_size=24))
def test_a_text_has_one_reading_or_none(signs: list[str], text: str) -> None:
    """Every way to cut the text into the directives of the format, tried one by one."""
    form = "".join(["%d", *signs])
    if list(date_format.problems(form)):
        return
    found = DateForm((form,))
    try:
        read = found.read_date(text)
    except ValueError:
        return
    assert set(_cuts(form, text)) == {read}


WIDTHS = {"d": [1, 2], "m": [1, 2], "y": [2], "Y": [4], "H": [1, 2], "M": [1, 2], "S": [1, 2]}
WIDTHS |= {"f": [*range(1, 10)], "z": [1, 3, 5, 6, 7, 9]}


def _cuts(form: str, text: str) -> Iterator[date]:
    for said in _cut(form, text, {}):
        century = 1900 if said.get("y", 0) >= 69 else 2000
        with suppress(ValueError):
            time(said.get("H", 0), said.get("M", 0), said.get("S", 0))
            yield date(said.get("Y", century + said.get("y", 0)), said["m"], said["d"])


def _cut(form: str, text: str, said: dict[str, int]) -> Iterator[dict[str, int]]:
    if not form:
        if not text:
            yield said
    elif form[0] != "%":
        if text.startswith(form[0]):
            yield from _cut(form[1:], text[1:], said)
    else:
        for width in WIDTHS[form[1]]:
            head, rest = text[:width], text[width:]
            kind = r"Z|[+-]\d\d(:?\d\d(:?\d\d)?)?" if form[1] == "z" else r"\d+"
            if len(head) == width and re.fullmatch(kind, head):
                number = int(head) if form[1] != "z" else 0
                yield from _cut(form[2:], rest, {**said, form[1]: number})


def test_what_stands_behind_the_microsecond_is_left_out() -> None:
    form = DateForm(("%Y-%m-%dT%H:%M:%S.%f%z",))
    for fraction, microsecond in (("1", 100_000), ("1234567", 123_456), ("999999999", 999_999)):
        moment = form.read_moment(f"2025-03-03T17:00:00.{fraction}+07:00", None)
        assert moment.at == datetime(2025, 3, 3, 10, 0, 0, microsecond, UTC)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("01/01/0001 00.00", "Asia/Jakarta"),
        ("31/12/9999 23.59", "America/New_York"),
        ("01/01/0001 00.00", "Pacific/Auckland"),
    ],
)
def test_a_moment_beyond_the_calendar_in_utc_is_refused(text: str, zone: str) -> None:
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        DateForm(("%d/%m/%Y %H.%M",)).read_moment(text, ZoneInfo(zone))


def test_an_offset_beyond_the_calendar_is_refused_too() -> None:
    for text in ("0001-01-01T00:00+07:00", "9999-12-31T23:59-07:00"):
        with pytest.raises(ValueError, match="outside the years"):
            DateForm(("%Y-%m-%dT%H:%M%z",)).read_moment(text, None)
    for text in ("2025-01-01T00:00+24:00", "2025-01-01T00:00+07:60"):
        with pytest.raises(ValueError, match="not a date"):
            DateForm(("%Y-%m-%dT%H:%M%z",)).read_moment(text, None)


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
