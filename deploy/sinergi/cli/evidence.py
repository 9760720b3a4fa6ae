"""`sinergi evidence`: make a file of evidence, and verify one without a broker or a network."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import (
    AsJson,
    Force,
    TopicAgencies,
    TopicNames,
    TopicTypes,
    WithRelated,
    command_group,
)
from sinergi.cli.replay_options import EventChoice, choosing_events
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.evidence import archive
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verification import verify as verified
from sinergi_schemas import errors
from sinergi_schemas.files import input_file
from sinergi_schemas.files.output_file import AS_USUAL, OutputFile
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.keys import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict, ProvedEvent
    from sinergi_schemas.agreements.collection import Agreements

_MOST_KEY_BYTES = 1024 * 1024
_COLUMNS = (
    TableColumn("recorded at"),
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("leaf", ColumnKind.NUMBER),
    TableColumn("record"),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("receipts, signed at", ColumnKind.PROSE),
)
_STYLES = {True: "bold green", False: "bold red", None: "bold yellow"}

app = command_group("evidence", "Make a file of evidence; verify one, without a network.")


@app.command()
@choosing_events
def create(
    topics: TopicNames = None,
    agency: TopicAgencies = None,
    event_type: TopicTypes = None,
    chosen: EventChoice = EventChoice(),
    related: WithRelated = False,
    *,
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="What it is made for, as a case number.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="Who makes it; else the agency or the login."),
    ] = None,
    force: Force = False,
) -> None:
    """Write events with their proofs into one file that verifies offline.

    It reads and verifies the topics as `sinergi replay` does, and chooses events by the same
    options; at least one is needed. The file holds each event as sealed bytes and as JSON, its
    proof under the owner's checkpoint, the owner's heads, the readers' receipts, the schemas, the
    agreements with their signatures, and who made it, when and why. If no event matches, it
    attests which trees were searched, up to which size. It holds personal data, and only you can
    read it.

    Exit status: 0 written; 1 written, but a topic is not what was sealed, and nothing of
    its broken partitions is in the file; 2 not written, or not all could be checked.

    Examples:
      sinergi evidence create --case LKN/12/III/2026 --related --why "12/Pid.Sus/2026" -o case.zip
      sinergi evidence create --key MUT/2026/0093 --why "Request of 3 March" -o 0093.zip
    """
    from sinergi.cli import evidence_creation, replay_topics, verdict  # noqa: PLC0415 - polars
    from sinergi.cli.native_output import logged_native_output  # noqa: PLC0415 - for polars
    from sinergi.cli.replay_filter import filter_of  # noqa: PLC0415 - as above
    from sinergi.cli.replay_progress import run_series  # noqa: PLC0415 - as above

    if not chosen.described:
        raise errors.EvidenceRefused("say which events, as by --case, --key, --nik or --name")
    if not why.strip():
        raise errors.EvidenceRefused("--why is empty; state what the evidence is made for")
    wanted = filter_of(chosen)
    OutputFile.check(out, force=force)
    request = evidence_creation.EvidenceRequest(
        wanted,
        replay_topics.parsed(topics or [], has_copies=False),
        agency or [],
        event_type or [],
        {**chosen.described, "related": related},
        why.strip(),
        by,
    )
    with logged_native_output():
        made = evidence_creation.make(
            root.settings(), request, lambda series: run_series(series, wanted)
        )
    with OutputFile.open(out, force=force) as target:
        target.write(made.data)
    evidence_creation.report(made)
    for line in _notes(made.verified):
        terminal.note(line)
    events = counted(len(made.verified.events), "event")
    terminal.note(f"sinergi: {out} holds {events}; note down its SHA-256")
    raise typer.Exit(verdict.exit_status(made.series.audits, record=None))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle, a ZIP file.")],
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="A public key that you trust, NAME+ID+KEY, or a file of them. May be repeated.",
        ),
    ] = None,
    agreements: Annotated[
        list[Path] | None,
        typer.Option(
            "--agreement",
            metavar="FILE",
            help="An agreement whose keys you trust: your own copy. May be repeated.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Prove what a bundle of evidence shows, or name each file that is not what it has to be.

    It needs no settings, no broker and no network. No key is taken from the bundle: give the keys
    of the agencies and of their databases, or your own copy of the agreement, which holds them all.
    The SHA-256 of the file is shown, for a comparison with the minutes of its hand-over.

    Exit status: 0 all of it is proved; 1 something is disproved; 2 it is no bundle, or
    something could not be checked, as for a key that is not given.

    Examples:
      sinergi evidence verify case-12.zip --agreement pks.toml
      sinergi evidence verify case-12.zip --key keys.txt --json
    """
    trusted = TrustedKeys(_keys(keys or []), _agreements(agreements or []))
    try:
        _, data = input_file.read(file, archive.MOST_BYTES)
    except OSError as why:
        what = f"{file} cannot be read ({why.strerror})"
        raise errors.BundleRefused(what) from None
    verdict = verified(data, trusted)
    if as_json:
        terminal.show_json(_document(verdict))
    else:
        terminal.show_table(_COLUMNS, map(_row, verdict.events))
    for line in _notes(verdict):
        terminal.note(line)
    for each in verdict.disproved:
        terminal.note(f"sinergi: disproved: {each}")
    for each in verdict.unchecked:
        terminal.note(f"sinergi: not checked: {each}")
    terminal.note(f"verdict: {_sentence(verdict)}", _STYLES[verdict.is_proved])
    raise typer.Exit(_STATUSES[verdict.is_proved])


@app.command()
def page(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    force: Force = False,
) -> None:
    """Write the verifier for a browser: one HTML file that works offline, without Sinergi.

    Open it, paste the keys that you trust or the text of your agreement, and drop a bundle on it.
    It checks the same as `sinergi evidence verify`.

    Example: sinergi evidence page -o verifier.html
    """
    with OutputFile.open(out, force=force, mode=AS_USUAL) as target:
        target.write((files("sinergi_consumers.audit.evidence") / "verifier.html").read_bytes())


_STATUSES = {True: ExitStatus.SUCCESS, False: ExitStatus.NEGATIVE, None: ExitStatus.ERROR}


def _keys(given: Sequence[str]) -> list[VerifyingKey]:
    """The keys that were given, each by itself or as a line of a file.

    Raises:
        TrustRefused: one is neither.
    """
    found: list[VerifyingKey] = []
    for each in given:
        try:
            found.append(VerifyingKey.parse(each))
        except ValueError as why:
            if "+" in each and not Path(each).exists():
                raise errors.TrustRefused(f"--key {each} is not a public key: {why}") from None
            found += _keys_in(Path(each))
    return found


def _keys_in(path: Path) -> Iterator[VerifyingKey]:
    try:
        _, data = input_file.read(path, _MOST_KEY_BYTES)
        lines = data.decode().splitlines()
    except OSError as why:
        what = f"{path} is neither a public key nor a file that can be read ({why.strerror})"
        raise errors.TrustRefused(what) from None
    except UnicodeDecodeError:
        raise errors.TrustRefused(f"{path} is not text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield VerifyingKey.parse(line.strip())
            except ValueError as why:
                what = f"{path}, line {number}, is not a public key: {why}"
                raise errors.TrustRefused(what) from None


def _agreements(paths: Sequence[Path]) -> Agreements | None:
    """The agreements that were given; None without any.

    Raises:
        AgreementRefused: one cannot be used.
    """
    if not paths:
        return None
    from sinergi.settings import agreement_files  # noqa: PLC0415 - needs pydantic, keys do not
    from sinergi_schemas.agreements.collection import Agreements  # noqa: PLC0415 - as above

    return Agreements(agreement_files.read(paths))


def _row(event: ProvedEvent) -> list[str | TableCell]:
    said, place = event.document, event.place
    receipts = sorted(event.receipts, key=lambda each: (each.posix_time, each.database))
    return [
        str(said.get("recorded_at", "")).replace(".000000Z", "Z"),
        place.tp.topic,
        str(place.tp.partition),
        str(place.leaf),
        str(said.get("record_id", "")),
        str(said.get("revision", "")),
        str(said.get("action", "")),
        ", ".join(f"{each.database} {_moment(each.posix_time)}" for each in receipts),
    ]


def _notes(verdict: EvidenceVerdict) -> Iterator[str]:
    if verdict.custody:
        made = verdict.custody
        yield f"sinergi: made at {made['made_at']} by {made['made_by']}, who states: {made['why']}"
    yield f"sinergi: SHA-256 of the file: {verdict.digest}"
    for each in verdict.trees:
        leaves = counted(each.size, "leaf", "leaves")
        heads = "no heads"
        if each.heads_time is not None:
            heads = f"heads of {_moment(each.heads_time)} with {each.heads_size}"
        yield f"sinergi: searched {each.name} up to {leaves}; {heads}"


def _sentence(verdict: EvidenceVerdict) -> str:
    if verdict.disproved:
        return f"disproved: {counted(len(verdict.disproved), 'problem')}"
    if verdict.unchecked:
        return f"not proved: {counted(len(verdict.unchecked), 'part')} could not be checked"
    events = counted(len(verdict.events), "event")
    trees = counted(len(verdict.trees), "topic-partition")
    return f"proved: {events} of {trees}, as their owners sealed them"


def _document(verdict: EvidenceVerdict) -> dict[str, Any]:
    return {
        "proved": verdict.is_proved,
        "sha256": verdict.digest,
        "disproved": [each._asdict() for each in verdict.disproved],
        "not_checked": [each._asdict() for each in verdict.unchecked],
        "custody": verdict.custody,
        "asked_for": verdict.asked_for,
        "trees": [
            {
                "name": each.name,
                "leaves": each.size,
                "heads_signed_at": each.heads_time and _moment(each.heads_time),
                "heads_leaves": each.heads_size,
            }
            for each in verdict.trees
        ],
        "events": [
            {
                "topic": each.place.tp.topic,
                "partition": each.place.tp.partition,
                "leaf": each.place.leaf,
                "event": each.document,
                "receipts": [
                    {"database": held.database, "signed_at": _moment(held.posix_time)}
                    for held in each.receipts
                ],
            }
            for each in verdict.events
        ],
    }


def _moment(posix_time: int) -> str:
    """A POSIX time in UTC; one that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(posix_time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"POSIX time {posix_time}"
