"""Modules of a command are loaded when they are first used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from long_cases import long_after

if TYPE_CHECKING:
    from pathlib import Path


def python(code: str) -> str:
    text = "import sys\nfrom sinergi import deferred_imports\ndeferred_imports.defer_imports()\n"
    command = [sys.executable, "-c", text + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_module_runs_when_an_attribute_is_asked_for_and_not_before() -> None:
    code = """
        import polars as pl
        import polars
        from sinergi_schemas import codes
        print(deferred_imports.is_loaded("polars"), deferred_imports.is_loaded(codes.__name__))
        pl.DataFrame, codes.Action
        print(deferred_imports.is_loaded("polars"), deferred_imports.is_loaded(codes.__name__))
        print(codes.__loader__ is codes.__spec__.loader, type(codes).__name__, polars is pl)
    """
    assert python(code).split("\n") == ["False False", "True True", "True module True"]


def test_a_library_that_is_not_installed_is_missing_where_it_is_imported() -> None:
    code = """
        with deferred_imports.uninstalled("polars"):
            try:
                import polars
            except ModuleNotFoundError as why:
                print(why.name)
        import polars
        print(polars.__name__)
    """
    assert python(code).split() == ["polars", "polars"]


def test_threads_that_use_a_module_at_once_load_it_once_and_whole() -> None:
    code = """
        import polars, threading
        barrier = threading.Barrier(8)
        found = []
        def use():
            barrier.wait()
            found.append(polars.DataFrame({"a": [1]}).height)
        threads = [threading.Thread(target=use) for _ in range(8)]
        for each in threads: each.start()
        for each in threads: each.join()
        print(found)
    """
    assert python(code) == str([1] * 8)


def test_a_module_that_fails_is_tried_again_by_the_next_use(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "sqlalchemy"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import os\nif 'READY' not in os.environ: raise OSError('not yet')\nvalue = 1\n", "utf-8"
    )
    code = f"""
        import os
        sys.path.insert(0, {str(tmp_path)!r})
        import sqlalchemy
        try:
            sqlalchemy.value
        except OSError as why:
            print(why)
        os.environ["READY"] = "yes"
        print(sqlalchemy.value)
    """
    assert python(code).split("\n") == ["not yet", "1"]


def test_a_process_that_runs_for_ever_has_loaded_its_modules_before_it_works() -> None:
    code = """
        import polars
        from sinergi_schemas import codes, zones
        from sinergi import signals
        signals.stopping()
        waiting = [n for n in sys.modules if not deferred_imports.is_loaded(n)]
        print([n for n in waiting if sys.modules[n] is not None])
        from sinergi_schemas import backoff
        print(deferred_imports.is_loaded("sinergi_schemas.backoff"))
    """
    assert python(code).split("\n") == ["[]", "True"]


@pytest.mark.parametrize(
    "package",
    long_after(
        1,
        [
            "sinergi_schemas.errors",
            "sinergi.local",
            "sinergi.status",
            "sinergi_schemas.events",
            "sinergi_schemas.kafka",
            "sinergi_schemas.postgresql",
        ],
    ),
)
def test_a_module_that_its_package_imports_runs_once_also_where_it_is_imported_first(
    package: str,
) -> None:
    """Else there are two classes of a name, and an `except` with one does not catch the other."""
    code = f"""
        import importlib, os, pathlib
        from importlib.machinery import PathFinder

        def twice(name):
            module = importlib.import_module(name)
            module.__file__
            deferred_imports.load_all()
            assert module is sys.modules[name] and module.__spec__.name == name
            return [
                each.__qualname__
                for loaded in [*sys.modules.values()] if loaded.__name__.startswith("sinergi")
                for each in [*vars(loaded).values()]
                if isinstance(each, type) and each.__module__.startswith("sinergi")
                and "." not in each.__qualname__
                and getattr(sys.modules[each.__module__], each.__name__, each) is not each
            ]

        path = None
        for part in "{package}".split("."):
            name = part if path is None else name + "." + part
            path = PathFinder.find_spec(name, path).submodule_search_locations
        names = [each.stem for each in sorted(pathlib.Path(path[0]).glob("*.py"))]
        print(len(names))
        for each in names:
            if not os.fork():  # each module is imported first in a process of its own
                found = twice("{package}." + each) if each != "__init__" else []
                os._exit(bool(found))
            if os.wait()[1]:
                print(each)
    """
    count, *wrong = python(code).split()
    assert int(count) > 3
    assert not wrong
