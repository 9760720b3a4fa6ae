"""The options about copies of a topic: one that is read in its place, one to compare it with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli.option_sets import taking
from sinergi.cli.reading_place import reading_place
from sinergi_consumers.audit.audit import Copies
from sinergi_schemas import errors
from sinergi_schemas.topics import is_kafka_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi.settings.settings import Settings
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class CopyChoice:
    """The copies of a topic that a command reads. Each field is an option of the command."""

    copy: Annotated[str | None, typer.Option(help="Read this topic instead, a copy of TOPIC.")] = (
        None
    )
    against: Annotated[
        str | None, typer.Option(help="Another copy of TOPIC, to compare with leaf by leaf.")
    ] = None
    against_archive: Annotated[
        Path | None,
        typer.Option(
            "--against-archive",
            metavar="FILE",
            help="A file of `sinergi archive` with TOPIC, to compare with leaf by leaf.",
        ),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether any of them was given."""
        return any(each is not None for each in asdict(self).values())

    def check(self, names: Sequence[Topic], archive: Path | None) -> None:
        """Refuse copies that cannot be read, or compared.

        Args:
            names: the topics that were named; one, if an option was given.
            archive: the archive that is read in place of the brokers.

        Raises:
            ReplayRefused: the error names the option.
        """
        for option, name in (("--copy", self.copy), ("--against", self.against)):
            if name is not None and not is_kafka_name(name):
                what = "write 1 to 249 letters, digits, dots, hyphens and underscores"
                raise errors.ReplayRefused(f"{option} is no name of a topic; {what}")
        if archive is not None and self.is_given:
            what = "--archive reads TOPIC in the file, and no copy of it"
            hint = "to compare the brokers with the file, leave --archive away"
            raise errors.ReplayRefused(f"{what}; {hint}, and say --against-archive FILE")
        if self.against is not None and self.against_archive is not None:
            what = "--against and --against-archive are two copies"
            raise errors.ReplayRefused(f"{what}; TOPIC is compared with one other copy")
        if names and self.against == (self.copy or names[0].name):
            raise errors.ReplayRefused(f"{self.against} would be compared with itself")

    def copies(
        self, settings: Settings, agreements: Agreements, topics: Sequence[Topic]
    ) -> tuple[Copies, dict[str, Any]]:
        """The copies to read, and the options for the journal.

        Args:
            topics: those that are read; one, if an option was given.

        Raises:
            ArchiveRefused, ArchiveDamaged: the file is no archive that is used with these settings.
            NotArchived: it does not have the topic.
        """
        described: dict[str, Any] = {"copy": self.copy, "against": self.against}
        if self.against_archive is None:
            return Copies(self.copy, self.against), described
        place = reading_place(settings, agreements, self.against_archive)
        place.check(topics)
        described |= {f"against_{name}": value for name, value in place.described.items()}
        return Copies(self.copy, str(self.against_archive), place.source(topics[0])), described


choosing_copies = taking(CopyChoice, "of_copies")
"""Gives a command the options of `CopyChoice` in place of its parameter `of_copies`."""
