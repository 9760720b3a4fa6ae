"""The options of `sinergi quarantine` that choose rows."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from sinergi_consumers.quarantine.admin import UNSETTLED, QuarantineFilter, QuarantineState
from sinergi_schemas import errors


class StateChoice(StrEnum):
    """In which state rows are looked for."""

    OPEN = "open"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    DISCARDED = "discarded"
    UNSETTLED = "unsettled"
    ALL = "all"

    @property
    def states(self) -> tuple[QuarantineState, ...]:
        """The states that are meant."""
        if self is StateChoice.ALL:
            return tuple(QuarantineState)
        return UNSETTLED if self is StateChoice.UNSETTLED else (QuarantineState(self.value),)


Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Rows, as listed.")]
OfTopic = Annotated[str | None, typer.Option("--topic", help="Of this topic only.")]
OfPartition = Annotated[int | None, typer.Option("--partition", min=0, help="Of this partition.")]
OfLeaf = Annotated[int | None, typer.Option("--leaf", min=0, help="The event at this leaf.")]
OfEvent = Annotated[
    UUID | None, typer.Option("--event", metavar="UUID", help="The event of this event_id.")
]
OfProjection = Annotated[str | None, typer.Option("--projection", help="Of this projection.")]
OfReason = Annotated[
    str | None, typer.Option("--reason", help="Of this class, as awaiting-schema or rows-refused.")
]
InState = Annotated[
    StateChoice | None,
    typer.Option("--state", help="In this state; unsettled is open or superseded."),
]
Most = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Show so many at most.")]
Why = Annotated[str, typer.Option("--why", help="Why, for those who ask later. It is recorded.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON document.")]


def unsettled(
    ids: list[int] | None,
    topic: str | None,
    partition: int | None,
    leaf: int | None,
    event: UUID | None,
    projection: str | None,
    reason: str | None,
    state: StateChoice | None,
) -> QuarantineFilter:
    """The rows to deal with: those named by id in any state, others while they are unsettled.

    Raises:
        QuarantineRefused: nothing says which rows.
    """
    given = (topic, partition, leaf, event, projection, reason)
    if not ids and not any(each is not None for each in (*given, state)):
        raise errors.QuarantineRefused("say which rows; --state open is all that are open")
    states = state.states if state else () if ids else UNSETTLED
    return QuarantineFilter(ids or (), *given, states)
