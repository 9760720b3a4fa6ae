"""The command line: `sinergi`. Each group of commands has a module; the package loads none."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from sinergi.cli.interrupts import raising_interrupts
from sinergi.deferred_imports import defer_imports
from sinergi.exit_status import ExitStatus


def main() -> None:
    """Run the command line of this process and exit with its status."""
    # polars panics on a damaged datum, and we catch that. A backtrace of each panic would cost ten
    # times as much, and without memory left it waits for ever for a lock that it holds itself.
    os.environ["RUST_BACKTRACE"] = "0"
    with raising_interrupts():
        try:
            defer_imports()
            from sinergi.cli.root import run  # noqa: PLC0415 - importing the package stays free
        except KeyboardInterrupt:  # Ctrl-C may come while modules load
            with suppress(OSError):
                sys.stderr.write("sinergi: stopped\n")
            raise SystemExit(ExitStatus.STOPPED) from None
        except Exception as why:  # noqa: BLE001 - Python would end with 1, which would mean "no"
            with suppress(OSError):
                what = f"{type(why).__name__}: {why}"
                sys.stderr.write(f"sinergi: it cannot be loaded ({what}); install it again\n")
            raise SystemExit(ExitStatus.ERROR) from None
        status = run()
    # If Ctrl-C has ended an evaluation of text, as some modules make while they load, CPython ends
    # the process by SIGINT in place of a status, unless another evaluation comes after it.
    eval("0")  # noqa: S307
    raise SystemExit(status)
