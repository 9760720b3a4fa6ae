"""PgBouncer in transaction mode before the tests' PostgreSQL, on machines that have the program."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from sinergi.local.state import free_ports
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
"""Where the program is; None if it is not installed."""


@contextmanager
def pgbouncer(server: str, passwords: Mapping[str, str]) -> Iterator[int]:
    """The port of a PgBouncer for the block, which lets these users in.

    Args:
        server: the URL of the server.
        passwords: by user.
    """
    assert PROGRAM
    url = make_url(server)
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # it gives up root's rights before it reads the users
        users = "".join(f'"{user}" "{secret}"\n' for user, secret in passwords.items())
        (folder / "users").write_text(users, encoding="utf-8")
        (port,) = free_ports(1)
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": 3,
        }
        lines = [f"* = host={url.host} port={url.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (folder / "ini").write_text("[databases]\n" + "\n".join(lines) + "\n", encoding="utf-8")
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (
            (folder / "log").open("w", encoding="utf-8") as log,
            subprocess.Popen([PROGRAM, *as_user, str(folder / "ini")], stderr=log) as process,
        ):
            try:
                until(lambda: _answers(port), "PgBouncer answers")
                yield port
            finally:
                process.terminate()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False
