"""The options of `sinergi quarantine` that choose rows, declared once for all its commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from sinergi.cli.option_sets import taking
from sinergi_consumers.quarantine.admin import UNSETTLED, QuarantineFilter, QuarantineState
from sinergi_schemas import errors


class StateChoice(StrEnum):
    """The states that can be asked for."""

    OPEN = "open"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    DISCARDED = "discarded"
    UNSETTLED = "unsettled"
    ALL = "all"

    @property
    def states(self) -> tuple[QuarantineState, ...]:
        """The states that a row may have."""
        if self is StateChoice.ALL:
            return tuple(QuarantineState)
        return UNSETTLED if self is StateChoice.UNSETTLED else (QuarantineState(self.value),)


Why = Annotated[str, typer.Option("--why", help="Why, for those who ask later. It is recorded.")]


@dataclass(frozen=True, slots=True)
class RowChoice:
    """The rows that a command is about. Each field is an argument or an option of the command."""

    ids: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Rows, as listed.")] = None
    topic: Annotated[str | None, typer.Option("--topic", help="Of this topic only.")] = None
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, help="Of this partition.")
    ] = None
    leaf: Annotated[int | None, typer.Option("--leaf", min=0, help="The event at this leaf.")] = (
        None
    )
    event: Annotated[
        UUID | None, typer.Option("--event", metavar="UUID", help="The event of this event_id.")
    ] = None
    projection: Annotated[str | None, typer.Option("--projection", help="Of this projection.")] = (
        None
    )
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="Of this class, as awaiting-schema or rows-refused."),
    ] = None
    state: Annotated[
        StateChoice | None,
        typer.Option("--state", help="In this state; unsettled is open or superseded."),
    ] = None

    def in_state(self, default: tuple[QuarantineState, ...]) -> QuarantineFilter:
        """The filter for the rows of this choice.

        Args:
            default: the states that count where `--state` is not given; empty for all of them.
        """
        return QuarantineFilter(
            self.ids or (),
            self.topic,
            self.partition,
            self.leaf,
            self.event,
            self.projection,
            self.reason,
            self.state.states if self.state else default,
        )

    def to_settle(self) -> QuarantineFilter:
        """The filter for rows to deal with: those of an id in any state, others while unsettled.

        Raises:
            QuarantineRefused: no option says which rows.
        """
        if self == RowChoice() or self == RowChoice(ids=[]):
            raise errors.QuarantineRefused("say which rows; --state open is all that are open")
        return self.in_state(() if self.ids else UNSETTLED)


choosing_rows = taking(RowChoice, "chosen")
"""Gives a command the options of `RowChoice` in place of its parameter `chosen`."""

choosing_rows_by_options = taking(RowChoice, "chosen", without=("ids",))
"""The same without the argument that names rows by their ids."""
