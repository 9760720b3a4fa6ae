"""What it costs, measured here: `make bench`, or `make bench ONLY=materialise` for one part.

Every figure stands beside those of its peers, taken in the same run on the same services.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import delivery
import growth
import materialising
import relaying
import results
import tax
from rich.console import Console

from sinergi.local import Local

PARTS = {
    "materialise": materialising.measure,
    "relay": relaying.measure,
    "tax": tax.measure,
    "delivery": delivery.measure,
    "growth": growth.measure,
}


def main() -> int:
    """Measure the parts that are asked for, show them, and keep them in `results/latest.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    only = parser.parse_args().only
    with (
        tempfile.TemporaryDirectory(prefix="sinergi-bench-") as folder,
        Local(Path(folder) / "services", Console(stderr=True)) as local,
    ):
        for name, measure in PARTS.items():
            if only in (None, name):
                figures = list(measure(local, Path(folder)))
                results.show(name, figures)
                results.keep(figures, results.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
