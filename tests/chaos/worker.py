"""A relay or a materialiser with a tap laid into it, and with what the harness makes of it.

    worker.py WORK SETTINGS FOLDER [NAME…]

FOLDER is where tap and harness speak; each NAME is a trap or a weakness of `weaknesses.py`. The
process is the product's own command otherwise, but for a lease of two seconds and not ten.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos import tap, weaknesses
from sinergi.cli import main

TERM_SECONDS = 2.0


def start(work: str, settings: str, folder: str, *names: str) -> None:
    """Run a command of the product on such a process."""
    tap.lay(tap.Orders(Path(folder)))
    for each in names:
        weaknesses.ALL[each]()
    lease = f"timeouts.relay.lease={TERM_SECONDS}"
    sys.argv = ["sinergi", "--config", settings, "--set", lease, "--log-json", work]
    main()


if __name__ == "__main__":
    start(*sys.argv[1:])
