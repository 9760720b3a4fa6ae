"""Sources: how events come in from systems that do not call `publish`."""
