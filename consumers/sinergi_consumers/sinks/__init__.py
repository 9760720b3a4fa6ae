"""Sinks: the databases that rows go to. `protocol` says what each of them must do."""
