"""`python -m sinergi`, the same as `sinergi`."""

from sinergi.cli import main

main()
