"""The image of Sinergi, built of deploy/container/Containerfile on a base that is made here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers import images

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NAME = "sinergi-test/sinergi:latest"
_FILE = "deploy/container/Containerfile"


def build(client: Any, folder: Path) -> str:
    """The image's name, once the engine has it.

    Args:
        folder: an empty one, for what is sent to the engine.

    Raises:
        NoContainers: the base cannot be made.
    """
    base = images.python().build(client)
    for source in _sources():
        copy = folder / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, copy)
    wheels = folder / "build/wheels"
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels)]
    subprocess.run([*wheel, f"{folder}[producers,consumers]", "hatchling"], check=True)
    arguments = {"BASE": base, "PIP_NO_INDEX": "1"}
    client.images.build(path=str(folder), dockerfile=_FILE, tag=NAME, buildargs=arguments, rm=True)
    return NAME


def _sources() -> Iterator[Path]:
    """The files of the repository that the image is built of, and those that say how."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", _FILE):
        yield Path(name)
    for folder in ("schemas", "producers", "consumers", "deploy/sinergi"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT)
