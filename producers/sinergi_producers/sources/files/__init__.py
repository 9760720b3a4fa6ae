"""Intake: publishes files that an agency already has, by means of a mapping file.

`mapping` reads the mapping file and turns the cells of a row into an event; `compiling` and
`field_sources` give each field its value; `dates_and_numbers` and `date_format` read dates and
numbers; `lines` and `delimited` split a file into numbered rows; `intake` publishes the events, and
`trial` only checks them; `refusals` writes the refused lines to a file.
"""
