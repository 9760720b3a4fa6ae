"""The address after `--listen`, and the socket on it."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import NamedTuple

from sinergi_schemas import errors

_BACKLOG = 1_024
_FIRST_PORT, _LAST_PORT = 0, 65_535


class ListenAddress(NamedTuple):
    """Where a process listens.

    Attributes:
        host: a name or an address, of IPv6 without brackets.
        port: 0 takes a free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """The address that a person has written.

        Raises:
            ValueError: it is not HOST:PORT; the message says what it must be.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("must be HOST:PORT; an IPv6 address stands in brackets: [::1]:9464")
        if not colon or not host:
            raise ValueError("must be HOST:PORT, as 127.0.0.1:9464")
        if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > _LAST_PORT:
            raise ValueError(f"its port must be a number from {_FIRST_PORT} to {_LAST_PORT}")
        return cls(host, int(port))


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def bind(address: ListenAddress) -> socket.socket:
    """A socket that listens on the first address of a host.

    Raises:
        ListenRefused: the host has no address here, or the port is taken or not permitted.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise errors.ListenRefused(str(address), "no such host is known; name another") from None
    bound = socket.socket(family, kind, protocol)
    try:
        # A process that starts again need not wait until old connections have timed out.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(_BACKLOG)
    except OSError as why:
        bound.close()
        raise errors.ListenRefused(str(address), _reason(why)) from None
    bound.settimeout(0)
    return bound


def _reason(why: OSError) -> str:
    """What is wrong with an address, and what to do."""
    if why.errno == errno.EADDRINUSE:
        return "another process uses the port; stop it, or name another port"
    if why.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address; name one of its own"
    if why.errno in (errno.EACCES, errno.EPERM):
        return "the system does not permit the port; name one above 1023"
    return f"{os.strerror(why.errno or 0)}; name another"
