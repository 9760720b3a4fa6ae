"""The image: one for all commands, whose processes may do next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import docker
import pytest

from containers import images, sinergi_image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.needs(images.ENGINE), pytest.mark.long]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with images.engine() as found:
        yield found


@pytest.fixture(scope="module")
def image(client: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return sinergi_image.build(client, tmp_path_factory.mktemp("source"))


def said(client: Any, image: str, *command: str, entrypoint: str | None = None) -> str:
    """What a container prints that may write nowhere and has no right of root's."""
    printed = client.containers.run(
        image,
        list(command),
        entrypoint=entrypoint,
        remove=True,
        read_only=True,
        cap_drop=["ALL"],
        network_mode="none",
    )
    assert isinstance(printed, bytes)
    return printed.decode()


@pytest.mark.parametrize(
    "command",
    [
        ["--version"],
        ["relay", "--help"],
        ["materialise", "--help"],
        ["provision", "apply", "--help"],
        ["db", "upgrade", "--help"],
        ["replay", "--help"],
    ],
    ids=" ".join,
)
def test_it_runs_every_command(client: Any, image: str, command: list[str]) -> None:
    assert "sinergi" in said(client, image, *command)


def test_it_has_the_libraries_of_publishers_and_readers(client: Any, image: str) -> None:
    modules = "polars, confluent_kafka, psycopg, cryptography.x509, fastavro, sqlalchemy, yaml"
    code = f"import {modules}; print(polars.DataFrame([1]).height)"
    assert said(client, image, "-c", code, entrypoint="python3") == "1\n"


def test_it_shows_the_schemas_that_it_ships(client: Any, image: str) -> None:
    assert "seizure" in said(client, image, "schemas", "list")


def test_its_processes_are_nobodys_and_can_install_nothing(client: Any, image: str) -> None:
    code = "import os, sys; print(os.getuid(), os.getgid(), sys.prefix)"
    assert said(client, image, "-c", code, entrypoint="python3") == "10001 10001 /opt/sinergi\n"
    with pytest.raises(docker.errors.ContainerError, match="No module named pip"):
        said(client, image, "-m", "pip", entrypoint="python3")


def test_wrong_input_gets_one_line_and_status_2(client: Any, image: str) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        said(client, image, "relay")
    assert caught.value.exit_status == 2
    assert b"there is no sinergi.toml here" in caught.value.stderr


def test_its_health_is_asked_where_a_command_answers(client: Any, image: str) -> None:
    check = client.images.get(image).attrs["Config"]["Healthcheck"]["Test"]
    assert check[:3] == ["CMD", "python3", "-c"]
    assert "http://127.0.0.1:9464/healthz" in check[3]
