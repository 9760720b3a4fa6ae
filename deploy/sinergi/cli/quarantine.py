"""`sinergi quarantine`: what could not become rows, why, and what is done about it."""

from __future__ import annotations

import os
import pwd
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import quarantine_bytes, root, terminal
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.quarantine_options import (
    AsJson,
    Force,
    Ids,
    InState,
    Most,
    OfEvent,
    OfLeaf,
    OfPartition,
    OfProjection,
    OfReason,
    OfTopic,
    StateChoice,
    Why,
    unsettled,
)
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.status.judgement import local
from sinergi_consumers.quarantine.admin import (
    UNSETTLED,
    Quarantine,
    QuarantineFilter,
)
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import OutputFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.quarantine.admin import Named, Quarantined, RecordedDecision
    from sinergi_consumers.quarantine.retry import RetryOutcome
    from sinergi_consumers.sinks.protocol import Decision

_MOST = 100
_FEW = 20
_NAMES = 12
_UNKEPT = "*"

_LISTED = (
    TableColumn("id", ColumnKind.NUMBER),
    TableColumn("state"),
    TableColumn("reason"),
    TableColumn("projection"),
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("leaf", ColumnKind.NUMBER),
    TableColumn("since"),
)
_LEFT = (
    TableColumn("id", ColumnKind.NUMBER),
    TableColumn("result"),
    TableColumn("detail", ColumnKind.PROSE),
)

app = typer.Typer(
    name="quarantine",
    help="What could not become rows, why, and what is done about it.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def group() -> None:
    """What could not become rows, why, and what is done about it."""


@app.command("list")
def list_(
    topic: OfTopic = None,
    partition: OfPartition = None,
    leaf: OfLeaf = None,
    event: OfEvent = None,
    projection: OfProjection = None,
    reason: OfReason = None,
    state: InState = None,
    most: Most = _MOST,
    as_json: AsJson = False,
) -> None:
    """List events that are in quarantine, the oldest first; by default those that are unsettled.

    Nothing that an event says is listed. Superseded: a later revision of the record went through.
    Of a leaf with a * only the topic has the event's bytes: they are larger than the contract
    allows, their owner has used up its room (consumer.quarantine_bytes), or they are settled.

    Example: sinergi quarantine list --reason awaiting-schema
    """
    wanted = QuarantineFilter(
        (),
        topic,
        partition,
        leaf,
        event,
        projection,
        reason,
        (state or StateChoice.UNSETTLED).states,
    )
    quarantine = _quarantine()
    rows, count = quarantine.rows(wanted, most)
    if not rows:
        _note_unknown(quarantine, wanted)
    if as_json:
        terminal.show_json({"count": count, "rows": [each._asdict() for each in rows]}, str)
        return
    terminal.show_table(_LISTED, map(_row, rows))
    if not all(each.kept for each in rows):
        terminal.note(f"sinergi: {_UNKEPT} only the topic has the event's bytes")
    terminal.note(f"sinergi: {count:,} in all, {len(rows):,} shown")


@app.command()
def show(
    ids: Ids = None,
    topic: OfTopic = None,
    partition: OfPartition = None,
    leaf: OfLeaf = None,
    event: OfEvent = None,
    projection: OfProjection = None,
    reason: OfReason = None,
    state: InState = None,
    in_hex: Annotated[
        bool, typer.Option("--hex", help="Key and datum too, in hex: they hold personal data.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the one event's datum there as it is, and nothing else; - is standard"
            " output. It holds personal data.",
        ),
    ] = None,
    force: Force = False,
    most: Most = _FEW,
    as_json: AsJson = False,
) -> None:
    """Show rows of quarantine: what is wrong with each event, and what was done about it.

    A file that is there already is written over with --force only. What is not kept is read again
    from the topic.

    Exit status: 0 done; 1 an event's bytes are neither kept nor on the topic; 2 it could not be
    done.

    Examples:
      sinergi quarantine show 17
      sinergi quarantine show 17 --output 17.avro
      sinergi quarantine show --topic sinergi.lapas-banyuwangi.transfer --partition 0 --leaf 12
    """
    chosen = QuarantineFilter(
        ids or (), topic, partition, leaf, event, projection, reason, state.states if state else ()
    )
    quarantine = _quarantine()
    if output is not None:
        if in_hex or as_json:
            raise errors.QuarantineRefused(
                "--output writes the bytes alone; leave --hex and --json"
            )
        _write_datum(quarantine, chosen, output, force=force)
        return
    rows, count = _chosen(quarantine, chosen, most)
    told = [each._asdict() | {"decisions": quarantine.decisions(each.id)} for each in rows]
    missed = quarantine_bytes.add_contents(quarantine, rows, told) if in_hex else []
    if as_json:
        terminal.show_json({"count": count, "rows": told}, str)
    else:
        for row, each in zip(rows, told, strict=True):
            _show(row, each)
    for why in missed:
        terminal.note(f"sinergi: {why}")
    if count > len(rows) and not as_json:
        terminal.note(f"sinergi: {count:,} in all, {len(rows):,} shown")
    if missed:
        raise typer.Exit(root.NOT_SO)


@app.command()
def retry(
    why: Why,
    ids: Ids = None,
    topic: OfTopic = None,
    partition: OfPartition = None,
    leaf: OfLeaf = None,
    event: OfEvent = None,
    projection: OfProjection = None,
    reason: OfReason = None,
    state: InState = None,
    as_json: AsJson = False,
) -> None:
    """Try events again that are in quarantine, after what was wrong with them has been mended.

    They take the road of the materialiser, which may run meanwhile. An event comes in once, and a
    record's highest revision stands. What is refused again stays, with the reason of today. Events
    that await a schema are tried by the materialiser itself when it starts with that schema. What
    is not kept is read again from the topic.

    Exit status: 0 all went through; 1 some did not; 2 it could not be done.

    Example: sinergi quarantine retry --projection grams_by_region --why "mended in version 2"
    """
    chosen = unsettled(ids, topic, partition, leaf, event, projection, reason, state)
    decision = _decision(why)
    rows, _ = _chosen(_quarantine(), chosen)
    ids_of = {_place(each): each.id for each in rows}
    with logged_native_output():
        tried = quarantine_bytes.retried(rows, decision)
    outcomes = [(ids_of[each.entry.columns], each) for each in tried]
    _tell(outcomes, as_json=as_json)


@app.command()
def discard(
    why: Why,
    ids: Ids = None,
    topic: OfTopic = None,
    partition: OfPartition = None,
    leaf: OfLeaf = None,
    event: OfEvent = None,
    projection: OfProjection = None,
    reason: OfReason = None,
    state: InState = None,
    as_json: AsJson = False,
) -> None:
    """Give events in quarantine up: status speaks of them no more. The rows stay, and who and why.

    Their bytes go, which gives their owner room again; the topic has them.

    Exit status: 0 done; 1 none of them is unsettled; 2 it could not be done.

    Example: sinergi quarantine discard 17 18 --why "agreed with lapas-banyuwangi on 3 March"
    """
    chosen = unsettled(ids, topic, partition, leaf, event, projection, reason, state)
    decision = _decision(why)
    quarantine = _quarantine()
    rows, _ = _chosen(quarantine, chosen, _MOST)
    count = quarantine.discard(chosen, decision)
    if as_json:
        terminal.show_json({"discarded": count})
    else:
        terminal.say(f"{count:,} discarded")
    for row in rows:
        if row.state not in UNSETTLED:
            terminal.note(f"sinergi: row {row.id} was {row.state} before, and stays so")
    raise typer.Exit(0 if count else root.NOT_SO)


def _note_unknown(quarantine: Quarantine, wanted: QuarantineFilter) -> None:
    """Say which of the names that were asked for no row has, and which there are."""
    names: dict[Named, str | None] = {
        "topic": wanted.topic,
        "projection": wanted.projection,
        "reason": wanted.reason,
    }
    for column, name in names.items():
        if name is None:
            continue
        known = quarantine.names(column)
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "there are no rows"
            terminal.note(f"sinergi: no row has the {column} {name}; {there}")


def _write_datum(
    quarantine: Quarantine, chosen: QuarantineFilter, path: Path, *, force: bool
) -> None:
    """Write the datum of the one event that is chosen, and nothing of it to a terminal."""
    OutputFile.check(path, force=force)
    datum = quarantine_bytes.contents(quarantine, _one(quarantine, chosen)).datum
    with OutputFile.open(path, force=force) as target:
        if target.is_terminal:
            raise errors.QuarantineRefused("bytes are no text for a terminal; name a file")
        target.write(datum)


def _quarantine() -> Quarantine:
    return Quarantine(root.settings().consumer_database)


def _chosen(
    quarantine: Quarantine, wanted: QuarantineFilter, most: int | None = None
) -> tuple[list[Quarantined], int]:
    rows, count = quarantine.rows(wanted, most)
    if not rows:
        raise errors.QuarantineRefused(
            "no such row; `sinergi quarantine list --state all` shows all there are"
        )
    return rows, count


def _one(quarantine: Quarantine, wanted: QuarantineFilter) -> Quarantined:
    """A row of the one event that is meant; several projections may have set it apart."""
    rows, _ = _chosen(quarantine, wanted)
    if len({_place(each)[1:] for each in rows}) > 1:
        raise errors.QuarantineRefused(
            "--output takes one event, and these are several; say --leaf"
        )
    return rows[0]


def _decision(why: str) -> Decision:
    """Who decides: the account of this process, on this machine."""
    from sinergi_consumers.sinks.protocol import Decision  # noqa: PLC0415 - heavy: not for list and show

    if not why.strip():
        raise errors.QuarantineRefused("--why says nothing")
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        name = f"user {os.getuid()}"
    return Decision(f"{name}@{socket.gethostname()}", why)


def _tell(outcomes: Sequence[tuple[int, RetryOutcome]], *, as_json: bool) -> None:
    """What came of a retry; the exit status says whether all went through."""
    counts = Counter(each.result for _, each in outcomes)
    if as_json:
        rows = [{"id": id_, "result": each.result, "detail": each.detail} for id_, each in outcomes]
        terminal.show_json({"counts": counts, "rows": rows}, str)
    else:
        terminal.say(", ".join(f"{count:,} {result}" for result, count in sorted(counts.items())))
        left = [(id_, each) for id_, each in outcomes if not each.is_through][:_MOST]
        if left:
            cells = [(str(id_), each.result, each.detail) for id_, each in left]
            terminal.show_table(_LEFT, cells)
    raise typer.Exit(0 if all(each.is_through for _, each in outcomes) else root.NOT_SO)


def _show(row: Quarantined, told: Mapping[str, Any]) -> None:
    decisions: list[RecordedDecision] = told["decisions"]
    terminal.say(f"{row.id} · {row.state}", "bold")
    for name, value in (
        ("event", f"{row.topic}/{row.partition}/{row.leaf_index}"),
        ("event_id", row.event_id),
        ("revision", row.revision),
        ("projection", row.projection),
        ("reason", row.reason),
        ("detail", row.detail),
        ("schema", row.fingerprint),
        ("leaf hash", row.leaf_hash),
        ("bytes", f"{row.size:,}, {'kept' if row.kept else 'on the topic only'}"),
        ("since", local(row.quarantined_at)),
        *((each.action, f"{each.outcome}, {_by(each)}") for each in decisions),
        *((name, told[name]) for name in ("key", "datum") if name in told),
    ):
        terminal.say(f"{name:<{_NAMES}}{'' if value is None else value}".rstrip())


def _by(decided: RecordedDecision) -> str:
    return f"{local(decided.decided_at)} by {decided.decided_by}: {decided.why}"


def _row(row: Quarantined) -> list[str]:
    since = f"{row.quarantined_at.astimezone():%Y-%m-%d %H:%M}"
    named = [str(row.id), row.state, row.reason, row.projection]
    leaf = f"{row.leaf_index}{'' if row.kept else _UNKEPT}"
    return [*named, row.topic, str(row.partition), leaf, since]


def _place(row: Quarantined) -> tuple[str, str, int, int]:
    return row.projection, row.topic, row.partition, row.leaf_index
