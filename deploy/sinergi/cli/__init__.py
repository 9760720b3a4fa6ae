"""The command line: `sinergi`. One file a group of commands; this package itself loads nothing."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its status."""
    from sinergi.cli.root import run  # noqa: PLC0415 - importing the package stays free

    raise SystemExit(run())
