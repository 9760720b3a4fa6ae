"""Errors of Kafka and PostgreSQL on one machine."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Fatal, Refused


class LocalFolderRefused(Refused):
    """The folder {path} cannot hold local services: {what}. Name another with --folder."""

    path: str
    what: str


class LocalMissing(Refused):
    """{what} is not installed. `pip install '/path/to/the/clone[local]'` installs it for Linux on
    common processors; elsewhere run Kafka and PostgreSQL yourself, and name them in sinergi.toml.
    """

    what: str


class LocalRootRefused(Refused):
    """PostgreSQL refuses to run as root, and root cannot become another user here: {why}. Run this
    command as an ordinary user, or give root CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID and
    CAP_SETUID, as containers usually do.
    """

    why: str


class LocalProgramsUnreachable(Refused):
    """The user that PostgreSQL runs as cannot run its programs from any folder. {tried}. Mend one
    of these folders, or set TMPDIR to one that everybody may enter and run programs from.
    """

    tried: str


class DownloadFailed(Refused):
    """{what} of Kafka cannot be fetched: {why}. Check the network, or name a mirror in jgo's
    settings; then run the command again. It keeps what it has already fetched.
    """

    what: str
    why: str


class PortTaken(Refused):
    """Another process uses port {port} of the local {service}. Stop that process, or choose other
    ports with `sinergi local up --new-ports`.
    """

    service: str
    port: int


class LocalFailed(Fatal):
    """The local {service} does not start: {what}. Its log is {log}."""

    service: str
    what: str
    log: str


class LocalDown(Refused):
    """No local services run in {folder}. Start them with `sinergi local up --folder {folder}`."""

    folder: str
