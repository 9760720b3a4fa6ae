"""Two lanes side by side, each on servers of its own: in one the parts that take the servers away,
one after another; in the other those that leave them in peace, a few at once.

Most of a part is waiting, for leases and for groups; that is why they fit beside each other on two
cores. What a part does is drawn from the seed and its name, whatever else runs.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, TypeVar

from chaos.report import Report
from chaos.services import Services
from chaos.timing import Interrupted, Overdue, go_on, interrupt
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaos.chaos_bus import Scale

    Part = Callable[[Services, Path, str, Scale], Report]
    Parts = Mapping[str, tuple[Part, Scale]]

T = TypeVar("T")

_AT_ONCE = 3
_HOUR = 3_600.0
_LOOK_SECONDS = 2.0
_ROOM_BYTES = 2**29
_SHOWN = 300


class Undecided(Exception):
    """A part has neither held nor failed, for a reason that is no finding."""


class Lanes:
    """Runs parts, and says of each what it has found as soon as it has.

    Args:
        alone: the parts that need servers for themselves.
        say: told of each report.
    """

    def __init__(
        self, parts: Parts, alone: Sequence[str], seed: str, say: Callable[[Report], None]
    ) -> None:
        self._parts = parts
        self._alone = alone
        self._seed = seed
        self._say = say

    def run(self, chosen: Sequence[str], hours: float) -> list[Report]:
        """What each of these parts has found, over all times that it was run.

        Raises:
            Undecided: a part, or what it runs on, has failed, or somebody has broken the run off.
        """
        end = SYSTEM.monotonic() + hours * _HOUR
        numbers = count(1)
        try:
            found = self._once(chosen, self._seed)
            while SYSTEM.monotonic() < end:
                more = self._once(chosen, f"{self._seed}/{next(numbers)}")
                for part, report in found.items():
                    report.add(more[part])
        except Undecided:
            raise
        except Interrupted:
            raise Undecided("it was broken off") from None
        except Exception as why:
            raise Undecided(_spoken(why)) from why
        return list(found.values())

    def _once(self, chosen: Sequence[str], seed: str) -> dict[str, Report]:
        """Every part once, in a folder that is gone afterwards, and the servers with it."""
        lanes = {
            1: [part for part in chosen if part in self._alone],
            _AT_ONCE: [part for part in chosen if part not in self._alone],
        }
        with (
            tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name,
            ThreadPoolExecutor(len(lanes), "lane") as threads,
        ):
            folder = Path(name)
            folder.chmod(0o711)
            _hold_room(folder)
            jobs = [
                threads.submit(self._lane, folder / f"lane-{at_once}", seed, at_once, parts)
                for at_once, parts in lanes.items()
                if parts
            ]
            found = dict(pair for lane in _watched(jobs, folder) for pair in lane)
        return {part: found[part] for part in chosen}

    def _lane(
        self, folder: Path, seed: str, at_once: int, parts: Sequence[str]
    ) -> list[tuple[str, Report]]:
        """These parts on servers of their own."""
        go_on()
        folder.mkdir(mode=0o711)
        with Services(folder / "services") as services, ThreadPoolExecutor(at_once) as threads:
            jobs = [
                threads.submit(self._part, part, services, folder / part, seed) for part in parts
            ]
            return list(zip(parts, _results(jobs), strict=True))

    def _part(self, part: str, services: Services, folder: Path, seed: str) -> Report:
        go_on()
        run, scale = self._parts[part]
        begun = SYSTEM.monotonic()
        try:
            report = run(services, folder, seed, scale)
        except Overdue as late:
            report = Report(part, problems=[str(late)])
        except Interrupted:
            raise
        except Exception as why:
            go_on()
            interrupt()
            raise Undecided(f"{part} is undecided: {_spoken(why)}") from why
        go_on()  # what is found while everything ends is no finding
        report.name = part
        report.seconds = SYSTEM.monotonic() - begun
        self._say(report)
        return report


def _watched(jobs: Sequence[Future[T]], folder: Path) -> list[T]:
    """What the lanes have come to. As soon as one fails, or room runs out, all are broken off."""
    try:
        while (ended := wait(jobs, _LOOK_SECONDS, FIRST_EXCEPTION)).not_done:
            _hold_room(folder)
            if any(each.exception() for each in ended.done):
                interrupt()
                break
    except Undecided:
        interrupt()
        raise
    return _results(jobs)


def _results(jobs: Sequence[Future[T]]) -> list[T]:
    """What all of them have come to; of several reasons why not, one that says something."""
    wait(jobs)
    failed = [why for each in jobs if (why := each.exception())]
    for why in sorted(failed, key=lambda why: isinstance(why, Interrupted)):
        raise why
    return [each.result() for each in jobs]


def _hold_room(folder: Path) -> None:
    """A full disk would look like faults that nobody has planned."""
    free = shutil.disk_usage(folder).free
    if free < _ROOM_BYTES:
        raise Undecided(
            f"{folder.parent} has {free // 2**20} MiB left, and {_ROOM_BYTES // 2**20} are needed;"
            " TMPDIR names another place"
        )


def _spoken(why: Exception) -> str:
    """An exception in one line: what it says, and where in the harness it arose."""
    words = " ".join(str(why).split())[:_SHOWN]
    where = [each for each in extract_tb(why.__traceback__) if "chaos" in Path(each.filename).parts]
    place = f" ({Path(where[-1].filename).name}:{where[-1].lineno})" if where else ""
    return f"{type(why).__name__}: {words}{place}"
