"""`sinergi quarantine`: show, retry and discard the events that could not become rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import quarantine_contents, root, terminal
from sinergi.cli.decisions import decision
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import AsJson, Force, Limit, command_group
from sinergi.cli.quarantine_options import (
    RowChoice,
    StateChoice,
    Why,
    choosing_rows,
    choosing_rows_by_options,
)
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_consumers.quarantine.admin import (
    UNSETTLED,
    Quarantine,
    QuarantineFilter,
)
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.quarantine.admin import Named, Quarantined, RecordedDecision
    from sinergi_consumers.quarantine.retry import RetryOutcome

_MOST = 100
_FEW = 20
_NAME_WIDTH = 12
_BYTES_NOT_KEPT = "*"

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

app = command_group("quarantine", "What could not become rows, why, and what is done about it.")


@app.command("list")
@choosing_rows_by_options
def list_(chosen: RowChoice, limit: Limit = _MOST, as_json: AsJson = False) -> None:
    """List events that are in quarantine, the oldest first; by default those that are unsettled.

    The list holds no content of an event. Superseded: a later revision of the record became rows.
    A * at a leaf says that only the topic has the event's bytes: they are larger than the contract
    allows, their owner has used up its room (consumer.quarantine_bytes), the agreement does not let
    this agency read them, or they are settled.

    Example: sinergi quarantine list --reason awaiting-schema
    """
    wanted = chosen.in_state(StateChoice.UNSETTLED.states)
    quarantine = _quarantine()
    rows, count = quarantine.rows(wanted, limit)
    if not rows:
        _note_unknown_names(quarantine, wanted)
    notes = []
    if not all(each.kept for each in rows):
        notes.append(f"{_BYTES_NOT_KEPT} only the topic has the event's bytes")
    terminal.show_rows(_LISTED, rows, _cells, count, notes, as_json=as_json)


@app.command()
@choosing_rows
def show(
    chosen: RowChoice,
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
    limit: Limit = _FEW,
    as_json: AsJson = False,
) -> None:
    """Show rows of quarantine: what is wrong with each event, and what was done about it.

    An existing file is overwritten with --force only. What is not kept is read again
    from the topic.

    Exit status: 0 done; 1 an event's bytes are neither kept nor on the topic; 2 it could not be
    done.

    Examples:
      sinergi quarantine show 17
      sinergi quarantine show 17 --output 17.avro
      sinergi quarantine show --topic sinergi.lapas-banyuwangi.transfer --partition 0 --leaf 12
    """
    wanted = chosen.in_state(())
    quarantine = _quarantine()
    if output is not None:
        if in_hex or as_json:
            raise errors.QuarantineNotShown(
                "--output writes the bytes alone; leave --hex and --json"
            )
        _write_datum(quarantine, wanted, output, force=force)
        return
    rows, count = _shown_rows(quarantine, wanted, limit)
    documents = [each._asdict() | {"decisions": quarantine.decisions(each.id)} for each in rows]
    missed = quarantine_contents.add_contents(quarantine, rows, documents) if in_hex else []
    if as_json:
        terminal.show_json({"count": count, "rows": documents}, str)
    else:
        for row, document in zip(rows, documents, strict=True):
            _show(row, document)
    for why in missed:
        terminal.note(f"sinergi: {why}")
    if count > len(rows) and not as_json:
        terminal.note_count(count, len(rows))
    if missed:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
@choosing_rows
def retry(why: Why, chosen: RowChoice, as_json: AsJson = False) -> None:
    """Try events in quarantine again, after what was wrong with them has been mended.

    They go the same way as in the materialiser, which may run meanwhile. An event becomes rows
    once, and a record's highest revision wins. What is refused again stays, with the new reason.
    The materialiser itself tries events that await a schema when it starts with that schema. What
    is not kept is read again from the topic.

    Exit status: 0 all went through; 1 some did not; 2 it could not be done.

    Example: sinergi quarantine retry --projection grams_by_region --why "mended in version 2"
    """
    wanted = chosen.to_settle()
    decided = decision(why)
    rows, _ = _existing_rows(_quarantine(), wanted)
    ids_of = {_place(each): each.id for each in rows}
    with logged_native_output():
        retried = quarantine_contents.retried(rows, decided)
    outcomes = [(ids_of[each.entry.columns], each) for each in retried]
    _show_outcomes(outcomes, as_json=as_json)
    all_through = all(each.is_merged for each in retried)
    raise typer.Exit(ExitStatus.SUCCESS if all_through else ExitStatus.NEGATIVE)


@app.command()
@choosing_rows
def discard(why: Why, chosen: RowChoice, as_json: AsJson = False) -> None:
    """Give up events in quarantine: status no longer reports them.

    The rows stay, with who gave them up, and why. Their bytes go, which gives their owner room
    again; the topic has them.

    Exit status: 0 done; 1 none of them is unsettled; 2 it could not be done.

    Example: sinergi quarantine discard 17 18 --why "agreed with lapas-banyuwangi on 3 March"
    """
    wanted = chosen.to_settle()
    decided = decision(why)
    quarantine = _quarantine()
    rows, _ = _existing_rows(quarantine, wanted, _MOST)
    count = quarantine.discard(wanted, decided)
    if as_json:
        terminal.show_json({"discarded": count})
    else:
        terminal.show_line(f"{count:,} discarded")
    for row in rows:
        if row.state not in UNSETTLED:
            terminal.note(f"sinergi: row {row.id} was {row.state} before, and stays so")
    raise typer.Exit(ExitStatus.SUCCESS if count else ExitStatus.NEGATIVE)


def _note_unknown_names(quarantine: Quarantine, wanted: QuarantineFilter) -> None:
    """Name the topic, projection or reason asked for that no row has, and those that rows have."""
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
    quarantine: Quarantine, wanted: QuarantineFilter, path: Path, *, force: bool
) -> None:
    """Write the datum of the one event that is wanted to a file, never to a terminal."""
    OutputFile.check(path, force=force)
    datum = quarantine_contents.contents(quarantine, _row_of_one_event(quarantine, wanted)).datum
    with OutputFile.open(path, force=force) as target:
        if target.is_terminal:
            raise errors.QuarantineNotShown("bytes are no text for a terminal; name a file")
        target.write(datum)


def _quarantine() -> Quarantine:
    return Quarantine(root.settings().consumer_database)


_NO_ROW = "no such row; `sinergi quarantine list --state all` shows all there are"


def _existing_rows(
    quarantine: Quarantine, wanted: QuarantineFilter, most: int | None = None
) -> tuple[list[Quarantined], int]:
    """Rows that a command shall change."""
    rows, count = quarantine.rows(wanted, most)
    if not rows:
        raise errors.QuarantineRefused(_NO_ROW)
    return rows, count


def _shown_rows(
    quarantine: Quarantine, wanted: QuarantineFilter, most: int | None = None
) -> tuple[list[Quarantined], int]:
    """Rows that a command only shows."""
    rows, count = quarantine.rows(wanted, most)
    if not rows:
        raise errors.QuarantineNotShown(_NO_ROW)
    return rows, count


def _row_of_one_event(quarantine: Quarantine, wanted: QuarantineFilter) -> Quarantined:
    """A row of the one event that is wanted, which several projections may have quarantined."""
    rows, _ = _shown_rows(quarantine, wanted)
    if len({_place(each)[1:] for each in rows}) > 1:
        raise errors.QuarantineNotShown(
            "--output takes one event, and these are several; say --leaf"
        )
    return rows[0]


def _show_outcomes(outcomes: Sequence[tuple[int, RetryOutcome]], *, as_json: bool) -> None:
    """Show what came of a retry, with the id of each row."""
    counts = Counter(each.result for _, each in outcomes)
    if as_json:
        rows = [{"id": id_, "result": each.result, "detail": each.detail} for id_, each in outcomes]
        terminal.show_json({"counts": counts, "rows": rows}, str)
    else:
        terminal.show_line(
            ", ".join(f"{count:,} {result}" for result, count in sorted(counts.items()))
        )
        left = [(id_, each) for id_, each in outcomes if not each.is_merged][:_MOST]
        if left:
            cells = [(str(id_), each.result, each.detail) for id_, each in left]
            terminal.show_table(_LEFT, cells)


def _show(row: Quarantined, document: Mapping[str, Any]) -> None:
    decisions: list[RecordedDecision] = document["decisions"]
    terminal.show_line(f"{row.id} · {row.state}", "bold")
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
        ("since", local_text(row.quarantined_at)),
        *((each.action, f"{each.outcome}, {_by(each)}") for each in decisions),
        *((name, document[name]) for name in ("key", "datum") if name in document),
    ):
        terminal.show_line(f"{name:<{_NAME_WIDTH}}{'' if value is None else value}".rstrip())


def _by(decided: RecordedDecision) -> str:
    return f"{local_text(decided.decided_at)} by {decided.decided_by}: {decided.why}"


def _cells(row: Quarantined) -> list[str]:
    since = local_text(row.quarantined_at)
    named = [str(row.id), row.state, row.reason, row.projection]
    leaf = f"{row.leaf_index}{'' if row.kept else _BYTES_NOT_KEPT}"
    return [*named, row.topic, str(row.partition), leaf, since]


def _place(row: Quarantined) -> tuple[str, str, int, int]:
    return row.projection, row.topic, row.partition, row.leaf_index
