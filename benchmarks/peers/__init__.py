"""Those that are measured side by side, each a module with a function `run`.

The clock of each starts when its partition is its own and it may read, and ends when the last row
is committed: imports, connections and joining a group are nobody's cost.
"""
