"""Sinks: the databases that rows are written to. `protocol` defines what each must implement."""
