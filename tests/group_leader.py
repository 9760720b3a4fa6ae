"""A member of a consumer group that leads it and assigns what it likes (classic protocol)."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agency_pair import running
from waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

Assigned = tuple[bytes, tuple[int, ...]]

_SECONDS = 60
_SESSION_MILLISECONDS = 10_000
_JOIN, _HEARTBEAT, _LEAVE, _SYNC, _FIND = 11, 12, 13, 14, 10
_UNKNOWN_MEMBER = 25
_NOT_NOW = frozenset({14, 15, 16, 22, 27})  # the coordinator loads, moves, or rebalances


class GroupLeader:
    """Joins a group, and assigns each other member the same topic-partitions once it leads.

    Attributes:
        is_member: whether the group has taken it in.
        rounds: how often it has assigned them.
    """

    def __init__(
        self, bootstrap: str, group: str, topic: str, assigned: Sequence[Assigned]
    ) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), _SECONDS)
        self._stream = self._socket.makefile("rb")
        self._group = _text(group.encode())
        self._subscription = struct.pack(">hi", 1, 1) + _text(topic.encode()) + _bytes(b"")
        self._subscription += struct.pack(">i", 0)
        self._assigned = assigned
        self._member = b""
        self._generation = -1
        self.rounds = 0
        self.is_member = False

    def run(self, stopping: threading.Event) -> None:
        """Stay a member until `stopping` is set; then leave."""
        self._call(_FIND, 1, self._group + b"\0")
        self._assign(stopping)
        while not stopping.wait(0.2):
            answer = self._call(_HEARTBEAT, 1, self._membership())
            if struct.unpack_from(">h", answer, 4)[0]:
                self._assign(stopping)
        self._call(_LEAVE, 1, self._group + _text(self._member))
        self._socket.close()

    def _assign(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            members = self._join()
            if members is None:
                stopping.wait(0.2)
                continue
            body = self._membership() + struct.pack(">i", len(members))
            for each in members:
                given = () if each == self._member else self._assigned
                body += _text(each) + _bytes(_assignment(given))
            if not struct.unpack_from(">h", self._call(_SYNC, 1, body), 4)[0]:
                self.rounds += len(members) > 1
                self.is_member = True
                return

    def _join(self) -> list[bytes] | None:
        """All members if this one leads, none if another does; None if it has to join again."""
        timeouts = struct.pack(">ii", _SESSION_MILLISECONDS, _SESSION_MILLISECONDS)
        body = self._group + timeouts + _text(self._member) + _text(b"consumer")
        body += struct.pack(">i", 1) + _text(b"cooperative-sticky") + _bytes(self._subscription)
        answer = self._call(_JOIN, 2, body)
        error, self._generation = struct.unpack_from(">hi", answer, 4)
        if error == _UNKNOWN_MEMBER:
            self._member = b""
        if error:
            assert error in _NOT_NOW | {_UNKNOWN_MEMBER}, error
            return None
        _, place = _read_text(answer, 10)
        _, place = _read_text(answer, place)
        self._member, place = _read_text(answer, place)
        (count,) = struct.unpack_from(">i", answer, place)
        place += 4
        members = []
        for _ in range(count):
            member, place = _read_text(answer, place)
            place += 4 + int(struct.unpack_from(">i", answer, place)[0])
            members.append(member)
        return members

    def _membership(self) -> bytes:
        return self._group + struct.pack(">i", self._generation) + _text(self._member)

    def _call(self, what: int, version: int, body: bytes) -> bytes:
        request = struct.pack(">hhi", what, version, 1) + _text(b"stranger") + body
        self._socket.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", self._stream.read(4))
        return self._stream.read(size)[4:]


@contextmanager
def leading(
    bootstrap: str, group: str, topic: str, assigned: Sequence[Assigned]
) -> Iterator[GroupLeader]:
    """Lead a group while the block lasts, which begins when the leader is its only member."""
    leader = GroupLeader(bootstrap, group, topic, assigned)
    with running(leader.run):
        until(lambda: leader.is_member, "the stranger leads the group")
        yield leader


def _assignment(assigned: Sequence[Assigned]) -> bytes:
    found = struct.pack(">hi", 0, len(assigned))
    for topic, partitions in assigned:
        found += _text(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return found + struct.pack(">i", -1)


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _bytes(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _read_text(data: bytes, place: int) -> tuple[bytes, int]:
    size = max(0, struct.unpack_from(">h", data, place)[0])
    place += 2
    return data[place : place + size], place + size
