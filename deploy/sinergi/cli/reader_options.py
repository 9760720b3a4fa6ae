"""The options about the database of a reader: its tables, and what arrived in it when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli.option_sets import taking
from sinergi.cli.replay_filter import check_past, instant, interval
from sinergi_schemas import errors
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReaderChoice:
    """What a command has to do with a reader's database. Each field is an option of the command."""

    into: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Fill the tables of an empty PostgreSQL database, as when live."
        ),
    ] = None
    reader: Annotated[
        str | None,
        typer.Option(metavar="AGENCY[/DATABASE]", help="Which reader; else the settings' agency."),
    ] = None
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="As the reader's database had them then, by its clock."
        ),
    ] = None
    arrived_since: Annotated[
        str | None,
        typer.Option(
            "--arrived-from", metavar="TIME", help="First in the reader's database at or after."
        ),
    ] = None
    arrived_until: Annotated[
        str | None,
        typer.Option("--arrived-to", metavar="TIME", help="First in the reader's database before."),
    ] = None

    @property
    def described(self) -> dict[str, str]:
        """The options that were given and are no address, by their names."""
        kept = {"reader", "as_of", "arrived_since", "arrived_until"}
        return {name: value for name in sorted(kept) if (value := getattr(self, name))}

    @property
    def arrival(self) -> tuple[datetime | None, datetime | None] | None:
        """When the events arrived, from and to; None if that does not matter.

        Raises:
            ReplayRefused: no event can have arrived then.
        """
        arrived = ("--arrived-from", self.arrived_since, "--arrived-to", self.arrived_until)
        start, end = interval(*arrived)
        check_past("--arrived-from", self.arrived_since, start)
        return (start, end) if start or end else None

    @property
    def fills(self) -> bool:
        """Whether tables are filled."""
        return self.into is not None

    @property
    def moment(self) -> datetime | None:
        """The time of `--as-of`.

        Raises:
            ReplayRefused: it is no time, or lies in the future.
        """
        found = instant("--as-of", self.as_of)
        check_past("--as-of", self.as_of, found)
        return found

    @property
    def agency(self) -> str | None:
        """The agency of `--reader`."""
        return None if self.reader is None else self.reader.partition("/")[0]

    def check(self, others: Collection[str]) -> None:
        """Refuse what contradicts itself.

        Args:
            others: the given options that choose events.

        Raises:
            ReplayRefused: the error names the option.
        """
        if self.reader is not None:
            agency, mark, database = self.reader.partition("/")
            if not is_slug(agency) or (mark and not is_slug(database)):
                what = f"--reader {self.reader!r} names no database; write AGENCY/DATABASE"
                raise errors.ReplayRefused(what)
        moment = self.moment
        if not self.fills:
            if moment is not None:
                raise errors.ReplayRefused("--as-of fills tables; say --into URL")
            if self.reader is not None and self.arrival is None:
                what = "--reader goes with --into, --arrived-from or --arrived-to"
                raise errors.ReplayRefused(what)
            return
        if self.arrival is not None:
            others = [*others, "--arrived-from and --arrived-to"]
        if others:
            what = "--into fills the tables with every event, as when live, and shows none"
            raise errors.ReplayRefused(f"{what}; leave {', '.join(others)}, and choose rows by SQL")
        try:
            conninfo(self.into or "")
        except ValueError as why:
            raise errors.ReplayRefused(f"--into {why}") from None


choosing_reader = taking(ReaderChoice, "of_reader")
"""Gives a command the options of `ReaderChoice` in place of its parameter `of_reader`."""
