"""Options that several commands share, and the shape of a command with commands below it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def json_option(about: str = "As one JSON document.") -> Any:
    """The option `--json`, for a command whose document is described in other words."""
    return typer.Option("--json", help=about)


def force_option(about: str = "Overwrite an existing file.") -> Any:
    """The option `--force`, for a command that writes other files."""
    return typer.Option("--force", help=about)


AsJson = Annotated[bool, json_option()]
Force = Annotated[bool, force_option()]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Show so many at most.")]
TopicNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="TOPIC", help="sinergi.<agency>.<event-type>; without it, all."),
]
TopicAgencies = Annotated[
    list[str] | None,
    typer.Option("--agency", help="Topics of this agency only; may be repeated."),
]
TopicTypes = Annotated[
    list[str] | None,
    typer.Option("--type", help="Topics of this event type only; may be repeated."),
]
Why = Annotated[
    str | None,
    typer.Option("--why", metavar="TEXT", help="The reason, for the journal: as a case number."),
]
FromArchive = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="FILE",
        help="Read this file of `sinergi archive` in place of the brokers.",
    ),
]
WithRelated = Annotated[
    bool, typer.Option("--related", help="Also the records that are related to these, all of them.")
]


def command_group(name: str, about: str) -> typer.Typer:
    """An application for a command that has commands below it, and shows its help without one.

    Args:
        about: what its help says about it.
    """
    app = typer.Typer(name=name, help=about, no_args_is_help=True, add_completion=False)
    app.callback()(_nothing_before_the_command)  # else typer makes a single command the group
    return app


def _nothing_before_the_command() -> None:
    """The group has no options of its own."""
