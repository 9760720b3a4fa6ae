"""`make bench`: what it costs, measured here, side by side with what else there is.

`make bench ONLY=materialise` measures one part: materialise, relay, tax, delivery, growth, audit
or scale.
Tables go to the terminal, `results/latest.json` and SVG plots beside it. It judges nothing: a
figure is the machine's as much as ours, and only those of one run may be compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import audit
import delivery
import growth
import materialising
import plots
import quiet
import relaying
import results
import scale
import tax

from sinergi.local import Local
from sinergi_schemas.clock import SYSTEM

PARTS = {
    "materialise": materialising.measure,
    "relay": relaying.measure,
    "tax": tax.measure,
    "delivery": delivery.measure,
    "growth": growth.measure,
    "audit": audit.measure,
    "scale": scale.measure,
}

# What the figures are held against, for whoever reads the table: ours, theirs, at least so much.
_AIMS = (
    ("materialise.sinergi", "materialise.careful", 2.0),
    ("materialise.sinergi", "materialise.debezium", 2.0),
    ("materialise.sinergi", "materialise.usual", 4.0),
    ("materialise.sinergi", "materialise.postgresql", 0.5),
    ("tax.publish", "tax.alone", 0.65),
    ("audit.flat.parquet", "audit.flat.plain", 0.25),
    ("audit.flat.verify", "audit.flat.go", 0.25),
)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=PARTS, help="one part, else all")
    only = parser.parse_args().only
    quiet.logs()
    about = results.machine()
    began = SYSTEM.monotonic()
    kept: dict[str, float] = {}
    for name, measure in PARTS.items():
        if only and name != only:
            continue
        with tempfile.TemporaryDirectory(prefix="sinergi-bench-") as folder:
            place = Path(folder)
            with Local(place, is_secured=False) as local:
                figures = list(measure(local, place))
        results.show(name, figures)
        kept = results.keep(figures, about)
    plots.draw(kept)
    for above, below, aim in _AIMS:
        found = results.ratio(kept, above, below)
        if found is not None:
            print(f"{above} / {below} = {found:.2f} (aim: {aim})")
    print(f"{SYSTEM.monotonic() - began:.0f} s; {results.LATEST}")


if __name__ == "__main__":
    main()
