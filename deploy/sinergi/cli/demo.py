"""`sinergi demo`: three agencies on this machine, from their first files to the last proof."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sinergi.cli import terminal
from sinergi.cli.options import json_option
from sinergi.demo import play, screen
from sinergi.demo.errors import DemoFailed, DemoFolderRefused
from sinergi.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def demo(
    *,
    as_json: Annotated[
        bool, json_option("The counts as one JSON document; the story goes to standard error.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Leave data, settings and logs in this empty folder."),
    ] = None,
) -> None:
    """Play three agencies on this machine: real Kafka, real PostgreSQL, real processes.

    They publish along five stories; the brokers refuse one of them a topic that the agreement does
    not let it read; two processes are killed, one transaction is rolled back, one byte of a copied
    topic is changed. At the end every event is counted in five places. Nothing is
    left running, however it ends; without --keep nothing is left at all.

    Exit status 0: everything agrees; 1: something does not; 2: it could not be played.
    """
    with _folder(keep) as folder:
        interruption = _Interruption()
        try:
            outcome = play.play(folder, screen.Screen(beside_data=as_json), interruption.check)
        except DemoFailed as why:
            terminal.note(f"sinergi: {why}")
            raise typer.Exit(ExitStatus.NEGATIVE) from None
    if as_json:
        terminal.show_json(outcome.document())
    if keep is not None:
        terminal.note(
            f"sinergi: kept. To look again: `sinergi local up --folder {keep / 'services'}`, then "
            f"`sinergi --config {keep}/<agency>/sinergi.toml status`."
        )
    if not outcome.final_count.is_equal:
        raise typer.Exit(ExitStatus.NEGATIVE)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The folder to keep, or one that is removed at the end."""
    if keep is None:
        with TemporaryDirectory(prefix="sinergi-demo-") as name:
            yield _enterable(Path(name))
        return
    yield _empty(keep)


def _empty(keep: Path) -> Path:
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise DemoFolderRefused(str(keep), "it is not empty")
        return _enterable(keep.absolute())
    except OSError as why:
        raise DemoFolderRefused(str(keep), str(why.strerror)) from None


def _enterable(folder: Path) -> Path:
    """Let PostgreSQL enter the folder, which runs as another user if this process is root's."""
    folder.chmod(0o711)
    return folder


class _Interruption:
    """Remembers Ctrl-C and SIGTERM: an exception raised during garbage collection is lost."""

    def __init__(self) -> None:
        self._is_interrupted = False
        for each in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._interrupt)

    def check(self) -> None:
        """Raise KeyboardInterrupt if either has come."""
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self._is_interrupted = True
        raise KeyboardInterrupt
