"""How events are written, and where to, as the options of a command say."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sinergi_schemas.files.output_file import STANDARD_OUTPUT


class Output(StrEnum):
    """How events are written."""

    TABLE = "table"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Destination(NamedTuple):
    """How events are written, and where to.

    Attributes:
        path: a file, or a folder for several files; None is standard output.
        force: replace an existing file.
        for_spreadsheets: keep a text from being taken for a formula.
        is_folder: the path is a folder, also where the events would fit into one file.
    """

    output: Output
    path: Path | None = None
    force: bool = False
    for_spreadsheets: bool = False
    is_folder: bool = False

    @classmethod
    def of(
        cls, path: str | None, output: Output, *, force: bool, for_spreadsheets: bool
    ) -> Destination:
        """Where a path as somebody wrote it leads to: one that ends with / is a folder."""
        if path is None:
            return cls(output, None, force, for_spreadsheets)
        is_folder = path.endswith(os.sep)  # which `Path` drops
        return cls(output, Path(path), force, for_spreadsheets, is_folder)

    def file(self, name: str) -> Path:
        """The file of an event type or a table, where the path is a folder."""
        return (self.path or STANDARD_OUTPUT) / f"{name}.{self.output}"

    @property
    def options(self) -> list[str]:
        """The names of the options that were given."""
        given = {
            "--output": self.output is not Output.TABLE,
            "--out": self.path is not None,
            "--spreadsheet-safe": self.for_spreadsheets,
        }
        return [name for name, is_given in given.items() if is_given]
