"""`sinergi replay`: topics read again from their first leaf, verified, without effects."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sinergi.cli import root
from sinergi.cli.output import Output, open_writer
from sinergi_consumers.bus import Bus
from sinergi_consumers.replay import Replay, Wanted, differing_leaf
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_DISPROVED = 1


def replay(
    topics: Annotated[list[str], typer.Argument(help="sinergi.<agency>.<event-type>, several.")],
    since: Annotated[
        str | None, typer.Option("--from", help="Recorded at or after, with zone offset.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Recorded before, with zone offset.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="One record only: its record_id.")] = None,
    output: Annotated[Output, typer.Option(help="How to write the events.")] = Output.TABLE,
    to_file: Annotated[
        Path | None, typer.Option("--out", help="Write to this file, not to standard output.")
    ] = None,
    copy: Annotated[
        str | None, typer.Option(help="Read this topic instead, a copy of TOPIC.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second copy of TOPIC, to name the leaf that differs.")
    ] = None,
) -> None:
    """Read topics again, verified from their first leaf; only what holds is shown.

    Nothing is written anywhere: no group, no offsets, no database. Exit status 1 where a topic is
    not what its owner sealed.

    Examples:
      sinergi replay sinergi.lapas-banyuwangi.transfer --key P/12 --output ndjson
      sinergi replay sinergi.bnnk-banyuwangi.seizure --from 2026-03-01T00:00+07:00
    """
    names = [_topic(each) for each in topics]
    if len(names) > 1 and (copy or against):
        raise errors.ReplayRefused("--copy and --against go with a single TOPIC")
    if len({each.event_type for each in names}) > 1 and output is not Output.NDJSON:
        raise errors.ReplayRefused("events of several types have no common columns; use ndjson")
    bus = _bus()
    wanted = Wanted(_instant("--from", since), _instant("--to", until), key)
    writer = open_writer(output, to_file)
    for name in names:
        run = Replay(bus, name, copy)
        try:
            for events in _verifying(run, wanted):
                writer.add(events)
        except (errors.SealBroken, errors.MessageMalformed) as why:
            writer.finish()
            _disproved(bus, name, why, copy, against)
        _report(name, run)
    writer.finish()


def _verifying(run: Replay, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """The frames of a replay, with a bar on standard error while they come."""
    yield run.nothing()
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for events in run.events(wanted):
            at, end = run.tallies[-1].offsets
            progress.update(task, completed=at, total=end)
            yield events


def _report(topic: Topic, run: Replay) -> None:
    """What was verified, for people; the data is on standard output."""
    verified = sum(each.verified for each in run.tallies)
    unsealed = sum(each.unsealed for each in run.tallies)
    unfit = sum(len(each.unfit) for each in run.tallies)
    said = f"{topic.name}: {verified} leaves verified under {topic.agency}'s checkpoints"
    if unsealed:
        said += f"; {unsealed} messages behind the last checkpoint are not shown"
    if unfit:
        said += f"; {unfit} sealed events are not of the contract and not shown"
    typer.echo(said, err=True)


def _disproved(
    bus: Bus, topic: Topic, why: errors.Broken, copy: str | None, against: str | None
) -> NoReturn:
    typer.echo(f"sinergi: {why}", err=True)
    if against and isinstance(why, errors.SealMismatch):
        partition = int(why.origin.rpartition("/")[2])
        leaves = range(why.start, why.end)
        leaf = differing_leaf(bus, partition, leaves, copy or topic.name, against)
        found = f"leaf {leaf} differs" if leaf is not None else "no leaf of the batch differs"
        typer.echo(f"sinergi: compared with {against}: {found}", err=True)
    raise typer.Exit(_DISPROVED)


def _bus() -> Bus:
    settings = root.settings()
    return Bus(settings.connection(), settings.agreements(), Catalog.shipped())


def _topic(name: str) -> Topic:
    try:
        return Topic.parse(name)
    except ValueError as why:
        raise errors.ReplayRefused(str(why)) from None


def _instant(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise errors.ReplayRefused(
            f"{option} {text!r} is no time; write 2026-03-03T17:00+07:00"
        ) from None
    if found.tzinfo is None:
        raise errors.ReplayRefused(f"{option} {text!r} lacks a zone offset, as +07:00")
    return found
