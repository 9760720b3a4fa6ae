"""`docs/how-to-change.md` is complete: whoever follows it ends with a tree whose checks pass.

The page's first two changes are made on a copy of the tree, one edit for each file that the page
lists, in its order. Then the checks that it names run there. A file that the page lists and this
test does not edit is a failure, and so is the reverse.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Edit = Callable[[Path], None]

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to-change.md").read_text("utf-8")
SOURCES = ("schemas", "producers", "consumers", "deploy")
AVRO = "schemas/sinergi_schemas/avro"
EVENTS = "schemas/sinergi_schemas/events"
MEANINGS = "schemas/sinergi_schemas/indonesian_meanings.py"
FINGERPRINTS = "tests/vectors/contract/fingerprints.json"
TABLES = "tests/vectors/layout/tables.json"
NEXT_ID = max(each.id for each in Catalog.shipped().all()) + 1
CHECKS = (
    "tests/test_contract.py",
    "tests/test_events.py::test_a_whole_event_is_taken_without_a_warning",
    "tests/test_events.py::test_the_number_of_a_vehicle_is_not_blank",
    "tests/test_codec.py::test_every_event_that_a_publisher_can_issue_is_read_again",
    "tests/test_indonesian_meanings.py",
    "tests/test_projection.py::test_the_tables_are_those_that_people_have_written_their_queries_for",
)


def section(title: str) -> str:
    """The text below a heading of the page."""
    (found,) = (
        each
        for each in re.split(r"^## ", PAGE, flags=re.MULTILINE)
        if each.startswith(f"{title}\n")
    )
    return found


def steps(title: str) -> list[str]:
    """The file of each numbered step of a section, in order."""
    return re.findall(r"^\d+\. `([^`]+)`:", section(title), re.MULTILINE)


# A copy of the tree


class Tree:
    """A copy of this tree, whose code is run in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "chaos")
        for each in (*SOURCES, "tests"):
            shutil.copytree(ROOT / each, folder / each, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def run(self, *arguments: str) -> str:
        """Run Python on the copy; its output."""
        path = os.pathsep.join(str(self.folder / each) for each in SOURCES)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def follow(self, title: str, edits: dict[str, tuple[str, Edit]]) -> None:
        """Make the change of a section: each edit by the step's file, with the path of this one."""
        assert steps(title) == list(edits)
        for path, edit in edits.values():
            target = self.folder / path
            target.parent.mkdir(exist_ok=True)
            edit(target)

    def write_vectors(self, path: Path) -> None:
        """Write both files of vectors, as the page says for the first of them."""
        if path == self.folder / FINGERPRINTS:
            self.run("tests/contract_vectors.py")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sinergi")


# Edits


def written(document: Any) -> Edit:
    """Write a new file with a JSON document, or with a text."""
    text = document if isinstance(document, str) else json.dumps(document, indent=2)

    def edit(path: Path) -> None:
        assert not path.exists(), path
        path.write_text(text, "utf-8")

    return edit


def appended(text: str) -> Edit:
    """Put lines at a file's end."""

    def edit(path: Path) -> None:
        path.write_text(path.read_text("utf-8") + text, "utf-8")

    return edit


def inserted(*pairs: tuple[str, str]) -> Edit:
    """Put each text before every match of its pattern, which must be there."""

    def edit(path: Path) -> None:
        source = path.read_text("utf-8")
        for pattern, text in pairs:
            assert re.search(pattern, source, re.MULTILINE), (path, pattern)
            source = re.sub(f"(?=(?:{pattern}))", text, source, flags=re.MULTILINE)
        path.write_text(source, "utf-8")

    return edit


def attribute_added(model: str, line: str) -> Edit:
    """Add a line behind the last field of a model."""

    def edit(path: Path) -> None:
        source = path.read_text("utf-8")
        (found,) = (
            node
            for node in ast.parse(source).body
            if isinstance(node, ast.ClassDef) and node.name == model
        )
        last = max(node.end_lineno or 0 for node in found.body if isinstance(node, ast.AnnAssign))
        lines = source.splitlines(keepends=True)
        path.write_text("".join([*lines[:last], f"    {line}\n", *lines[last:]]), "utf-8")

    return edit


def meaning_added(english: str, indonesian: str) -> Edit:
    """Translate what a field means."""
    return inserted((r"^}$", f'    "{english}": "{indonesian}",\n'))


# The two changes


def add_a_field(tree: Tree) -> str:
    """Give the transfer a field as the page says; the name of its new version."""
    newest = Catalog.shipped().newest("transfer")
    name = f"transfer/{newest.version + 1}"
    doc = "Registration number of the vehicle (nomor polisi kendaraan)."
    vehicle = {"name": "vehicle", "doc": doc, "type": ["null", "string"], "default": None}
    schema = {**newest.parsed, "fields": [*newest.parsed["fields"], vehicle]}
    rule = """

def test_the_number_of_a_vehicle_is_not_blank() -> None:
    (said,) = problems("transfer", transfer(vehicle=""))
    assert said.startswith("vehicle: is blank")
"""
    edits = {
        f"{AVRO}/<event-type>/<n>.avsc": (f"{AVRO}/{name}.avsc", written(schema)),
        f"{AVRO}/ids.toml": (f"{AVRO}/ids.toml", appended(f'"{name}" = {NEXT_ID}\n')),
        f"{EVENTS}/<event_type>.py": (
            f"{EVENTS}/transfer.py",
            attribute_added("Transfer", "vehicle: Text | None = None"),
        ),
        MEANINGS: (MEANINGS, meaning_added(doc, "Nomor polisi kendaraan.")),
        "tests/strategies.py": (
            "tests/strategies.py",
            inserted((r'^ +"movement_id": ', '            "vehicle": optional(texts()),\n')),
        ),
        "tests/test_events.py": ("tests/test_events.py", appended(rule)),
        FINGERPRINTS: (FINGERPRINTS, tree.write_vectors),
        TABLES: (TABLES, tree.write_vectors),
    }
    tree.follow("Add a field to an event type", edits)
    return name


MODEL = '''"""Search of a cell (penggeledahan kamar hunian)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sinergi_schemas.events.common import Event, Unit
from sinergi_schemas.events.values import Text, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.events.common import Person


class CellSearch(Event):
    """One search of one cell."""

    event_type: ClassVar[str] = "cell-search"

    unit: Unit
    cell: Text

    def persons(self) -> Iterator[tuple[str, Person]]:
        """Nobody is named."""
        return iter(())
'''

STRATEGY = '''def cell_searches(*, issued: bool = True) -> st.SearchStrategy[CellSearch]:
    """Searches of cells, issued or as a caller hands them to `publish`."""
    fields = st.fixed_dictionaries({**_common(), "unit": units(), "cell": texts()})
    return _events(CellSearch, fields, issued=issued)


'''

WHOLE = """def cell_search(**changed: Any) -> dict[str, Any]:
    return common(**{"unit": {"name": "Lapas Kelas IIA Rekaan"}, "cell": "Blok B 4", **changed})


"""


def add_an_event_type(tree: Tree) -> str:
    """Add the search of a cell as the page says; the name of its schema."""
    visit = Catalog.shipped().newest("suspicious-visit").parsed
    kept = {*Event.model_fields, "unit"}
    cell = {"name": "cell", "doc": "The cell, as the prison numbers it.", "type": "string"}
    schema = {
        **visit,
        "name": "CellSearch",
        "doc": "Search of a cell (penggeledahan kamar hunian).",
        "fields": [*(each for each in visit["fields"] if each["name"] in kept), cell],
    }
    edits = {
        f"{AVRO}/<event-type>/1.avsc": (f"{AVRO}/cell-search/1.avsc", written(schema)),
        f"{AVRO}/ids.toml": (f"{AVRO}/ids.toml", appended(f'"cell-search/1" = {NEXT_ID + 1}\n')),
        f"{EVENTS}/<event_type>.py": (f"{EVENTS}/cell_search.py", written(MODEL)),
        f"{EVENTS}/__init__.py": (
            f"{EVENTS}/__init__.py",
            inserted(
                (
                    r"^from sinergi_schemas\.events\.common",
                    "from sinergi_schemas.events.cell_search import CellSearch\n",
                ),
                (r'^    "Escort",', '    "CellSearch",\n'),
                (r"(?<=for model in \()", "CellSearch, "),
            ),
        ),
        "deploy/sinergi/__init__.py": (
            "deploy/sinergi/__init__.py",
            inserted(
                (r"^ +Escort,", "        CellSearch,\n"), (r'^ +"Escort",', '"CellSearch",\n')
            ),
        ),
        MEANINGS: (MEANINGS, meaning_added(str(cell["doc"]), "Kamar hunian menurut lapas.")),
        "tests/strategies.py": (
            "tests/strategies.py",
            inserted(
                (r"(?<=events import )Event", "CellSearch, "),
                (r"^def events\(", STRATEGY),
                (r"(?<=return st\.one_of\()seizures", "cell_searches(issued=issued), "),
            ),
        ),
        "tests/test_events.py": (
            "tests/test_events.py",
            inserted((r"^WHOLE = ", WHOLE), (r'(?<=^WHOLE = \{)"', '"cell-search": cell_search, ')),
        ),
        FINGERPRINTS: (FINGERPRINTS, tree.write_vectors),
        TABLES: (TABLES, tree.write_vectors),
    }
    tree.follow("Add an event type", edits)
    return "cell-search/1"


@pytest.mark.long
def test_whoever_changes_the_files_that_the_page_lists_has_added_a_field_and_an_event_type(
    tree: Tree,
) -> None:
    added = [add_a_field(tree), add_an_event_type(tree)]
    checked = tree.run("-m", "sinergi", "schemas", "check")
    assert all(name in checked for name in added)
    tables = json.loads((tree.folder / TABLES).read_text("utf-8"))
    assert "vehicle" in tables["transfer"]["columns"]
    assert "cell" in tables["cell_search_history"]["columns"]
    tree.run("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *CHECKS)


# The rest of the page


def named_paths(text: str) -> Sequence[str]:
    """The files of this project that a text names; placeholders are the reader's to fill in."""
    return [
        each
        for each in re.findall(r"`([\w.-]+/[\w./-]+|[\w-]+\.toml)`", text)
        if each.partition("/")[0] in {*SOURCES, "tests", "docs", "pyproject.toml"}
    ]


@pytest.mark.parametrize("title", re.findall(r"^## (.*)", PAGE, re.MULTILINE))
def test_every_file_that_a_section_names_is_there(title: str) -> None:
    paths = named_paths(section(title))
    assert paths
    assert [each for each in paths if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("title", re.findall(r"^## (Add .*)", PAGE, re.MULTILINE))
def test_every_name_that_a_step_tells_to_change_is_in_its_file(title: str) -> None:
    for step in re.split(r"^(?=\d+\. )", section(title), flags=re.MULTILINE)[1:]:
        files = [ROOT / each for each in named_paths(step) if (ROOT / each).is_file()]
        source = "".join(each.read_text("utf-8") for each in files)
        names = re.findall(r"`(\w*[A-Z_]{2}\w*)`", step) if source else []
        assert [each for each in names if each not in source] == [], step


@pytest.mark.parametrize("title", re.findall(r"^## (Add .*)", PAGE, re.MULTILINE))
def test_every_change_names_the_tests_that_fail_without_it(title: str) -> None:
    _, mark, told = section(title).partition("\nTests that fail while a step is missing:")
    assert mark
    assert "`tests/test_" in told
