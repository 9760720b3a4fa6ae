"""Modules of a command are imported when they are first used.

A command needs a tenth of what its module and the modules below it import: `sinergi replay --help`
no polars, a replay into a file no SQLAlchemy. So while a command line runs, importing a module of
ours, or a library of `_LIBRARIES`, only finds it. Its code runs when an attribute of it is first
asked for. This holds for `import module` and `from package import module`;
`from module import name` asks for an attribute, and so loads the module at once, as always.

A module that is not installed is an error where it is imported, as always.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_OWN_PACKAGES = {"sinergi", "sinergi_consumers", "sinergi_producers", "sinergi_schemas"}
# Those whose import takes long, and which no module of ours needs while it is itself imported.
_LIBRARIES = {
    "confluent_kafka",
    "fastavro",
    "jinja2",
    "nacl.bindings",
    "polars",
    "psycopg",
    "sqlalchemy",
}
# It puts a handler of SIGINT of its own before Python's. With that one the kernel goes on with a
# system call that waits, as to open a pipe that nobody reads, and Ctrl-C would not end the command.
_REPLACES_HANDLER = "polars"
# What the import system asks of each module that is imported once more; it needs no code to run.
_KNOWN_BEFORE = {"__class__", "__loader__", "__name__", "__spec__"}


def defer_imports() -> None:
    """Let the modules that this process imports from now on run when they are first used."""
    if not any(isinstance(each, _DeferringFinder) for each in sys.meta_path):
        sys.meta_path.insert(0, _DeferringFinder())


def is_loaded(name: str) -> bool:
    """Whether the code of a module has run, or runs."""
    module = sys.modules.get(name)
    return module is not None and type(module) is not _DeferredModule


def load_all() -> None:
    """Load what was imported and not yet used, and let later imports load at once.

    For a process that runs for ever: its code has to be of one version, also where a package is
    upgraded beside it, and a module that cannot be loaded has to end it at its start.
    """
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _DeferringFinder)]
    for name in sorted(sys.modules):
        module = sys.modules[name]
        if type(module) is _DeferredModule:
            _ = module.__dict__


@contextmanager
def uninstalled(library: str) -> Iterator[None]:
    """Let imports in the block find that a library is not installed, also if it is loaded."""
    before = sys.modules.pop(library, None)
    sys.modules[library] = cast("ModuleType", None)  # Python's own mark
    try:
        yield
    finally:
        del sys.modules[library]
        if before is not None:
            sys.modules[library] = before


class _DeferringFinder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own place, with a loader that waits; None leaves it to Python."""
        first = name.partition(".")[0]
        known = sys.modules.get(name)
        if known is not None and target is None and first in _LIBRARIES | _OWN_PACKAGES:
            return ModuleSpec(name, _KnownModuleLoader(known))
        if name not in _LIBRARIES and first not in _OWN_PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        spec.loader = _DeferringLoader(spec.loader)
        return spec


class _KnownModuleLoader(Loader):
    """Gives a module that was imported while Python asked for the path of its package.

    That ran the code of the package, which imports the module. Python does not look again whether
    it is there, and would run its code a second time: then there would be two classes of each name.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _DeferringLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        # One for each module: a thread waits while another one loads what it needs.
        self.lock = RLock()
        self.is_loading = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _DeferredModule

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)  # such as `get_data`, for files beside the module


class _DeferredModule(ModuleType):
    """A module whose code has not run yet."""

    def __getattribute__(self, name: str) -> Any:
        get = super().__getattribute__
        if name not in _KNOWN_BEFORE:
            loader = get("__spec__").loader
            if isinstance(loader, _DeferringLoader):
                _load(self, loader)
        return get(name)


def _load(module: ModuleType, deferring: _DeferringLoader) -> None:
    with deferring.lock:
        is_deferred = type(module) is _DeferredModule
        if deferring.is_loading or not is_deferred:
            return  # its own code asks, or another thread was first
        deferring.is_loading = True
        try:
            deferring.loader.exec_module(module)
        finally:
            deferring.is_loading = False
        spec = module.__spec__
        if spec is not None:
            spec.loader = module.__loader__ = deferring.loader
        module.__class__ = ModuleType
    if module.__name__ == _REPLACES_HANDLER:
        signal.siginterrupt(signal.SIGINT, True)  # noqa: FBT003 - it takes no name
