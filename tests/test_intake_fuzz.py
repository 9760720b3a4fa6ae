"""Whatever a file, a cell or a mapping holds, each line is published or refused with reasons.

No error but ours is raised, and the counts agree: in trial runs, and in a real outbox for the cells
that a database might refuse.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sinergi.migrate import Role, upgrade
from sinergi_producers.sources.files.intake import Intake, backfill_into
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_producers.sources.files.refusals import RefusedLines
from sinergi_schemas import errors
from test_intake import outbox

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["No", "Zona", "Tanggal", "Jam", "Asal", "Tujuan", "Alasan", "Nama", "NIK", "Jumlah"]
COLUMNS += ["Hari", "Lintang", "Berat", "Curiga"]
COMMON: dict[str, Any] = {
    "record_id": {"template": "{No}/{@line}"},
    "action": {"constant": "RECORDED"},
    "purpose": {"constant": "STATISTICS"},
    "handling": {"constant": "R"},
    "zone": "Zona",
    "occurred_at": {"columns": ["Tanggal", "Jam"], "format": ["%d/%m/%Y %H.%M", "%d/%m/%Y"]},
}
FILE: dict[str, Any] = {
    "dates": {"language": "indonesian"},
    "numbers": {"decimal": ",", "thousands": "."},
}
TRANSFERS: dict[str, Any] = FILE | {
    "event_type": "transfer",
    "fields": COMMON
    | {
        "departed_at": {"columns": ["Tanggal", "Jam"], "format": "%d/%m/%Y %H.%M"},
        "arrived_at": {"column": "Hari", "format": ["%A, %d %B %Y", "%Y-%m-%dT%H:%M:%S.%f%z"]},
        "origin": {"name": "Asal", "code": "Tujuan"},
        "destination": {"name": "Tujuan"},
        "reason": {"column": "Alasan", "codes": "reasons", "default": "OTHER"},
        "inmate": {"role": {"constant": "CONVICT"}, "name": "Nama", "nik": "NIK"},
        "approval": {"number": "No", "date": {"column": "Hari", "format": "%d%m%Y"}},
        "escort": [{"escort_agency": "Asal", "count": "Jumlah"}],
        "case_number": "Nama",
    },
    "codes": {"reasons": {"pembinaan": "COACHING", "": "UNKNOWN"}},
}
SEIZURES: dict[str, Any] = FILE | {
    "event_type": "seizure",
    "fields": COMMON
    | {
        "seized_at": {"columns": ["Tanggal", "Jam"], "format": "%d/%m/%Y %H.%M"},
        "sealed_at": {"columns": ["Tanggal", "Jam"], "format": "%d/%m/%Y %H.%M"},
        "place": {"name": "Asal", "latitude": "Lintang", "longitude": "Lintang"},
        "holder_unknown": {"constant": True},
        "signed": {"constant": True},
        "investigators": [{"role": {"constant": "INVESTIGATOR"}, "name": "Nama", "nik": "NIK"}],
        "witnesses": [
            {"role": {"constant": "WITNESS"}, "name": "Nama"},
            {"role": {"constant": "WITNESS"}, "name": "Asal"},
        ],
        "exhibits": [
            {
                "label": {"constant": "A"},
                "substance": {"constant": "METHAMPHETAMINE"},
                "substance_as_written": "Alasan",
                "schedule": {"constant": "NARCOTIC_I"},
                "form": {"constant": "CRYSTAL"},
                "colour": "Tujuan",
                "properties": "Curiga",
                "count": "Jumlah",
                "count_unit": {"constant": "PACKET"},
                "net_weight_g": "Berat",
                "lab_result": {"constant": "SUSPECTED"},
            }
        ],
    },
}
GOOD = {
    "No": "7",
    "Zona": "Asia/Jakarta",
    "Tanggal": "3/2/2025",
    "Jam": "20.20",
    "Asal": "lapas-rekaan",
    "Tujuan": "rutan-rekaan",
    "Alasan": "pembinaan",
    "Nama": "Contoh Dua",
    "NIK": "9999990101900002",
    "Jumlah": "2",
    "Hari": "",
    "Lintang": "-7,5",
    "Berat": "1.328,27",
    "Curiga": "gugup; terburu-buru",
}
ODD = [
    "", " ", "0", "-0", "-1", "1e400", "9" * 5_000, "0," + "0" * 5_000 + "1", "1.000", "1,5",
    "\u0663", "NaN", "Infinity", "true", "None", "01/01/0001", "31/12/9999", "1/1/1",
    "29/2/2025", "00.00", "24.00", "23.59", "Jum\u2019at, 14 Maret 2025", "Kamis, 14 Maret 2025",
    "14032025", "1112020", "0001-01-01T00:00:00.1234567+07:00",
    "9999-12-31T23:59:59.999999999-23:59", "Asia/Jakarta", "Pacific/Apia", "Etc/GMT-14",
    "Etc/GMT+12", "../../etc/passwd", "Asia", "", "localtime", "UTC", "Mars/Base", "__init__/x",
    "a" * 255 + "/b", "x" * 301, "x" * 70_000, "\u0000", "\u0007", "\u2028", "\u202e", "\ufeff",
    "\U0001f4a9" * 80, "e\u0301" * 200, "=1+1", "%s", "{No}", "[/b]", '"', "'", "\\.", "\\N",
]  # fmt: skip
cells = st.sampled_from(ODD) | st.sampled_from(sorted(GOOD.values())) | st.text(max_size=20)
rows = st.dictionaries(st.sampled_from(COLUMNS), cells, max_size=4).map(
    lambda changed: list((GOOD | changed).values())
)
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the mappings and, in turn, each file."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, document in (("transfer", TRANSFERS), ("seizure", SEIZURES)):
        (folder / f"{name}.toml").write_text(tomli_w.dumps(document), "utf-8")
    return folder


def written(table: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([COLUMNS, *table])
    return text.getvalue().encode("utf-8", "surrogatepass")


def taken_in(folder: Path, mapping: Path) -> dict[str, Any]:
    """Try a file; the summary, or nothing where file or mapping is refused whole."""
    file, told = folder / "file.csv", folder / "refused.ndjson"
    try:
        meaning = Mapping.load(mapping)
        told.unlink(missing_ok=True)
        with RefusedLines(told) as refused_lines:
            intake = Intake(meaning, None, refused_lines)
            summary: dict[str, Any] = intake.run(file, lambda *_: None).document()
    except (errors.InputRefused, errors.MappingRefused):
        return {}
    assert summary["lines"] == summary["ready"] + summary["refused"]
    refused = [json.loads(line) for line in told.read_bytes().splitlines()] if told.exists() else []
    assert len(refused) == summary["refused"]
    assert all(each["problems"] for each in refused)
    counts = Counter(problem["rule"] for each in refused for problem in each["problems"])
    assert all(counts)
    assert sum(each["count"] for each in summary["refusals"]) == sum(counts.values())
    lines = [each["line"] for each in refused]
    assert lines == sorted(set(lines))
    return summary


@pytest.mark.parametrize("event_type", ["transfer", "seizure"])
@QUIET
@given(table=st.lists(rows, max_size=4))
@example(
    table=[list((GOOD | {"Tanggal": "01/01/0001", "Jam": "00.00"}).values()), [*GOOD.values()]]
)
@example(
    table=[list((GOOD | {"Tanggal": "31/12/9999", "Jam": "20.00"}).values()), [*GOOD.values()]]
)
@example(table=[list((GOOD | {"Tanggal": "02/01/0001", "Zona": "UTC"}).values())])
@example(table=[list((GOOD | {"Tanggal": "31/12/9999", "Zona": "Etc/GMT+12"}).values())])
def test_whatever_cells_hold_each_line_is_published_or_refused(
    folder: Path, event_type: str, table: list[list[str]]
) -> None:
    (folder / "file.csv").write_bytes(written(table))
    summary = taken_in(folder, folder / f"{event_type}.toml")
    broken = any("\n" in cell or "\r" in cell for row in table for cell in row)
    assert summary["lines"] + summary["blank"] == len(table) or broken


@QUIET
@given(data=st.data())
def test_whatever_a_file_holds_it_is_taken_in_or_refused(folder: Path, data: st.DataObject) -> None:
    content = bytearray(written(data.draw(st.lists(rows, max_size=3))))
    marks = [b'"', b"\n", b"\r", b",", b"\0", b'"\n"', b"\xff"]
    noise = st.binary(max_size=6) | st.sampled_from(marks)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(noise)
    (folder / "file.csv").write_bytes(content)
    taken_in(folder, folder / "transfer.toml")


@pytest.mark.parametrize("line", [b'""', b'"', b'" "', b'"",""', b'\x01""', b"\x0c", b'"\n"'])
def test_a_line_of_quotes_alone_is_refused_or_blank_and_the_others_go_on(
    folder: Path, line: bytes
) -> None:
    """Also as the first one after the title row and as the last one of the file."""
    title, row = written([]), written([[*GOOD.values()]]).removeprefix(written([]))
    for content in (title + line + b"\r\n" + row, title + row + line, title + row + line + b"\r\n"):
        (folder / "file.csv").write_bytes(content)
        assert taken_in(folder, folder / "transfer.toml") or line == b'"'


ENCODINGS = ["utf-8", "utf-7", "utf-16", "utf-16-le", "utf-32", "cp500", "big5", "idna", "punycode"]
ENCODINGS += ["undefined", "unicode_escape", "iso2022_jp", "rot13", "base64", "utf-8\0", "é"]
WORDS = [*ENCODINGS, *COLUMNS, "", "%d/%m/%Y", "%", "%d%d%m%Y", "%z%z", ";", "\t", "\n", '"']
KEYS = ["column", "columns", "constant", "template", "codes", "default", "format", "split", "name"]
values = st.recursive(
    st.sampled_from(WORDS)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a mapping."""
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in inner:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@QUIET
@given(data=st.data())
def test_whatever_a_mapping_holds_it_is_used_or_refused(folder: Path, data: st.DataObject) -> None:
    document = deepcopy(data.draw(st.sampled_from([TRANSFERS, SEIZURES])))
    document["file"] = {"encoding": "utf-8", "delimiter": ",", "quote": '"', "line_breaks": " "}
    document["file"] |= {"header_line": 1, "ignore": []}
    for _ in range(data.draw(st.integers(1, 2))):
        put(document, data.draw(st.sampled_from(places(document))), data.draw(values))
        if data.draw(st.booleans()):
            break
    mapping = folder / "mapping.toml"
    mapping.write_text(tomli_w.dumps(document), "utf-8")
    (folder / "file.csv").write_bytes(written([[*GOOD.values()]]))
    taken_in(folder, mapping)


def test_whatever_cells_hold_a_real_outbox_takes_the_line_or_it_is_refused(
    folder: Path, postgresql: str, tmp_path: Path
) -> None:
    upgrade(postgresql, Role.PRODUCER)
    engine = sa.create_engine(postgresql)
    publishing = backfill_into(outbox(tmp_path / "agreements"), engine)
    table = [list((GOOD | {name: cell}).values()) for name in COLUMNS for cell in ODD]
    (folder / "file.csv").write_bytes(written(table))
    mapping = Mapping.load(folder / "transfer.toml")
    with RefusedLines(None) as refused:
        summary = Intake(mapping, publishing, refused).run(folder / "file.csv", lambda *_: None)
    assert summary.lines == summary.published + summary.refused
    assert summary.published > len(COLUMNS)
    with engine.connect() as connection:
        count = connection.execute(sa.text("SELECT count(*) FROM sinergi_producer.outbox"))
        assert count.scalar_one() == summary.published
    engine.dispose()
