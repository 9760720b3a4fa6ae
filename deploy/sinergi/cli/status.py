"""`sinergi status`: how far every topic and partition is, and what waits for what."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sinergi.cli import root
from sinergi.status import judgement
from sinergi.status.judgement import WELL, judge, local, spoken
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from sinergi.status.facts import Facts, Publishing, Reading, Share
    from sinergi.status.judgement import Verdict

_WIDTH = 100
_STYLES = {WELL: "green", judgement.NOT_WELL: "bold red", judgement.UNKNOWN: "bold yellow"}
_UNKNOWN = "?"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """Say how far every topic and partition is, and first of all what is wrong.

    Published: sealed, sent, and the rows that wait, by topic. Read: available on the broker,
    materialised by the projection that is least far, behind by its oldest missing message.
    The topics are not verified here; `sinergi materialise` and `sinergi replay` do that.

    Exit status: 0 all is well; 1 something is halted, held, in quarantine, or has waited for a
    minute or for a process that does not run; 2 a service is away, and the rest is shown.

    Example: sinergi status --json
    """
    from sinergi.status.gathering import gather  # noqa: PLC0415 - heavy: not for --help

    facts = gather(root.settings(), SYSTEM)
    verdict = judge(facts)
    if as_json:
        typer.echo(json.dumps(_document(facts, verdict), indent=2, default=_moment))
    else:
        _print(facts, verdict)
    raise typer.Exit(verdict.exit_status)


def _document(facts: Facts, verdict: Verdict) -> dict[str, Any]:
    return {
        "agency": facts.agency,
        "at": facts.at,
        "exit_status": verdict.exit_status,
        "lines": verdict.lines,
        "away": [asdict(each) for each in verdict.away],
        "problems": [asdict(each) for each in verdict.problems],
        "remarks": verdict.remarks,
        "publishing": asdict(facts.publishing) if facts.publishing else None,
        "reading": asdict(facts.reading) if facts.reading else None,
    }


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no part of a status")


def _print(facts: Facts, verdict: Verdict) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_WIDTH)
    first, *more = verdict.lines
    style = _STYLES[verdict.exit_status]
    console.print(f"{facts.agency}: {first}", style=style, soft_wrap=True)
    for each in more:
        console.print(f"  {each}", soft_wrap=True)
    console.print(f"  at {local(facts.at)}", soft_wrap=True)
    if facts.publishing:
        console.print(_published(facts.publishing))
    if facts.reading:
        console.print(_read(facts.reading))


def _published(side: Publishing) -> Table:
    lease = side.lease
    relay = f"relay {lease.holder} leads" if lease.is_held else "no relay leads"
    until = f" until {local(lease.expires_at)}" if lease.is_held and lease.expires_at else ""
    table = _table(
        f"Published · {relay}{until}", "sealed", "sent", "unsealed", "oldest", "history", "held"
    )
    for topic in side.topics:
        for each in topic.partitions:
            table.add_row(topic.topic, str(each.partition), f"{each.sealed:,}", f"{each.sent:,}")
        table.add_row(
            topic.topic,
            "all",
            f"{sum(each.sealed for each in topic.partitions):,}",
            f"{sum(each.sent for each in topic.partitions):,}",
            f"{topic.unsealed:,}",
            spoken(topic.oldest_unsealed_seconds) if topic.unsealed else "",
            f"{topic.history:,}",
            f"{sum(topic.held.values()):,}",
        )
    return table


def _read(side: Reading) -> Table:
    workers = _UNKNOWN if side.workers is None else f"{side.workers}"
    title = f"Read · workers in the group {side.group}: {workers}"
    table = _table(title, "available", "materialised", "behind", "quarantine", "halted")
    for topic in side.topics:
        for each in topic.partitions:
            table.add_row(topic.topic, str(each.partition), *_progress(each))
    return table


def _progress(share: Share) -> tuple[str, ...]:
    return (
        _number(share.available),
        _number(share.lowest),
        _UNKNOWN if share.seconds_behind is None else spoken(share.seconds_behind),
        _number(None if share.quarantined is None else sum(share.quarantined.values())),
        _UNKNOWN if share.quarantined is None else "yes" if share.halt else "",
    )


def _table(title: str, *numbers: str) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), width=_WIDTH
    )
    table.add_column("topic", overflow="fold", ratio=1)
    table.add_column("part.", justify="right", no_wrap=True)
    for each in numbers:
        table.add_column(each, justify="right", no_wrap=True)
    return table


def _number(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"
