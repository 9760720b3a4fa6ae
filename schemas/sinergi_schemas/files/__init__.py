"""Files that people name: how they are read, written and checked."""
