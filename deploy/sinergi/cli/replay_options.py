"""The options that choose events, declared once for all commands that read topics again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli.option_sets import taking

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class EventChoice:
    """The events that a command is about. Each field is an option of the command."""

    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Recorded at or after, with zone offset."),
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Recorded before, with zone offset.")
    ] = None
    occurred_since: Annotated[
        str | None, typer.Option("--occurred-from", metavar="TIME", help="Occurred at or after.")
    ] = None
    occurred_until: Annotated[
        str | None, typer.Option("--occurred-to", metavar="TIME", help="Occurred before.")
    ] = None
    key: Annotated[str | None, typer.Option("--key", help="Of this record: its record_id.")] = None
    case: Annotated[
        str | None,
        typer.Option(
            "--case",
            metavar="NUMBER",
            help="With this case number (nomor perkara); case and spaces do not count.",
        ),
    ] = None
    nik: Annotated[
        str | None, typer.Option("--nik", help="With a person of this NIK, in any role.")
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="With a person of this whole name; case and the number of spaces do not count.",
        ),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--name-like",
            metavar="NAME",
            help="With a person of a similar name: words in any order, initials, old spellings"
            " (Tjontoh, Soewandi), one wrong letter in a word of 4 or more, two from 8 on.",
        ),
    ] = None
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit",
            help="With this correctional unit (UPT): its code, or its name in upper or lower case.",
        ),
    ] = None
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="CODE", help="With a place in this region, as 35.10."),
    ] = None
    leaf: Annotated[
        str | None,
        typer.Option("--leaf", metavar="P/LEAF", help="At leaf 3 of partition 1: 1/3; or 1/3-9."),
    ] = None

    @property
    def described(self) -> dict[str, str]:
        """The options that were given, by their names."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}

    @property
    def asks_for_one(self) -> bool:
        """See `asks_for_one`."""
        return asks_for_one(self.described)

    @property
    def is_any(self) -> bool:
        """Whether an option besides --key was given, so that a topic may have no such event."""
        return bool({*self.described} - {"key"})


choosing_events = taking(EventChoice, "chosen")
"""Gives a command the options of `EventChoice` in place of its parameter `chosen`."""


def asks_for_one(described: Mapping[str, object]) -> bool:
    """Whether options name a record or leaves, so that it is a finding if there are none."""
    return not described.keys().isdisjoint({"key", "leaf"})
