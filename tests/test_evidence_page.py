"""The verifier in a browser says of each bundle what the other verifier says.

It runs in Chromium (Debian's package `chromium`). SINERGI_TEST_CHROMIUM names another program.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

import evidence_bundles
from evidence_bundles import CASES, KEYS, VECTORS
from sinergi.cli.root import run
from sinergi_consumers.audit.evidence import archive
from sinergi_consumers.audit.evidence.composition import compose
from sinergi_consumers.audit.evidence.report.search_terms import looked_for
from sinergi_schemas.seal.keys import VerifyingKey
from test_evidence_terms import every_option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long

EXPECTED: dict[str, Any] = json.loads(CASES.read_text("utf-8"))
SOURCE = files("sinergi_consumers.audit.evidence") / "verifier.html"
EXAMPLE = VECTORS.parents[2] / "examples" / "agreement" / "banyuwangi.toml"
PUBLIC_KEYS = json.loads((VECTORS.parent / "seal" / "public-keys.json").read_text("utf-8"))
VERIFY = """
async ([bytes, keys]) => {
  const binary = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  const found = await sinergi.verify(binary, await sinergi.keysIn(keys));
  const problems = [...found.disproved, ...found.unchecked].map(([file]) => file);
  return [found.status, [...new Set(problems)].sort(), found.refused];
}
"""


def browser_program() -> str:
    program = os.environ.get("SINERGI_TEST_CHROMIUM") or shutil.which("chromium")
    assert program, "install Debian's package chromium, or name one in SINERGI_TEST_CHROMIUM"
    return program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as library:
        started = library.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the page as the command writes it."""
    found = tmp_path_factory.mktemp("page")
    assert run(["evidence", "page", "--out", str(found / "verifier.html")]) == 0
    return found


@pytest.fixture(scope="module")
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    """The page, opened as a local file without a network."""
    context = browser.new_context(offline=True)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto((folder / "verifier.html").as_uri())
    yield opened
    assert errors == []
    context.close()


def of_the_page(page: Page, data: bytes, keys: str) -> list[Any]:
    found: list[Any] = page.evaluate(VERIFY, [base64.b64encode(data).decode(), keys])
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_both_verifiers_say_the_same_of_each_bundle(page: Page, name: str) -> None:
    data, expected = (VECTORS / f"{name}.zip").read_bytes(), EXPECTED[name]
    status, problems, _ = of_the_page(page, data, "\n".join(expected["keys"]))
    assert (status, problems) == (expected["status"], expected["problems"])


def test_each_changed_byte_is_found_by_the_page_too(page: Page) -> None:
    whole, keys = evidence_bundles.bundle(), "\n".join(map(str, KEYS))
    for at in range(0, len(whole), 331):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        status, problems, refused = of_the_page(page, bytes(changed), keys)
        assert status != 0, at
        assert problems or refused, at


def test_an_archive_of_topics_is_called_one_by_the_page_too(page: Page) -> None:
    data = (VECTORS.parent / "archive" / "small.zip").read_bytes()
    status, _, refused = of_the_page(page, data, "\n".join(map(str, KEYS)))
    assert (status, "it is an archive of topics" in refused) == (2, True)


def test_keys_are_found_in_the_text_of_an_agreement(page: Page) -> None:
    keys = evidence_bundles.AGREEMENT.decode()
    assert of_the_page(page, evidence_bundles.bundle(), keys)[0] == 0


@pytest.mark.parametrize("form", ["inline", "tables", "array"])
def test_a_replaced_key_signs_no_larger_tree_for_the_page_than_for_the_command(
    page: Page, tmp_path: Path, form: str
) -> None:
    """Whoever has stolen it could make a bundle that the page calls proved."""
    whole, file, agreement = evidence_bundles.bundle(), tmp_path / "c.zip", tmp_path / "pks.toml"
    file.write_bytes(whole)
    maker = str(evidence_bundles.key_of("ombudsman.example/desk").public)
    for last, expected in ((5, 0), (4, 1)):
        text = evidence_bundles.replacing_agreement(last, form)
        agreement.write_text(text, encoding="utf-8")
        assert run(["evidence", "verify", str(file), "--agreement", str(agreement)]) == expected
        for keys in (text, f"{maker}\n{text}", f"{text}\n{maker}\n{maker}\n"):
            assert of_the_page(page, whole, keys)[0] == expected, (last, keys)
        # The key by itself may sign any tree.
        assert of_the_page(page, whole, "\n".join(map(str, KEYS)))[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        evidence_bundles.replacing_agreement(4) * 2,
        evidence_bundles.replacing_agreement(4).replace("until = {", "until = "),
        evidence_bundles.replacing_agreement(4) + 'text = """\n',
        evidence_bundles.replacing_agreement(4) + f"x = {'[' * 9}",
    ],
    ids=["two", "brace", "string", "array"],
)
def test_no_key_is_taken_from_an_agreement_that_cannot_be_read(page: Page, text: str) -> None:
    why = page.evaluate("text => sinergi.keysIn(text).then(() => '', why => why.message)", text)
    assert why.startswith("it is not the text of one agreement")


def test_the_page_reads_each_key_of_an_agreement_as_people_write_it(page: Page) -> None:
    text = EXAMPLE.read_text("utf-8")
    count = "async text => (await sinergi.keysIn(text)).length"
    found = page.evaluate(count, text)
    assert found > 3


@pytest.mark.parametrize("kind", ["small_order", "not_canonical"])
def test_keys_for_which_anybody_can_sign_are_refused(page: Page, kind: str) -> None:
    for each in PUBLIC_KEYS[kind]:
        key = _unchecked_key("sinergi.example/lapas-rekaan", bytes.fromhex(each))
        told = page.evaluate(
            "async key => { try { await sinergi.keysIn(key); return ''; }"
            " catch (why) { return why.message; } }",
            key,
        )
        assert told == "the key is not valid", each
    for each in PUBLIC_KEYS["published"]:
        good = str(
            VerifyingKey("sinergi.example/a", evidence_bundles.OWNER.algorithm, bytes.fromhex(each))
        )
        assert page.evaluate("async key => (await sinergi.keysIn(key)).length", good) == 1


def _unchecked_key(name: str, public: bytes) -> str:
    body = b"\x01" + public
    key_id = sha256(f"{name}\n".encode() + body).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(body).decode()}"


@pytest.mark.parametrize("width", [1200, 390])
def test_a_person_drops_a_file_and_reads_the_verdict(
    browser: Browser, folder: Path, width: int
) -> None:
    bundle = folder / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    opened = context.new_page()
    opened.goto((folder / "verifier.html").as_uri())
    opened.fill("#keys", evidence_bundles.AGREEMENT.decode())
    opened.set_input_files("#file", str(bundle))
    opened.wait_for_selector(".verdict.proved")
    assert opened.locator("details").count() == 2
    assert "bnnk-rekaan/register" in (opened.locator("main").text_content() or "")
    opened.locator("summary").first.click()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(overflow) == 0
    if folder_of_pictures := os.environ.get("SINERGI_TEST_PICTURES"):
        opened.screenshot(path=f"{folder_of_pictures}/verifier-{width}.png", full_page=True)
        opened.pdf(path=f"{folder_of_pictures}/verifier-{width}.pdf")
    context.close()


def test_the_page_never_heads_an_absence_proved(browser: Browser, folder: Path) -> None:
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.goto((folder / "verifier.html").as_uri())
    opened.fill("#keys", evidence_bundles.AGREEMENT.decode())
    opened.set_input_files("#file", str(VECTORS / "absence-signed.zip"))
    opened.wait_for_selector(".verdict.open")
    shown = told(opened)
    assert "Stated and signed, not proved" in shown
    assert "no event matches in the 2 trees below" in shown
    assert "nomor catatan (record) MUT/2 · record MUT/2" in shown
    assert f"Signed by{evidence_bundles.READER.name}" in shown
    assert "All times on this page: Asia/Jakarta (WIB, +07:00)" in shown  # of the agreement
    assert "Made at2026-12-01 16:00:00" in shown
    context.close()


def test_the_page_shows_one_zone_and_names_another_agreement(
    browser: Browser, folder: Path
) -> None:
    context = browser.new_context(offline=True, timezone_id="America/New_York")
    opened = context.new_page()
    opened.goto((folder / "verifier.html").as_uri())
    opened.fill("#keys", evidence_bundles.AGREEMENT.decode() + "\n# another\n")
    opened.set_input_files("#file", str(VECTORS / "topics-left-out.zip"))
    opened.wait_for_selector(".verdict.proved")
    shown = told(opened)
    assert "Asia/Jakarta (WIB, +07:00)" in shown
    assert "2026-03-09 08:30:00" in shown
    assert "recorded_at2026-03-09 08:30:00 (2026-03-09T01:30:00.000000Z)" in shown
    assert "T01:30" not in (opened.locator("summary").first.text_content() or "")
    assert f"SHA-256 {evidence_bundles.AGREEMENT_DIGEST} adalah perjanjian dasar" in shown
    assert "is the agreement under which events were published" in shown
    assert "sinergi.bnnk-rekaan.seizure may not be read by the maker" in shown
    context.close()


@pytest.mark.parametrize("with_related", [False, True])
def test_the_page_and_the_report_name_in_the_same_words_what_was_looked_for(
    page: Page, *, with_related: bool
) -> None:
    asked = every_option(with_related=with_related)
    assert page.evaluate("asked => lookedFor(asked)", asked) == looked_for(asked)
    for name, value in asked.items():
        one = {name: value}
        assert page.evaluate("asked => lookedFor(asked)", one) == looked_for(one), name
    assert page.evaluate("lookedFor({constructor: 'a', other: 1})") == (
        looked_for({"constructor": "a", "other": 1})
    )


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """The page, with nothing in its fields."""
    context = browser.new_context(offline=True)
    found = context.new_page()
    found.goto((folder / "verifier.html").as_uri())
    yield found
    context.close()


def told(opened: Page) -> str:
    return opened.locator("main").text_content() or ""


def test_a_bundle_without_a_key_is_answered_with_what_is_missing(opened: Page) -> None:
    opened.fill("#keys", "the agreement is in the other folder")
    assert "There is no key in this text" in (opened.text_content("#count") or "")
    opened.set_input_files("#file", str(VECTORS / "topics-left-out.zip"))
    opened.wait_for_selector(".verdict.open")
    assert "No key is given: paste the whole text of the agreement" in told(opened)
    assert "whose key is not given" not in told(opened)
    assert "no other event matches" in told(opened)
    assert "0 trees" not in told(opened)


def test_one_of_two_dropped_files_is_never_taken_for_both(opened: Page) -> None:
    opened.fill("#keys", evidence_bundles.AGREEMENT.decode())
    opened.set_input_files("#file", str(VECTORS / "topics-left-out.zip"))
    opened.wait_for_selector(".verdict.proved")
    dropped = opened.evaluate_handle(
        "() => { const both = new DataTransfer();"
        " for (const name of ['a.zip', 'b.zip']) both.items.add(new File(['a'], name));"
        " return both; }"
    )
    opened.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    opened.wait_for_selector(".verdict.open")
    assert "Nothing was checked: drop one file only.a.zip, b.zip" in told(opened)
    assert opened.locator(".verdict.proved").count() == 0


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("new File([], 'case.zip')", "it is empty"),
        ("new File(['[parties]'], 'a.toml')", "it does not begin as a ZIP file"),
        (
            "{name: 'case.zip', size: 2 ** 33, slice: (from, to) => new Blob(['P'.repeat(to)])}",
            "it has 8589934592 bytes, and a bundle has at most 268435456",
        ),
        (
            "{name: 'case', size: 4096, slice: () => ({arrayBuffer: () => Promise.reject()})}",
            "it is a folder, or was moved or changed",
        ),
    ],
)
def test_what_is_no_bundle_gets_its_reason_and_no_other_verdict(
    opened: Page, file: str, expected: str
) -> None:
    opened.evaluate(f"() => take([{file}])")
    opened.wait_for_selector(".verdict.open")
    assert expected in told(opened)


def test_the_verdict_is_of_the_file_that_was_chosen_last(opened: Page) -> None:
    opened.fill("#keys", evidence_bundles.AGREEMENT.decode())
    opened.evaluate(
        "() => { const read = new Promise(resolve => { window.release = resolve; });"
        " take([{name: 'early.zip', size: 9, slice: () => ({arrayBuffer: () => read})}]); }"
    )
    opened.set_input_files("#file", str(VECTORS / "topics-left-out.zip"))
    opened.wait_for_selector(".verdict.proved")
    opened.evaluate("async () => { release(new ArrayBuffer(9)); await sinergi.keysIn(''); }")
    assert "topics-left-out.zip" in told(opened)
    assert "early.zip" not in told(opened)


def test_text_of_an_event_is_never_markup(browser: Browser, folder: Path) -> None:
    contents = evidence_bundles.contents()
    custody = {**contents.custody, "why": "<img src=x onerror=alert(1)>"}
    bundle = folder / "markup.zip"
    bundle.write_bytes(compose(replace(contents, custody=custody), "2026-12-01", "sinergi"))
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.goto((folder / "verifier.html").as_uri())
    opened.fill("#keys", "\n".join(map(str, KEYS)))
    opened.set_input_files("#file", str(bundle))
    opened.wait_for_selector(".verdict.proved")
    assert opened.locator("main img").count() == 0
    assert "<img src=x" in (opened.locator("main").text_content() or "")
    context.close()


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    text = SOURCE.read_text("utf-8")
    assert "default-src 'none'" in text
    for sign in ("http://", "https://", "fetch(", "XMLHttpRequest", "innerHTML", "import("):
        assert sign not in text, sign
    assert archive.MOST_BYTES == 256 * 1024 * 1024
