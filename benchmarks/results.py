"""What was measured: figures by name, tables for people, `latest.json` for machines."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FOLDER = Path(__file__).with_name("results")
LATEST = FOLDER / "latest.json"
_LIBRARIES = ("sinergi", "confluent-kafka", "fastavro", "polars", "psycopg", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        name: dotted, as it stands in `latest.json`.
        rounds: what each round gave, where there were several; the value is their median.
    """

    name: str
    value: float
    unit: str
    rounds: Sequence[float] = field(default_factory=tuple)


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below this share of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(figures: dict[str, float], above: str, below: str) -> float | None:
    """How many times one figure is the other, where both are there."""
    if above in figures and figures.get(below):
        return figures[above] / figures[below]
    return None


def machine() -> dict[str, Any]:
    """What it was measured on, and with."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load_before": psutil.getloadavg()[0],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "kafka": "4.3.1, one broker, heap of 384 MiB",
        "postgresql": "18, default durability",
    }


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a part's figures."""
    table = Table("figure", "value", "unit", "rounds", title=title, title_justify="left")
    for each in figures:
        rounds = "  ".join(_number(one) for one in each.rounds)
        table.add_row(each.name, _number(each.value), each.unit, rounds)
    Console().print(table)


def keep(figures: Iterable[Figure], about: dict[str, Any]) -> dict[str, float]:
    """Write the figures beside those of other parts measured before; all of them by name.

    In the file a dotted name is a path: `materialise.sinergi` is `sinergi` within `materialise`.
    """
    FOLDER.mkdir(exist_ok=True)
    found = json.loads(LATEST.read_text("utf-8")) if LATEST.exists() else {}
    for each in figures:
        *path, last = each.name.split(".")
        place = found
        for name in path:
            place = place.setdefault(name, {})
        place[last] = round(each.value, 4)
    about = about | {"measured_at": SYSTEM.now().isoformat(timespec="seconds")}
    text = json.dumps(found | {"about": about}, indent=2, sort_keys=True)
    LATEST.write_text(text + "\n", encoding="utf-8")
    return dict(flat(found))


def flat(found: dict[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The figures of `latest.json` by their dotted names."""
    for name, value in found.items():
        if isinstance(value, dict):
            if name != "about":
                yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
