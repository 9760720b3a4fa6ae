"""The page of the verifier gives each reason, code and field in Indonesian beside English."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

import evidence_bundles
from evidence_bundles import KEYS, VECTORS
from sinergi_consumers.audit.evidence.omissions import REASONS
from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.contents import report_of, shown_action
from sinergi_consumers.audit.records.changes import shown_code
from sinergi_schemas import codes
from sinergi_schemas.avro_types.nodes import EnumType
from test_evidence_page import EXPECTED, SOURCE, browser, folder, opened, page, told

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ["browser", "folder", "opened", "page"]  # fixtures

pytestmark = pytest.mark.long

TEXT = SOURCE.read_text("utf-8")
VERIFIER, _, PAGE = TEXT.partition("// The page\n")
# A schema's faults are one reason; these texts are never shown.
VERIFIER = re.sub(r"function parseType.*?function decode", "", VERIFIER, flags=re.DOTALL)
GIVEN = re.compile(
    r"(?:new (?:Refused|Disproved|Malformed)\(|\bleave\(|\brefuse\(|\.push\(\[|wellFormed\("
    r"|const what = |(?:return|\?) (?=[`\"]it ))(?:(?!;\n|; \}|; return).)*",
    re.DOTALL,
)
LITERAL = re.compile(r'"([^"]*)"|`((?:[^`$]|\$\{[^}]*\})*)`')
WORDLESS = re.compile(r"data/|bagit|(?:.* )?$|states that \{\}$|\{\}: \{\}$|c2sp")


def reasons() -> set[str]:
    """Each reason in the code of the verifier, with {} for what is put in."""
    found: set[str] = set()
    for given in GIVEN.finditer(VERIFIER):
        for literal in LITERAL.finditer(given.group()):
            text = re.sub(r"\$\{[^}]*\}", "{}", literal[1] or literal[2] or "")
            text = text.replace("{}/{}", "{}")  # the name of a key
            found |= set() if WORDLESS.match(text) else {text}
    return found | {f"{{}} {each}" for each in REASONS.values()}


def translated() -> dict[str, str]:
    """The table of the page."""
    table = PAGE[PAGE.index("const INDONESIAN = {") : PAGE.index("const FORMS")]
    return dict(re.findall(r'"([^"]+)":\s+"([^"]+)"', table))


def test_each_reason_of_the_verifier_has_indonesian_and_no_other_text_has() -> None:
    words = translated()
    assert len(words) > 90
    assert {*words} == reasons()
    for english, indonesian in words.items():
        assert english.count("{}") == indonesian.count("{}"), english
        assert english != indonesian


@pytest.mark.parametrize("name", EXPECTED)
def test_each_reason_about_a_bundle_is_given_in_both_languages(page: Page, name: str) -> None:
    data = base64.b64encode((VECTORS / f"{name}.zip").read_bytes()).decode()
    given: list[list[str]] = [EXPECTED[name]["keys"], []]
    for keys in given:
        found = page.evaluate(
            "async ([bytes, keys]) => {"
            " const binary = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));"
            " const { disproved, unchecked, refused } ="
            "   await sinergi.verify(binary, await sinergi.keysIn(keys));"
            " const all = [...disproved, ...unchecked].map(([, what]) => what);"
            " const said = [...all, ...(refused ? [refused] : [])];"
            " return said.map(each => [each, indonesianOf(each)]);"
            "}",
            [data, "\n".join(keys)],
        )
        for english, indonesian in found:
            assert indonesian, english


def test_a_person_reads_both_languages_beside_the_file(opened: Page) -> None:
    opened.fill("#keys", "\n".join(map(str, KEYS)))
    opened.set_input_files("#file", str(VECTORS / "signed-search-rewritten.zip"))
    opened.wait_for_selector(".verdict.disproved")
    row = (
        "data/statement.note menandatangani data/search.json atau data/custody.json yang lain,"
        " bukan yang terdapat dalam berkas bukti · signs another data/search.json or"
        " data/custody.json than those of the bundle"
    )
    assert opened.locator("main li").all_text_contents() == [row]
    opened.evaluate("() => take([new File([], 'case.zip')])")
    opened.wait_for_selector(".verdict.open")
    assert "berkas itu kosong · it is empty" in told(opened)


def test_what_the_maker_wrote_stays_as_it_is_in_a_reason(page: Page) -> None:
    for english, indonesian in {
        "states that sinergi.a.b could not be read: no right: $1 {}": (
            "menyatakan bahwa sinergi.a.b tidak dapat dibaca: no right: $1 {}"
        ),
        "is no leaf: it ends too early": "bukan daun: berakhir terlalu awal",
        "says something else": "",
    }.items():
        assert page.evaluate("indonesianOf", english) == indonesian


def test_the_page_shows_each_field_of_an_event_as_the_report_does(
    opened: Page, tmp_path: Path
) -> None:
    """With the term of a code and the meaning of the field, in both languages."""
    bundle = tmp_path / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    opened.fill("#keys", "\n".join(map(str, KEYS)))
    opened.set_input_files("#file", str(bundle))
    opened.wait_for_selector(".verdict.proved")
    report = report_of(evidence_bundles.contents())
    for number, event in enumerate(report.events):
        shown = opened.locator("details").nth(number)
        assert f"{event.revision} {event.action}" in (shown.locator("summary").text_content() or "")
        fields = shown.locator("dl").nth(1)
        names, cells = fields.locator("dt").all_text_contents(), fields.locator("dd")
        assert names == [each.path for each in event.fields]
        assert cells.all_text_contents() == [f"{each.value}{each.meaning}" for each in event.fields]
    page_text = told(opened)
    assert "RECORDED (dicatat: first event of the record; always revision 1)Tindakan" in page_text
    assert "Waktu kejadian. · When it happened (waktu kejadian)." in page_text
    assert str(wording.NOT_SEALED) in page_text


def test_the_page_has_the_term_of_every_code_and_of_nothing_else(page: Page) -> None:
    lists = [each for each in vars(codes).values() if getattr(each, "__base__", None) is codes.Code]
    assert len(lists) > 20
    told = page.evaluate(
        "given => given.map(([list, code]) => withTerm(code, termOf(list, code)[1]))",
        [[each.__name__, code] for each in lists for code in each],
    )
    enums = [EnumType(each.__name__, tuple(map(str, each))) for each in lists]
    assert told == [shown_code(each, code) for each in enums for code in each.symbols]
    actions = page.evaluate(
        "codes => codes.map(code => withTerm(code, termOf('Action', code)[0]))",
        [*codes.Action],
    )
    assert actions == [shown_action(each) for each in codes.Action]
    for name in ("constructor", "__proto__", "Elsewhere"):
        assert page.evaluate("name => termOf(name, name)", name) == ["", ""]
        assert page.evaluate("name => termOf('Action', name)", name) == ["", ""]
        assert page.evaluate("name => meaningOf(name)", name) == name
