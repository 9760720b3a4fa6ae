"""Fixtures for every test: real Kafka, real PostgreSQL, and names that no other test uses.

The services come from the first source that is available: addresses in SINERGI_TEST_KAFKA
(`host:port`) and SINERGI_TEST_POSTGRESQL (an SQLAlchemy URL of a superuser); containers, where a
Docker engine answers and has the images; else the local ones of `sinergi.local`. `--services`
selects one. The first line of the run names the source and the reason.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from agency_pair import AgencyPair
from containers import images
from containers import services as container_services
from containers.compose import COMPOSE
from containers.compose import program as compose_program
from provisioned_bus import ProvisionedBus
from secured_kafka import Secured, secured
from sinergi import migrate
from sinergi.cli.logs import set_up
from sinergi.local import Local
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KAFKA = "SINERGI_TEST_KAFKA"
POSTGRESQL = "SINERGI_TEST_POSTGRESQL"
# Each test copies a database or more, and drops it: in memory that takes half the time.
_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 8 * 2**30  # noqa: S108 - each folder has a random name

_PROVISIONING = "tests/test_provision_", "tests/test_access_matrix.py"

settings.register_profile(
    "ci",
    deadline=None,
    max_examples=20,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=60)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@dataclass(frozen=True)
class Services:
    """Where the services of this test run are."""

    kafka: str
    postgresql: str


@dataclass(frozen=True)
class ServiceSource:
    """Where the services come from, and why; `start` runs them until the stack closes."""

    line: str
    start: Callable[[ExitStack], Services]


# A worker of pytest-xdist has it, and commands lay tables out for it.
os.environ.pop("COLUMNS", None)

_SOURCE = pytest.StashKey[ServiceSource]()
_BLOCKED = signal.pthread_sigmask(signal.SIG_BLOCK, ())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that selects a source of services."""
    parser.addoption(
        "--services",
        choices=("containers", "local"),
        help="where Kafka and PostgreSQL come from, whatever else there is",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print where the services come from, also with --quiet.

    Where xdist workers share the tests, the services start here, before the workers, which find
    their addresses in the environment.
    """
    config = session.config
    if config.option.collectonly:
        return
    is_worker = hasattr(config, "workerinput")
    try:
        source = config.stash[_SOURCE] = _source(None if is_worker else config.option.services)
        screen = config.pluginmanager.get_plugin("terminalreporter")
        if screen is not None:  # a worker has none
            screen.write_line(f"services: {source.line}")
        if config.getoption("numprocesses", None):
            stack = ExitStack()
            config.add_cleanup(stack.close)
            found = source.start(stack)
            os.environ |= {KAFKA: found.kafka, POSTGRESQL: found.postgresql}
    except (images.NoContainers, errors.SinergiError) as why:
        raise pytest.UsageError(f"no services to test with: {why}") from None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the tests by file, but give one worker all of those that provision a broker: to
    start one takes long.
    """
    if config.getoption("dist") != "loadfile":
        return None
    scheduling = LoadFileScheduling(config, log)
    file_of = scheduling._split_scope

    def scope_of(test: str) -> str:
        file: str = file_of(test)
        return _PROVISIONING[0] if file.startswith(_PROVISIONING) else file

    scheduling._split_scope = scope_of
    return scheduling


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of files whose reader is not on this machine, and say so."""
    lacking = {each: found for each in items if (found := _lacking(each))}
    if lacking:
        items[:] = [each for each in items if each not in lacking]
        config.hook.pytest_deselected(items=list(lacking))
        screen = config.pluginmanager.get_plugin("terminalreporter")
        if screen is not None:  # a worker has none
            programs = ", ".join(sorted({*lacking.values()}))
            screen.write_line(f"left out: the tests that need {programs}")


def _lacking(item: pytest.Item) -> str:
    """A program that the test needs and this machine lacks; else empty."""
    marks = (mark.args[0] for mark in item.iter_markers("needs"))
    return next((each for each in marks if not _is_here(each)), "")


@cache
def _is_here(program: str) -> bool:
    if program == COMPOSE:
        return bool(compose_program())
    if program != images.ENGINE:
        return shutil.which(program) is not None
    try:
        with images.engine():
            return True
    except images.NoContainers:
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Log to standard error, as every command does: structlog by itself writes to standard output,
    where a test reads what a command prints, and a relay may run beside it in this process.
    """
    set_up("debug", as_json=False)


def pytest_runtest_teardown() -> None:
    """Block no more signals than before: a command that was run in this process has blocked some,
    and the processes that later tests start would not hear of Ctrl-C.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)


def _source(wanted: str | None) -> ServiceSource:
    given = [name for name in (KAFKA, POSTGRESQL) if name in os.environ]
    if given and wanted:
        raise pytest.UsageError(f"--services is given, and {given[0]} too: unset it")
    if len(given) == 1:
        raise pytest.UsageError(f"{KAFKA} and {POSTGRESQL} go together; only {given[0]} is given")
    if given:
        known = Services(os.environ[KAFKA], os.environ[POSTGRESQL])
        return ServiceSource("environment (their addresses are given there)", lambda _stack: known)
    if wanted == "local":
        return ServiceSource("local (asked for)", _start_local)
    try:
        chosen = container_services.found(fetch=wanted == "containers")
    except images.NoContainers as why:
        if wanted:
            raise
        return ServiceSource(f"local ({why})", _start_local)
    reason = "asked for" if wanted else "a Docker engine answers and has them"
    return ServiceSource(
        f"containers of {chosen} ({reason})",
        lambda stack: _hastened(Services(*container_services.start(stack, chosen))),
    )


def _start_local(stack: ExitStack) -> Services:
    place = _MEMORY if _has_room(_MEMORY) else None
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sinergi-", dir=place))
    local = stack.enter_context(Local(Path(folder), is_secured=False))
    url = sa.make_url(local.database("postgres"))
    # Tests change user, password and database; in the file the password stands last.
    line = Path(str(url.query["passfile"])).read_text("utf-8").strip()
    told = url.set(query={}, password=line.rpartition(":")[2])
    return _hastened(Services(local.bootstrap, told.render_as_string(hide_password=False)))


def _has_room(folder: Path) -> bool:
    """Whether the services' files fit there beside all that runs."""
    if not os.access(folder, os.W_OK):
        return False
    return min(shutil.disk_usage(folder).free, psutil.virtual_memory().available) >= _ROOM_BYTES


def _hastened(started: Services) -> Services:
    """Have PostgreSQL wait for no disk, and no login for thousands of hashes: nobody takes this
    server's power or its passwords away. Tests that kill a server start one of their own.
    """
    url = sa.make_url(started.postgresql)
    settings = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for name, value in settings.items():
            connection.execute(sa.text(f"ALTER SYSTEM SET {name} = {value}"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
        connection.execute(sa.text("SET scram_iterations = 1"))
        connection.execute(sa.text(f"ALTER ROLE {url.username} PASSWORD '{url.password}'"))
    return started


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Iterator[Services]:
    """Kafka and PostgreSQL for the whole run."""
    with ExitStack() as stack:
        yield pytestconfig.stash[_SOURCE].start(stack)


@pytest.fixture(scope="session")
def kafka(services: Services) -> str:
    """Where Kafka's clients find it, `host:port`."""
    return services.kafka


@pytest.fixture(scope="session")
def _template(services: Services) -> Iterator[tuple[sa.Engine, str]]:
    """A database with everybody's tables, to be copied for each test that wants one."""
    server = sa.create_engine(
        services.postgresql, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    name = f"template_{secrets.token_hex(6)}"
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    for role in migrate.Role:
        migrate.upgrade(_url(server, name), role)
    yield server, name
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def databases(_template: tuple[sa.Engine, str]) -> Iterator[Callable[..., str]]:
    """Makes fresh databases with everybody's tables, or a copy of the database of a URL; each call
    gives the URL of another.
    """
    with _making_databases(_template) as make:
        yield make


@pytest.fixture(scope="module")
def databases_of_module(_template: tuple[sa.Engine, str]) -> Iterator[Callable[[], str]]:
    """As `databases`, for a fixture that all tests of a module share."""
    with _making_databases(_template) as make:
        yield make


@pytest.fixture(scope="module")
def pair_of_module(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, databases_of_module: Callable[[], str]
) -> Callable[..., AgencyPair]:
    """Makes a publisher and a reader that all tests of a module share, with such settings."""

    def make(**settings: Any) -> AgencyPair:
        folder, slug = tmp_path_factory.mktemp("pair"), f"lapas-{secrets.token_hex(5)}"
        urls = databases_of_module(), databases_of_module()
        return AgencyPair(folder, kafka, slug, *urls, **settings)

    return make


@contextmanager
def _making_databases(template_of: tuple[sa.Engine, str]) -> Iterator[Callable[..., str]]:
    server, template = template_of
    made = []

    def make(url: str | None = None) -> str:
        source = template if url is None else sa.make_url(url).database
        name = f"test_{secrets.token_hex(6)}"
        # A copy of its files takes a quarter of the time of a copy through the log.
        how = f"TEMPLATE {source} STRATEGY file_copy"
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} {how}"))
        made.append(name)
        return _url(server, name)

    yield make
    with server.connect() as connection:
        for name in made:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def postgresql(databases: Callable[[], str]) -> str:
    """The URL of a fresh database with everybody's tables."""
    return databases()


@pytest.fixture
def grown(tmp_path: Path) -> Catalog:
    """The shipped schemas, and a newer version of the transfer with one field more."""
    folder = tmp_path / "avro"
    with as_file(files("sinergi_schemas") / "avro") as shipped:
        shutil.copytree(shipped, folder)
    shipped_catalog = Catalog.shipped()
    newest = shipped_catalog.newest("transfer")
    remark = {"name": "remark", "type": ["null", "string"], "default": None, "doc": "Anything."}
    document = {**newest.parsed, "fields": [*newest.parsed["fields"], remark]}
    name = f"transfer/{newest.version + 1}"
    (folder / f"{name}.avsc").write_text(json.dumps(document), "utf-8")
    with (folder / "ids.toml").open("a", encoding="utf-8") as ids:
        ids.write(f'"{name}" = {max(each.id for each in shipped_catalog.all()) + 1}\n')
    return Catalog.load(folder)


@pytest.fixture
def agency_slug() -> str:
    """The name of an agency that no other test speaks of, so that its topics are its own."""
    return f"lapas-{secrets.token_hex(5)}"


@pytest.fixture
def topic_name(agency_slug: str) -> Callable[[], str]:
    """Gives names of topics that nobody else uses; each call another."""
    return lambda: f"sinergi.{agency_slug}.test-{secrets.token_hex(4)}"


def _url(server: sa.Engine, database: str) -> str:
    return server.url.set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A secured broker for the tests of one module."""
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture(scope="session")
def _operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture(scope="module")
def secured_bus(_operated: Secured, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedBus:
    """A secured broker with nothing on it for the tests of one module, and its operator."""
    _operated.clear()
    return ProvisionedBus(_operated, tmp_path_factory.mktemp("operator"))
