"""Intake: files that an agency already has, turned into events by a mapping file.

`mapping` reads the mapping and turns a row's cells into an event; `values` reads dates and numbers;
`reading` cuts a delimited file into numbered rows; `intake` publishes what they give.
"""
