"""The options of `sinergi quarantine` that choose rows, declared once for all its commands."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from uuid import UUID

import typer

from sinergi_consumers.quarantine.admin import UNSETTLED, QuarantineFilter, QuarantineState
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., None]


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


def choosing_rows(command: Command) -> Command:
    """Give a command the options of `RowChoice` in place of its parameter `chosen`."""
    return _with_options(command, [each.name for each in fields(RowChoice)])


def choosing_rows_by_options(command: Command) -> Command:
    """The same without the argument that names rows by their ids."""
    return _with_options(command, [each.name for each in fields(RowChoice) if each.name != "ids"])


def _with_options(command: Command, names: list[str]) -> Command:
    hints = get_type_hints(RowChoice, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command, eval_str=True).parameters.values():
        if each.name == "chosen":
            parameters += (_parameter(name, hints[name]) for name in names)
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = RowChoice(**{name: given.pop(name) for name in names})
        command(chosen=chosen, **given)

    # typer reads a command's options out of its signature and its annotations.
    with_options.__dict__.pop("__wrapped__")
    with_options.__dict__["__signature__"] = inspect.Signature(parameters)
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)
