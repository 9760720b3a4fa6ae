"""`sinergi archive`: write topics into a file, show one, and restore a lost topic from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from sinergi.cli import archive_output, archive_restore, replay_topics, root, terminal
from sinergi.cli.journaled_run import AuditRequest, journaled, software
from sinergi.cli.options import AsJson, Force, TopicNames, Why, json_option
from sinergi.cli.reading_place import check_agreements, reading_place
from sinergi.cli.replay_progress import message_progress
from sinergi.exit_status import ExitStatus
from sinergi.restoring import running_relay, topic_restoring
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.writer import ArchiveCustody, ArchiveWriter
from sinergi_consumers.audit.archiving import Archiving
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.output_file import OutputFile


class _ArchiveGroup(typer.core.TyperGroup):
    """The commands below `archive`; without one of them it is `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `create` before arguments that begin with something else."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="archive",
    cls=_ArchiveGroup,
    help="Write topics into a file that every audit reads; restore a lost topic from it.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def create(
    topics: TopicNames = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    force: Force = False,
    as_json: Annotated[bool, json_option("What the archive has, as one JSON document.")] = False,
    why: Why = None,
) -> None:
    """Write topics, with their seals, heads and receipts, into one file.

    Without a TOPIC it writes all that the agreements let you read; each of them has to be there.
    `--archive FILE` lets replay, record, received, verify, rebuild, reconcile, withheld and
    evidence read the file in place of the brokers, with the same verdicts; `sinergi archive
    restore` writes a lost topic from it. The messages are kept byte for byte, with offsets and
    timestamps. Each topic is verified while it is written; one that is broken is archived as it is.
    The file is written under another name and renamed when it is complete. It holds personal data,
    and only you can read it. The word `create` may be left out.

    Exit status: 0 written; 1 written, but a topic is not what was sealed; 2 not written.

    Examples:
      sinergi archive -o all.zip
      sinergi archive create sinergi.lapas-banyuwangi.transfer -o transfer.zip --json
    """
    named = replay_topics.parsed(topics or [], has_copies=False)
    if OutputFile.is_standard_output(out):
        raise errors.OutputRefused("standard output", "an archive is read at any place of a file")
    OutputFile.check(out, force=force)
    settings, catalog = root.settings(), Catalog.shipped()
    agreements = settings.agreements()
    place = reading_place(settings, agreements, None)
    names = replay_topics.chosen(place, named, [], [])
    buses = {each: place.bus(each, catalog) for each in names}
    custody = ArchiveCustody(SYSTEM.now().isoformat(), place.logins(names), software())
    request = AuditRequest("archive create", why, {"topics": [each.name for each in named]})
    with journaled(place, names, request) as run:
        with (
            OutputFile.open(out, force=force) as target,
            message_progress("archiving") as progressed,
        ):
            archiving = Archiving(buses, ArchiveWriter(target), progressed)
            run.replays = archiving.replays
            made = archiving.run(custody)
        run.counts["messages"] = sum(each.messages for each in made.partitions)
        if as_json:
            terminal.show_json(archive_output.document(made))
        archive_output.report(made, out)
        is_broken = any(each.tree and each.tree.broken for each in made.partitions)
        raise typer.Exit(ExitStatus.NEGATIVE if is_broken else ExitStatus.SUCCESS)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what an archive has, and check that every byte of it is as it was written.

    It needs no settings and no broker. It repeats what its maker found wrong with the topics when
    they were archived. Whether they are what their owners sealed, you find out yourself by `sinergi
    replay --archive FILE`, with the keys of your own agreements.

    Exit status: 0 it is whole; 2 it is damaged, or no archive.

    Example: sinergi archive show transfer.zip
    """
    opened = ArchiveFile(file)
    with message_progress("checking") as progressed:
        total = sum(each.messages for each in opened.partitions)
        read = 0
        for each in opened.partitions:
            for place, _ in opened.all_blocks(each):
                read += place.messages
                progressed(read, total)
    if as_json:
        terminal.show_json(archive_output.document(opened.manifest))
    else:
        archive_output.show(opened.manifest)
    archive_output.report(opened.manifest, file)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")],
    topics: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help="Without it, your event topics in the archive."),
    ] = None,
    *,
    broken: Annotated[
        bool, typer.Option("--broken", help="Also topics that are not what their owner sealed.")
    ] = False,
) -> None:
    """Write the messages of a lost topic from an archive back to the brokers.

    The topic has to be there and empty (`sinergi provision apply`), and no relay of its owner may
    run. A topic whose settings let the brokers delete messages is refused. What an earlier restore
    has written stays, and this one goes on after it; a topic with other messages is refused, and
    nothing is written. So is an archive whose topic is not what its owner sealed, by the keys of
    your own agreements: somebody may have changed it. Where the topic itself was so before,
    --broken restores it all the same. Every leaf and every seal has the bytes and the index that it
    had, so relay, materialisers and audits go on; offsets may be others. Timestamps are those of
    the archive if the topic has message.timestamp.type=CreateTime. Where another topic of the
    archive was damaged, that is said, and yours is restored.

    An agency restores its own topics, as its producer, and its receipts topic, as its consumer.
    Settings without an agency log in as the table `kafka` says, and need the rights Read and Write.

    Exit status: 0 restored; 2 refused, or not completely restored.

    Examples:
      sinergi archive restore transfer.zip
      sinergi archive restore transfer.zip sinergi.lapas-banyuwangi.transfer
    """
    settings, opened = root.settings(), ArchiveFile(file)
    agreements = settings.agreements()
    check_agreements(opened, settings, agreements)
    chosen = archive_restore.restorable(opened, settings, topics or [])
    sealed = frozenset() if broken else archive_restore.sealed(opened, agreements, chosen)
    archive_restore.check_whole(opened, chosen, sealed)
    if settings.values.agency is not None and settings.values.producer.database is not None:
        running_relay.check_none_leads(settings.producer_database)
    with message_progress("restoring") as progressed:
        counts = {each.topic: 0 for each in opened.partitions}
        for each in opened.partitions:
            counts[each.topic] += each.messages
        total, done = sum(counts[name] for name in chosen), 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            progressed(done, total)

        restorings = [
            topic_restoring.TopicRestoring(by, opened, name, report) for name, by in chosen.items()
        ]
        for restoring in restorings:
            restoring.check()
        for restoring in restorings:
            archive_output.report_restored(restoring.write())
