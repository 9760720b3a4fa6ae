"""The command line: `sinergi`. Each group of commands has a module; the package loads none.

It imports nothing that takes long, so that `main` handles Ctrl-C before that.
"""

from __future__ import annotations

import os

from sinergi.cli.stop_signals import handle_stop_signals, stop_at_once, write_error
from sinergi.exit_status import ExitStatus


def main() -> None:
    """Run the command line of this process and exit with its status."""
    handle_stop_signals(stop_at_once)
    # polars panics on a damaged datum, and we catch that. A backtrace of each panic would cost ten
    # times as much, and without memory left it waits for ever for a lock that it holds itself.
    os.environ["RUST_BACKTRACE"] = "0"
    try:
        from sinergi.cli.interrupts import raising_interrupts  # noqa: PLC0415 - it takes long
        from sinergi.deferred_imports import defer_imports  # noqa: PLC0415 - as above

        defer_imports()
        from sinergi.cli.root import run  # noqa: PLC0415 - importing the package stays free
    except Exception as why:  # noqa: BLE001 - Python would end with 1, which would mean "no"
        write_error(f"it cannot be loaded ({type(why).__name__}: {why}); install it again")
        raise SystemExit(ExitStatus.ERROR) from None
    try:
        with raising_interrupts():
            status = run()
        handle_stop_signals(stop_at_once)
    except KeyboardInterrupt:  # before `run` catches it, or after
        stop_at_once()
    # If Ctrl-C has ended an evaluation of text, as some modules make while they load, CPython ends
    # the process by SIGINT in place of a status, unless another evaluation comes after it.
    eval("0")  # noqa: S307
    raise SystemExit(status)
