"""A bundle of evidence is verified without a broker, and no change of it stays unseen."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evidence_bundles
from evidence_bundles import CASES, KEYS, TP, VECTORS
from sinergi.cli.root import run
from sinergi_consumers.audit.evidence import archive, bag, places, readable
from sinergi_consumers.audit.evidence.composition import compose
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict, ProvedReceipt
from sinergi_consumers.audit.evidence.verification import verify
from sinergi_schemas import errors
from sinergi_schemas.seal.keys import VerifyingKey
from sinergi_schemas.seal.note import key_names

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED: dict[str, Any] = json.loads(CASES.read_text("utf-8"))
ROOT = Path(__file__).parent.parent
STATUSES = {True: 0, False: 1, None: 2}


def outcome(data: bytes, keys: list[str]) -> dict[str, Any]:
    """What a vector states, as the verifier finds it."""
    try:
        verdict = verify(data, TrustedKeys(map(VerifyingKey.parse, keys)))
    except errors.BundleRefused:
        return {"keys": keys, "status": 2, "problems": []}
    found = {each.file for each in (*verdict.disproved, *verdict.unchecked)}
    return {"keys": keys, "status": STATUSES[verdict.is_proved], "problems": sorted(found)}


def proved() -> EvidenceVerdict:
    return verify(evidence_bundles.bundle(), TrustedKeys(KEYS))


@pytest.mark.parametrize("name", EXPECTED)
def test_each_bundle_gets_the_verdict_that_the_vectors_state(name: str) -> None:
    data = (VECTORS / f"{name}.zip").read_bytes()
    assert outcome(data, EXPECTED[name]["keys"]) == EXPECTED[name]


def test_the_vectors_are_what_their_program_writes() -> None:
    made = evidence_bundles.cases()
    assert made.keys() == EXPECTED.keys() == {each.stem for each in VECTORS.glob("*.zip")}
    for name, case in made.items():
        assert (VECTORS / f"{name}.zip").read_bytes() == case.data, name


def test_a_bundle_says_what_is_proved_and_what_its_maker_states() -> None:
    verdict = proved()
    assert verdict.is_proved
    first, second = verdict.events
    assert [each.place.leaf for each in verdict.events] == [1, 3]
    assert first.document["record_id"] == second.document["record_id"] == "MUT/2"
    assert first.receipts == (ProvedReceipt("bnnk-rekaan/register", evidence_bundles.RECEIPT_TIME),)
    assert second.receipts == ()
    sizes = [(each.name, each.size, each.heads_size) for each in verdict.trees]
    assert sizes == [(f"{TP.topic}/0", 5, 3), (f"{TP.topic}/1", 0, 0)]
    assert verdict.custody["why"] == "Perkara 12/Pid.Sus/2026"


def test_the_same_contents_make_the_same_bytes() -> None:
    assert evidence_bundles.bundle() == evidence_bundles.bundle()


@pytest.mark.long
def test_each_changed_byte_is_found() -> None:
    every_changed_byte_is_found(1)


def test_changed_bytes_are_found_with_their_file() -> None:
    every_changed_byte_is_found(101)


def every_changed_byte_is_found(step: int) -> None:
    """A change in a file's content is found with that file; any other makes it no bundle."""
    whole, trusted = evidence_bundles.bundle(), TrustedKeys(KEYS)
    ranges = list(content_ranges(whole))
    for at in range(0, len(whole), step):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        inside = [name for start, end, name in ranges if start <= at < end]
        if not inside:
            with pytest.raises(errors.BundleRefused):
                verify(bytes(changed), trusted)
        else:
            verdict = verify(bytes(changed), trusted)
            assert inside[0] in " ".join(map(str, verdict.disproved)), at


def content_ranges(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Where each file's content stands in the bytes of a bundle, and its path in the bag."""
    at = 0
    for name, content in archive.unpack(data).files.items():
        start = at + 30 + len(name)
        at = start + len(content)
        yield start, at, name.removeprefix(bag.ROOT)


@pytest.mark.parametrize("is_too_large", [False, True])
def test_an_archive_of_topics_is_called_one_with_the_commands_that_read_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_too_large: bool
) -> None:
    file = VECTORS.parent / "archive" / "small.zip"
    if is_too_large:
        monkeypatch.setattr(archive, "MOST_BYTES", file.stat().st_size - 1)
    assert run(["evidence", "verify", str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "it is an archive of topics, which `sinergi archive show` shows" in err
    assert "`sinergi replay --archive FILE` verifies its topics." in err
    assert "unpacked" not in err


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,3}(/[a-z.]{1,3}[a-z])?", fullmatch=True), st.binary())
)
def test_what_is_packed_comes_out_again(files: dict[str, bytes]) -> None:
    named = {name: data for name, data in files.items() if archive.is_name(name)}
    if named:
        assert archive.unpack(archive.pack(named)) == (named, ())


@given(st.binary(max_size=200))
def test_no_bytes_cause_another_error(data: bytes) -> None:
    for given_bytes in (data, b"PK\x03\x04" + data):
        with pytest.raises(errors.BundleRefused):
            verify(given_bytes, TrustedKeys())


def test_python_and_other_programs_read_the_archive(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "case.zip"
    path.write_bytes(evidence_bundles.bundle())
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        read = {each: found.read(each) for each in found.namelist()}
    assert read == archive.unpack(path.read_bytes()).files


# Texts that two programs have to write alike


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-8.25, "-8.25"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        ([], "[]"),
        ({}, "{}"),
        ('\u2028\x7f\x1f"\\é', '"\u2028\x7f\\u001f\\"\\\\é"'),
        ({"a": [1, None, True]}, '{\n  "a": [\n    1,\n    null,\n    true\n  ]\n}'),
    ],
)
def test_json_is_written_as_javascript_writes_it(value: Any, text: str) -> None:
    assert readable.json_text(value) == f"{text}\n"


# Keys


def test_the_keys_of_an_agreement_suffice(tmp_path: Path, capsys: Any) -> None:
    agreement, bundle = tmp_path / "pks.toml", tmp_path / "case.zip"
    agreement.write_bytes(evidence_bundles.AGREEMENT)
    bundle.write_bytes(evidence_bundles.bundle())
    assert run(["evidence", "verify", str(bundle), "--agreement", str(agreement)]) == 0
    shown = capsys.readouterr()
    assert "MUT/2" in shown.out
    assert "bnnk-rekaan/register" in shown.out
    assert "looked for: record MUT/2" in shown.out
    assert "times are in Asia/Jakarta (WIB, +07:00)" in shown.out
    assert "2026-03-09 08:30:00" in shown.out
    assert "that no other event matches, is stated by the maker" in shown.err
    assert "no given key has signed it" in shown.err
    assert (
        "verdict: proved: 2 events, as their owners sealed them; 2 topic-partitions searched"
        in shown.err
    )


def test_without_a_key_it_says_how_to_give_one_and_not_that_nothing_matches(
    tmp_path: Path, capsys: Any
) -> None:
    bundle = tmp_path / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    assert run(["evidence", "verify", str(bundle)]) == 2
    shown = capsys.readouterr().err
    assert "no key was given: give your own copy of the agreement by --agreement" in shown
    assert "that no other event matches, is stated by the maker" in shown
    assert "whose key is not given" not in shown


def test_another_key_of_the_owner_is_named_once_beside_the_key_that_was_given(
    tmp_path: Path, capsys: Any
) -> None:
    bundle, given = tmp_path / "case.zip", tmp_path / "keys.txt"
    bundle.write_bytes(evidence_bundles.bundle())
    given.write_text(f"{evidence_bundles.STRANGER.public}\n", encoding="utf-8")
    assert run(["evidence", "verify", str(bundle), "--key", str(given)]) == 2
    shown = capsys.readouterr().err
    ours, theirs = (
        key_names([each.public]) for each in (evidence_bundles.OWNER, evidence_bundles.STRANGER)
    )
    said = (
        f"each is signed by {ours}, a key that is not given (given: {theirs}): ask its owner which"
    )
    assert shown.count(said) == 1
    assert "disproved" not in shown


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absence-unsigned", "not proved: 1 part could not be checked"),
        ("absence-signed", "attested, not proved: sinergi.example/bnnk-rekaan has signed that"),
    ],
)
def test_an_absence_is_never_called_proved(name: str, sentence: str, capsys: Any) -> None:
    keys = [option for key in KEYS for option in ("--key", str(key))]
    status = run(["evidence", "verify", str(VECTORS / f"{name}.zip"), *keys])
    shown = capsys.readouterr()
    assert status == EXPECTED[name]["status"]
    assert shown.out == "looked for: record MUT/2\n"  # and no table without rows
    assert "times below are in Asia/Jakarta (WIB, +07:00)" in shown.err  # of the agreement
    assert f"verdict: {sentence}" in shown.err
    assert "proved: sinergi.lapas-rekaan.transfer/0 has 5 leaves; heads of" in shown.err


def test_what_was_looked_for_cannot_be_rewritten_unnoticed_where_the_maker_signed() -> None:
    data = (VECTORS / "signed-search-rewritten.zip").read_bytes()
    verdict = verify(data, TrustedKeys(KEYS))
    assert "signs another data/search.json" in " ".join(map(str, verdict.disproved))


def test_an_agreement_other_than_that_of_the_events_is_named(tmp_path: Path, capsys: Any) -> None:
    agreement, bundle = tmp_path / "pks.toml", tmp_path / "case.zip"
    agreement.write_bytes(evidence_bundles.AGREEMENT + b"\n# another\n")
    bundle.write_bytes(evidence_bundles.bundle())
    assert run(["evidence", "verify", str(bundle), "--agreement", str(agreement), "--json"]) == 0
    shown = capsys.readouterr()
    digest = evidence_bundles.AGREEMENT_DIGEST
    told = f"2 events published under the agreement with the SHA-256 {digest}, which you did not"
    assert told in shown.err
    stated = json.loads(shown.out)["agreements"]
    assert stated == [{"sha256": digest, "events": 2, "given": False}]


def test_a_replaced_key_counts_up_to_the_size_that_the_agreement_gives_it(
    tmp_path: Path, capsys: Any
) -> None:
    agreement, bundle = tmp_path / "pks.toml", tmp_path / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    for last, status in ((5, 0), (4, 1)):
        agreement.write_text(evidence_bundles.replacing_agreement(last), encoding="utf-8")
        assert run(["evidence", "verify", str(bundle), "--agreement", str(agreement)]) == status
    assert "was replaced and signs nothing above 4 leaves" in capsys.readouterr().err


def test_keys_are_given_by_themselves_or_as_a_file(tmp_path: Path, capsys: Any) -> None:
    keys, bundle = tmp_path / "keys.txt", tmp_path / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    keys.write_text("\n".join(map(str, KEYS[1:])), encoding="utf-8")
    given_keys = ["--key", str(KEYS[0]), "--key", str(keys)]
    assert run(["evidence", "verify", str(bundle), *given_keys, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["proved"], len(told["events"])) == (True, 2)
    assert told["sha256"] == proved().digest


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.zip"], "missing.zip cannot be read (No such file or directory). Nothing was"),
        (["."], ". cannot be read (Is a directory)"),
        (["case.zip", "--key", "nobody+1"], "--key nobody+1 is not a public key"),
        (["case.zip", "--key", "none.txt"], "none.txt is neither a public key nor a file"),
        (["case.zip", "--key", "case.zip"], "case.zip is not text in UTF-8"),
        (["case.zip", "--key", "words.txt"], "words.txt, line 1, is not a public key"),
        (["case.zip", "--agreement", "words.txt"], "words.txt"),
        (["case.zip", "--key", "pks.toml"], "pks.toml is an agreement; give it by --agreement"),
        (["empty.zip"], "The file is not an evidence bundle: it is empty"),
        (["words.txt"], "The file is not an evidence bundle: it does not begin as a ZIP file"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("case.zip").write_bytes(evidence_bundles.bundle() + b"\xff")
    Path("words.txt").write_text("some words\n", encoding="utf-8")
    Path("empty.zip").touch()
    Path("pks.toml").write_bytes(evidence_bundles.AGREEMENT)
    assert run(["evidence", "verify", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert told in shown.err


def test_names_in_a_bundle_cannot_leave_its_folder() -> None:
    for name in ("../a", "a/../b", "/a", "a//b", "a/", "", ".a", "a\\b", "a b", "ä", "a" * 256):
        assert not archive.is_name(name), name
        with pytest.raises(ValueError, match="other characters"):
            archive.pack({name: b""})


# What it needs


SCRIPT = """
import socket, sys
def refuse(*_): raise AssertionError("a socket")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verification import verify
from sinergi_schemas.seal.keys import VerifyingKey
bundle, *keys = sys.argv[1:]
verdict = verify(open(bundle, "rb").read(), TrustedKeys(map(VerifyingKey.parse, keys)))
print(verdict.is_proved, len(verdict.events))
"""


def test_cryptography_and_pynacl_suffice_and_no_socket_is_opened(tmp_path: Path) -> None:
    """A new environment that has these libraries and what they require, and nothing else."""
    environment, bundle = tmp_path / "environment", tmp_path / "case.zip"
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    for name in ("cryptography", "pynacl", "cffi", "pycparser", "typing_extensions"):
        link_distribution(name, site)
    sources = "\n".join(str(ROOT / each) for each in ("schemas", "consumers"))
    (site / "sources.pth").write_text(sources, encoding="utf-8")
    bundle.write_bytes(evidence_bundles.bundle())
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", SCRIPT, bundle, *map(str, KEYS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True 2\n", "")


def link_distribution(name: str, site: Path) -> None:
    """Put the files of an installed library into another environment."""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return
    for each in {Path(each.parts[0]) for each in files if each.parts[0] != ".."}:
        source = Path(str(metadata.distribution(name).locate_file(str(each))))
        if source.exists() and not (site / each).exists():
            (site / each).symlink_to(source)


def test_the_command_runs_without_kafka_databases_and_polars(tmp_path: Path) -> None:
    bundle = tmp_path / "case.zip"
    bundle.write_bytes(evidence_bundles.bundle())
    code = (
        "import sys\n"
        "for each in ('confluent_kafka', 'sqlalchemy', 'psycopg', 'polars', 'fastavro'):\n"
        "    sys.modules[each] = None\n"
        "from sinergi.cli.root import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    keys = [option for key in KEYS for option in ("--key", str(key))]
    arguments = ["evidence", "verify", str(bundle), *keys]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_bundle_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    report = {places.REPORT_PDF: b"x" * 1001}
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        compose(replace(evidence_bundles.contents(), reports=report), "2026-12-01", "sinergi")
