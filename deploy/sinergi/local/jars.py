"""Kafka's jars: their names, sizes and digests, and how they are downloaded.

`kafka.lock` names each jar that the broker needs: coordinates, size in bytes, SHA-256. jgo fetches
those that are missing into the cache that it shares with Maven, from the repositories of its own
settings. Where another user has filled that cache, its jars are used so far as they can be read,
and the others are fetched into a cache of our own. A jar that is not the locked one is never run.
`python -m sinergi.local.jars` resolves the dependencies again and prints a new lock.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING

import stamina

from sinergi.local.errors import DownloadFailed, LocalMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jgo.maven import Artifact, MavenContext
    from rich.console import Console

_LOCK = Path(__file__).with_name("kafka.lock")
# slf4j-simple writes the broker's log, for which Kafka itself brings no writer.
_WANTED = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar of the lock."""

    coordinates: str
    size: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Whether exactly this jar is there and can be read."""
        try:
            return path.stat().st_size == self.size and _digest(path) == self.sha256
        except OSError:
            return False


def locked() -> list[Jar]:
    """The jars of Kafka, in the order of the class path."""
    words = (line.split() for line in _LOCK.read_text("ascii").splitlines())
    return [Jar(coordinates, int(size), sha256) for coordinates, size, sha256 in words]


def class_path(console: Console | None, folder: Path | None = None) -> list[Path]:
    """The paths of the jars; missing ones are downloaded first.

    Args:
        console: shows a progress bar during a download.
        folder: used for the jars if no cache can be written.

    Raises:
        LocalMissing: jgo is not installed.
        DownloadFailed: a jar cannot be downloaded, or is not the locked one.
    """
    caches = _caches(folder)
    contexts = [_context(cache) for cache in caches]
    found = {jar: _find(jar, contexts) for jar in locked()}
    missing = [jar for jar, path in found.items() if path is None]
    if missing:
        found |= _fetch_into_one_of(caches, missing, console)
    return [path.absolute() for path in found.values() if path is not None]


def _caches(folder: Path | None) -> list[Path]:
    """The possible caches: the one shared with Maven, our own, the folder's."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    caches = [_context().repo_cache, own / "sinergi" / "jars"]
    return caches if folder is None else [*caches, folder / "jars"]


def _find(jar: Jar, contexts: list[MavenContext]) -> Path | None:
    paths = (_path(_artifact(context, jar)) for context in contexts)
    return next((path for path in paths if jar.is_at(path)), None)


def _fetch_into_one_of(
    caches: list[Path], missing: list[Jar], console: Console | None
) -> dict[Jar, Path | None]:
    """Download jars into the first cache that can be written.

    Raises:
        DownloadFailed: a jar cannot be downloaded, or no cache can be written.
    """
    refused: list[str] = []
    for cache in caches:
        try:
            with _alone(cache):
                return dict(_fetch(cache, missing, console))
        except _CacheRefused as why:
            refused.append(str(why))
    raise DownloadFailed("the jars", "; ".join(refused))


class _CacheRefused(Exception):
    """A cache that cannot be written, by its path, and why."""

    def __init__(self, path: Path, why: OSError) -> None:
        super().__init__(f"{path}: {why.strerror}")


def _context(
    cache: Path | None = None, advance: Callable[[int], None] | None = None
) -> MavenContext:
    """The user's repositories, and his cache unless another one is given, by jgo's settings."""
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - jgo is an extra
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - jgo is an extra
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - jgo is an extra
    except ImportError:
        raise LocalMissing("jgo, which fetches Kafka,") from None

    @contextmanager
    def one(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield advance or (lambda _bytes: None)

    try:
        settings = GlobalSettings.load()
    except OSError:  # they are another user's
        settings = GlobalSettings()
    return MavenContext(
        resolver=PythonResolver(progress_callback=one),
        repo_cache=cache or settings.repo_cache,
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
    )


def _artifact(context: MavenContext, jar: Jar) -> Artifact:
    return context.create_dependency(jar.coordinates).artifact


def _path(artifact: Artifact) -> Path:
    path = artifact.cached_path
    if path is None:
        raise DownloadFailed(str(artifact), "there is no cache folder")
    return path


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the lock under which one process at a time downloads into the cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".sinergi.lock").open("w")
    except OSError as why:
        raise _CacheRefused(cache, why) from None
    with lock:
        flock(lock, LOCK_EX)
        yield


def _fetch(cache: Path, jars: list[Jar], console: Console | None) -> list[tuple[Jar, Path]]:
    from rich.console import Console as Screen  # noqa: PLC0415 - only where there is something to show
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    # A retry is no news: where the last one fails, one error names the jar and the cause.
    stamina.instrumentation.set_on_retry_hooks([])
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    screen = console or Screen(stderr=True, quiet=True)
    with Progress(*columns, console=screen, transient=True) as progress:
        bar = progress.add_task("Fetching Kafka, once", total=sum(jar.size for jar in jars))
        context = _context(cache, lambda size: progress.advance(bar, size))
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            return list(pool.map(lambda jar: (jar, _fetch_one(context, jar)), jars))
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_one(context: MavenContext, jar: Jar) -> Path:
    """Download one jar, unless another process did so while this one waited."""
    artifact = _artifact(context, jar)
    path = _path(artifact)
    if jar.is_at(path):
        return path
    _make_room(path)
    try:
        for attempt in stamina.retry_context(on=OSError, attempts=3, timeout=60):
            with attempt:
                path.unlink(missing_ok=True)
                artifact.resolve()
    except RuntimeError:
        raise DownloadFailed(jar.coordinates, "no repository has it") from None
    except OSError as why:
        reason = f"the repositories do not answer ({type(why).__name__})"
        raise DownloadFailed(jar.coordinates, reason) from None
    if not jar.is_at(path):
        path.unlink()
        raise DownloadFailed(jar.coordinates, f"what came has not SHA-256 {jar.sha256}")
    return path


def _make_room(path: Path) -> None:
    """Create the folder of a jar, and remove what is in the jar's place.

    Raises:
        _CacheRefused: a part of the cache belongs to somebody else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as why:
        raise _CacheRefused(path.parent, why) from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve() -> list[Jar]:
    """Kafka's dependencies according to its own POM, for a new lock."""
    context = _context()
    wanted = [context.create_dependency(coordinates) for coordinates in _WANTED]
    direct, further = context.resolver.resolve(wanted)
    needed = [*direct, *(one for one in further if one.scope in {"compile", "runtime"})]
    jars = []
    for one in needed:
        path = one.artifact.resolve()
        coordinates = f"{one.groupId}:{one.artifactId}:{one.version}"
        jars.append(Jar(coordinates, path.stat().st_size, _digest(path)))
    return jars


if __name__ == "__main__":
    for found in resolve():
        sys.stdout.write(f"{found.coordinates} {found.size} {found.sha256}\n")
