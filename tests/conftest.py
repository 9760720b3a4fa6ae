"""What every test may ask for: real Kafka, real PostgreSQL, and names that nobody else uses.

The services come by the first road that is open: addresses in SINERGI_TEST_KAFKA (`host:port`) and
SINERGI_TEST_POSTGRESQL (an SQLAlchemy URL of a superuser); containers, where a Docker engine
answers; else the local ones of `sinergi.local`. The head of the test run says which, and why.
"""

from __future__ import annotations

import gc
import os
import secrets
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from sinergi import migrate
from sinergi.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KAFKA = "SINERGI_TEST_KAFKA"
POSTGRESQL = "SINERGI_TEST_POSTGRESQL"

settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@dataclass(frozen=True)
class Services:
    """Where the services of this test run are."""

    kafka: str
    postgresql: str


@cache
def road() -> tuple[str, str]:
    """By which road the services come, and why."""
    given = [name for name in (KAFKA, POSTGRESQL) if name in os.environ]
    if len(given) == 2:
        return "environment", "their addresses are given there"
    if given:
        raise pytest.UsageError(f"{KAFKA} and {POSTGRESQL} go together; only {given[0]} is given")
    if _engine_answers():
        return "containers", "a Docker engine answers"
    return "local", "no Docker engine answers"


def _engine_answers() -> bool:
    import docker

    # The library leaves its socket open where nothing listens; it is collected here, in silence.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            docker.from_env(timeout=3).close()
        except docker.errors.DockerException:
            answers = False
        else:
            answers = True
        gc.collect()
    return answers


def pytest_report_header() -> str:
    """Say by which road the services come."""
    return "services: {} ({})".format(*road())


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Kafka and PostgreSQL for the whole run."""
    with ExitStack() as stack:
        match road()[0]:
            case "environment":
                yield Services(os.environ[KAFKA], os.environ[POSTGRESQL])
            case "containers":
                import containers

                yield Services(*containers.start(stack))
            case _:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sinergi-"))
                local = stack.enter_context(Local(Path(folder)))
                yield Services(local.bootstrap, local.database("postgres"))


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
def databases(_template: tuple[sa.Engine, str]) -> Iterator[Callable[[], str]]:
    """Makes fresh databases with everybody's tables; each call gives the URL of another."""
    server, template = _template
    made = []

    def make() -> str:
        name = f"test_{secrets.token_hex(6)}"
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
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
def agency_slug() -> str:
    """The name of an agency that no other test speaks of, so that its topics are its own."""
    return f"lapas-{secrets.token_hex(5)}"


@pytest.fixture
def topic_name(agency_slug: str) -> Callable[[], str]:
    """Gives names of topics that nobody else uses; each call another."""
    return lambda: f"sinergi.{agency_slug}.test-{secrets.token_hex(4)}"


def _url(server: sa.Engine, database: str) -> str:
    return server.url.set(database=database).render_as_string(hide_password=False)
