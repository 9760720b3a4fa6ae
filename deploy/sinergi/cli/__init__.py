"""The command line: `sinergi`. One file a group of commands; this package itself loads nothing."""

from __future__ import annotations

import os
import signal
import sys

_STOPPED = 130


def main() -> None:
    """Run the command line of this process and exit with its status."""
    # polars panics at a damaged datum, which is caught; a backtrace of each would cost ten times as
    # much, and one that finds no memory left waits for ever for a lock that it holds itself.
    os.environ["RUST_BACKTRACE"] = "0"
    # Of itself SIGTERM ends Python where it stands, and files that are not finished stay.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from sinergi.cli.root import run  # noqa: PLC0415 - importing the package stays free
    except KeyboardInterrupt:  # loading takes a moment, and Ctrl-C may fall into it
        sys.stderr.write("sinergi: stopped\n")
        raise SystemExit(_STOPPED) from None
    raise SystemExit(run())
