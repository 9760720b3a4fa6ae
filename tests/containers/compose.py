"""The bus of deploy/compose, on its own engine's network, of images that are made here."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMPOSE = "Docker Compose"
ROOT = Path(__file__).parents[2]
AGENCIES = ("lapas", "bnnk")


@cache
def program() -> tuple[str, ...]:
    """The command of Compose, as a plugin of `docker` or by itself; empty if there is none."""
    if docker := shutil.which("docker"):
        asked = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return docker, "compose"
    alone = shutil.which("docker-compose")
    return (alone,) if alone else ()


@dataclass(frozen=True)
class ComposedBus:
    """A bus that is up.

    Attributes:
        folder: of its copy of deploy/compose.
        environment: for Compose.
    """

    folder: Path
    environment: Mapping[str, str]

    def compose(self, *command: str) -> str:
        """What Compose prints; its whole output where it fails."""
        done = subprocess.run(
            [*program(), *command],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def logs(self) -> str:
        """The newest lines of each container."""
        command = [*program(), "logs", "--tail=20"]
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self.environment), capture_output=True, check=False
        )
        return done.stdout.decode(errors="replace")

    def prepare(self, *command: str) -> None:
        """Run prepare.py."""
        script = str(self.folder / "prepare.py")
        subprocess.run([sys.executable, script, *command], check=True)

    def python(self, service: str, code: str, *arguments: str) -> str:
        """What Python prints in a container with the settings and the network of a service."""
        run = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "python3", service)
        return self.compose(*run, "-c", code, *arguments)


@contextmanager
def composed(folder: Path, images: Mapping[str, str]) -> Iterator[ComposedBus]:
    """A bus that is up while the block lasts, as README.md brings it up.

    Args:
        folder: an empty one.
        images: by the names of the variables in compose.yaml.
    """
    for name in ("compose", "broker"):
        shutil.copytree(ROOT / "deploy" / name, folder / name)
    project = {"COMPOSE_PROJECT_NAME": f"sinergi-test-{secrets.token_hex(4)}"}
    bus = ComposedBus(folder / "compose", {**os.environ, **project, **images})
    bus.prepare()
    try:
        bus.compose("up", "--detach", "provision")
        bus.prepare("hand-over")
        bus.compose("up", "--detach")
        yield bus
    finally:
        bus.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
