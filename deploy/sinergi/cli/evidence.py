"""`sinergi evidence`: make a file of evidence, and verify one without a broker or a network."""

from __future__ import annotations

from errno import EFBIG
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli import evidence_verdict, root, terminal, written_files
from sinergi.cli.options import (
    AsJson,
    Force,
    FromArchive,
    TopicAgencies,
    TopicNames,
    TopicTypes,
    WithRelated,
    command_group,
)
from sinergi.cli.replay_options import EventChoice, choosing_events
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.evidence import archive
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verification import check_kind
from sinergi_consumers.audit.evidence.verification import verify as verified
from sinergi_consumers.audit.evidence.verifier_page import page_text
from sinergi_schemas import errors
from sinergi_schemas.files import input_file
from sinergi_schemas.files.output_file import AS_USUAL, OutputFile
from sinergi_schemas.plain_text import counted, has_words
from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_schemas.agreements.collection import Agreements

_MOST_KEY_BYTES = 1024 * 1024
_BEGINNING = 64  # bytes, which show what kind of file it is

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
    sign: Annotated[
        Path | None,
        typer.Option(
            "--sign",
            metavar="KEYFILE",
            help="The maker's private key; else one of this agency, unless --by names another.",
        ),
    ] = None,
    force: Force = False,
    from_archive: FromArchive = None,
) -> None:
    """Write events with their proofs into one file that verifies offline.

    It reads and verifies the topics as `sinergi replay` does, and chooses events by the same
    options; at least one is needed. The file holds each event as sealed bytes and as JSON, its
    proof under the owner's checkpoint, the owner's heads, the readers' receipts, the schemas, the
    agreements with their signatures, and who made it, when and why. It names the topics of the
    agreements that were not searched, and why. If no event matches, it states which trees were
    searched, up to which size. It holds personal data, and only you can read it.

    With --sign, or with a key of this agency that the agreements show, these statements are signed,
    so that nobody can change them unnoticed. Where --by names somebody else, only --sign signs
    them. Nobody can prove that no other event matches.

    Exit status: 0 written; 1 written, but a topic is not what was sealed, and nothing of its broken
    partitions is in the file, or the file does not verify; 2 not written, or not all could be read,
    related records included.

    Examples:
      sinergi evidence create --case BP/3/III/2026 --related --why "12/Pid.Sus/2026" -o case.zip
      sinergi evidence create --key MUT/2026/0093 --why "Request of 3 March" -o 0093.zip
    """
    from sinergi.cli import (  # noqa: PLC0415 - polars
        evidence_creation,
        match_report,
        replay_topics,
        verdict,
    )
    from sinergi.cli.journaled_run import AuditRequest, journaled  # noqa: PLC0415 - as above
    from sinergi.cli.native_output import logged_native_output  # noqa: PLC0415 - for polars
    from sinergi.cli.reading_place import reading_place  # noqa: PLC0415 - as above
    from sinergi.cli.replay_filter import filter_of  # noqa: PLC0415 - as above
    from sinergi.cli.replay_progress import run_series  # noqa: PLC0415 - as above

    if not chosen.described:
        raise errors.EvidenceRefused("say which events, as by --case, --key, --nik or --name")
    if not has_words(why):
        raise errors.EvidenceRefused("--why is empty; state what the evidence is made for")
    wanted = filter_of(chosen)
    OutputFile.check(out, force=force)
    request = evidence_creation.EvidenceRequest(
        wanted,
        replay_topics.parsed(topics or [], has_copies=False),
        agency or [],
        event_type or [],
        asked_for(chosen, related, topics, agency, event_type),
        why.strip(),
        by,
        None if sign is None else SigningKey.load(sign),
    )
    settings = root.settings()
    place = reading_place(settings, settings.agreements(), from_archive)
    names = evidence_creation.topics_of(place, request)
    asked = AuditRequest("evidence create", request.why, request.asked_for)
    with journaled(place, names, asked) as run:

        def read(series: AuditSeries) -> None:
            run.audits = series.audits
            run_series(series, wanted)

        with logged_native_output():
            made = evidence_creation.make(place, names, request, read)
        with OutputFile.open(out, force=force) as target:
            target.write(made.data)
        run.counts["events"] = len(made.verified.events)
        run.verdict = verdict.sentence_of_all(made.series.audits)
        evidence_creation.report(made)
        for line in evidence_verdict.notes(made.verified):
            terminal.note(line)
        match_report.report(made.series.audits, wanted)
        events = counted(len(made.verified.events), "event")
        terminal.note(f"sinergi: {out} holds {events}; note down its SHA-256")
        status = verdict.exit_status(made.series.audits, asks_for_one=False)
        if made.verified.disproved:
            status = ExitStatus.NEGATIVE
        elif status is ExitStatus.SUCCESS and not made.is_complete:
            status = ExitStatus.ERROR
        raise typer.Exit(status)


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

    Nobody can prove from a bundle which events exist beside those in it. So the choice of events is
    its maker's statement, and so is that nothing matches. It is shown whether he has signed it.

    Exit status: 0 all of it is proved, or in a bundle without an event the trees are proved and a
    given key has signed that nothing matches; 1 something is disproved; 2 it is no bundle, or
    something could not be checked, as where no given key has signed, or a topic could not be read
    when it was made. Another key than those given may be a newer one of its owner, or a forger's.

    Examples:
      sinergi evidence verify case-12.zip --agreement pks.toml
      sinergi evidence verify case-12.zip --key keys.txt --json
    """
    known = _agreements(agreements or [])
    trusted = TrustedKeys(_keys(keys or []), known)
    verdict = verified(_bundle(file), trusted)
    held = None if known is None else known.versions
    has_keys = bool(keys or agreements)
    status = evidence_verdict.show(verdict, held, has_keys=has_keys, as_json=as_json)
    raise typer.Exit(status)


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
        target.write(page_text().encode())
    written_files.note(out, "the verifier")


def asked_for(
    chosen: EventChoice,
    related: bool,
    topics: list[str] | None,
    agencies: list[str] | None,
    event_types: list[str] | None,
) -> dict[str, object]:
    """The options that choose the events, for those who read the bundle."""
    others = {"topics": topics, "agencies": agencies, "event_types": event_types}
    return {
        **chosen.described,
        "related": related,
        **{name: value for name, value in others.items() if value},
    }


def _bundle(file: Path) -> bytes:
    """The bytes of a bundle.

    Raises:
        BundleUnreadable: they cannot be read, or are too many.
        BundleRefused: they are too many, and those of an archive.
    """
    try:
        try:
            return input_file.read(file, archive.MOST_BYTES)[1]
        except OSError as why:
            if why.errno == EFBIG and file.is_file():
                check_kind(input_file.beginning(file, _BEGINNING))
            raise
    except OSError as why:
        raise errors.BundleUnreadable(str(file), str(why.strerror)) from None


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
    if any(line.startswith("[parties.") for line in lines):
        raise errors.TrustRefused(f"{path} is an agreement; give it by --agreement")
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
