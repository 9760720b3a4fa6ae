"""Files that a person names: read, written and checked."""
