"""The base of an error says what a process does about it: the relay and the materialiser agree."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

import reference
from sinergi_consumers.materialise import loop
from sinergi_consumers.materialise.loop import Materialiser
from sinergi_consumers.materialise.store import Store
from sinergi_producers.relay.loop import Relay
from sinergi_producers.relay.term import Identity, TermSetup
from sinergi_schemas import errors
from sinergi_schemas.observer import UNOBSERVED, WorkState
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import TopicPartition
from test_house import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from test_house import Kind

ENDS = "ends with the error"
TRIES_AGAIN = "says why, waits, and tries again"
HALTS = "says why, stands still, and looks again"
GOES_ON = "drops what is in hand, and goes on"

# What meets both processes, and what both do about it.
ANSWERS: dict[Kind, str] = {
    errors.AgreementRefused: ENDS,
    errors.BrokerAway: TRIES_AGAIN,
    errors.BrokerCertificateRefused: TRIES_AGAIN,
    errors.BrokerRefuses: TRIES_AGAIN,
    errors.BrokerTooOld: ENDS,
    errors.DatabaseAway: TRIES_AGAIN,
    errors.DatabaseBroken: ENDS,
    errors.EncodingRefused: ENDS,
    errors.GrantMissing: ENDS,
    errors.KafkaSettingsRefused: ENDS,
    errors.LockHeld: TRIES_AGAIN,
    errors.LoginRefused: TRIES_AGAIN,
    errors.NotPermitted: TRIES_AGAIN,
    errors.ObjectMissing: ENDS,
    errors.PartitionsDiffer: HALTS,
    errors.PoolerRefused: ENDS,
    errors.RightMissing: ENDS,
    errors.RowsRefused: ENDS,
    errors.SealFork: HALTS,
    errors.SettingsRefused: ENDS,
    errors.StoredStateInvalid: HALTS,
    errors.TablesMissing: ENDS,
    errors.TablesNewer: ENDS,
    errors.TopicAway: TRIES_AGAIN,
}
POLICIES: Mapping[Kind, str] = {
    errors.Refused: ENDS,
    errors.Unavailable: TRIES_AGAIN,
    errors.TopicHalted: HALTS,
    errors.Fatal: ENDS,
    errors.Superseded: GOES_ON,
}

TP = TopicPartition("sinergi.lapas-rekaan.transfer", 0)


class Hurried:
    """A clock that moves on by far at each look."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        self._seconds += 1000.0
        return self._seconds


class Stopping:
    """An event on which nobody waits."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, _: float) -> bool:
        return self._is_set


class Tried(Exception):
    """The work was tried once more."""


def once(fault: errors.SinergiError) -> Callable[..., Any]:
    """Work that meets a fault at the first attempt."""
    attempts = iter([fault])

    def work(*_: object) -> None:
        raise next(attempts, Tried())

    return work


NO_RECEIPTS: Any = SimpleNamespace(proceed=lambda _: None, close=lambda: None)


def of_relay(fault: errors.SinergiError) -> str:
    """What a relay does that meets a fault when it begins to lead."""
    names = ("check", "release_lease", "close", "registered_schemas")
    nothing = {name: lambda *_: None for name in names}
    backlog: Any = SimpleNamespace(take_lease=lambda: 7, **nothing)
    identity = Identity("lapas-rekaan", [], once(fault))
    nowhere: Any = None
    terms = TermSetup(identity, backlog, nowhere, nowhere, Hurried(), DEFAULT.relay)
    relay = Relay(terms, backlog, NO_RECEIPTS, clock=Hurried())
    stopping: Any = Stopping()
    with capture_logs() as logs, pytest.raises((type(fault), Tried)) as ended:
        relay.run(stopping)
    said = {each["event"]: each for each in logs}
    if ended.type is not Tried:
        return ENDS
    if "lease lost" in said:
        return GOES_ON
    assert said["waiting"]["why"] == str(fault)
    return HALTS if isinstance(fault, errors.TopicHalted) else TRIES_AGAIN


class Group:
    """An assignment of one topic-partition, whose claim meets a fault."""

    def __init__(self, fault: errors.SinergiError) -> None:
        self.look_ups = SimpleNamespace(
            report_missing_topics=list, look_at=list, incarnation=once(fault)
        )
        self.claimable = {TP}
        self.active: set[TopicPartition] = set()
        self.assigned = {TP}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        assert name in (
            "fetch",
            "subscribe",
            "poll",
            "commit",
            "close",
            "mark_lost",
            "keep_alive",
        )
        return lambda *_: ()

    def suspend(self, tp: TopicPartition) -> None:
        self.claimable.discard(tp)

    def resume(self, tp: TopicPartition) -> None:
        self.claimable.add(tp)


class Recorded:
    """A sink that keeps which topic-partitions are halted, and why."""

    def __init__(self) -> None:
        self.halted: list[tuple[TopicPartition, errors.TopicHalted]] = []

    def record_halt(self, tp: TopicPartition, why: errors.TopicHalted, _: datetime) -> None:
        self.halted.append((tp, why))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        assert name in ("check", "unpublished_receipts", "progress", "close")
        return lambda *_: ()


def of_materialiser(fault: errors.SinergiError, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a materialiser does that meets a fault when it claims a topic-partition."""
    group, sink = Group(fault), Recorded()
    stopping: Any = Stopping()
    with capture_logs() as logs, pytest.raises((type(fault), Tried)) as ended:
        materialiser(group, sink, monkeypatch).run(stopping)
    said = {each["event"]: each for each in logs}
    if ended.type is not Tried:
        return ENDS
    if sink.halted:
        assert sink.halted == [(TP, fault)]
        assert said["topic-partition halted"]["why"] == str(fault)
        return HALTS
    assert said["topic-partition not claimed yet"]["why"] == str(fault)
    return TRIES_AGAIN


def materialiser(group: Group, sink: Recorded, monkeypatch: pytest.MonkeyPatch) -> Materialiser:
    """A materialiser of a group's topic-partitions, without brokers and database."""
    receipts = SimpleNamespace(send=list, confirmed=list, finish=lambda _: [])
    loaded = SimpleNamespace(
        reload=lambda: False,
        automatic_retry=SimpleNamespace(retry_some=lambda _: None),
        partition=None,
        decoders=None,
        file_of=lambda _: "pks.toml",
    )
    monkeypatch.setattr(loop, "LoadedAgreements", lambda *_: loaded)
    store = SimpleNamespace(sink=sink, observer=UNOBSERVED)
    parts: tuple[Any, ...] = (group, store, receipts, None, Hurried())
    return Materialiser(*parts)


@pytest.mark.parametrize("kind", [errors.LoginRefused, errors.DatabaseAway, errors.SealFork])
def test_a_relay_that_is_stopped_while_it_cannot_work_ends_in_order(kind: Kind) -> None:
    """Its exit status is 0, as that of a materialiser."""
    stopping: Any = Stopping()

    def check() -> None:
        stopping.set()
        raise filled(kind)

    store: Any = SimpleNamespace(check=check, close=lambda: None)
    nowhere: Any = None
    with capture_logs() as logs:
        Relay(nowhere, store, NO_RECEIPTS, clock=Hurried()).run(stopping)
    (said,) = [each for each in logs if each["event"].startswith("stopped before all is sent")]
    assert said["why"] == str(filled(kind))


def test_a_materialiser_that_is_to_stop_claims_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each claim may wait for brokers that do not answer, or that refuse the login."""
    fault, stopping = filled(errors.LoginRefused), Stopping()
    tried: list[TopicPartition] = []
    group = Group(fault)
    group.claimable = {TP, TP._replace(partition=1)}

    def incarnation(tp: TopicPartition, _: str) -> None:
        tried.append(tp)
        stopping.set()
        raise fault

    monkeypatch.setattr(group.look_ups, "incarnation", incarnation)
    told: Any = stopping
    materialiser(group, Recorded(), monkeypatch).run(told)
    assert tried == [TP]


def test_the_group_is_polled_between_the_claims_of_many_topic_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that does not poll for `max.poll.interval.ms` is expelled."""
    fault, stopping = filled(errors.TopicAway), Stopping()
    done: list[str] = []
    group = Group(fault)
    group.claimable = {TP, TP._replace(partition=1), TP._replace(partition=2)}

    def incarnation(tp: TopicPartition, _: str) -> None:
        done.append(f"claim {tp.partition}")
        if tp.partition == 2:
            stopping.set()
        raise fault

    def poll(_: object) -> tuple[()]:
        done.append("poll")
        return ()

    monkeypatch.setattr(loop, "_CLAIM_SECONDS", 0)
    monkeypatch.setattr(group.look_ups, "incarnation", incarnation)
    monkeypatch.setattr(group, "poll", poll, raising=False)
    told: Any = stopping
    materialiser(group, Recorded(), monkeypatch).run(told)
    assert done == ["poll", "claim 0", "poll", "claim 1", "poll", "claim 2"]


class States:
    """An observer that keeps what a process has entered."""

    def __init__(self) -> None:
        self.seen: list[WorkState | None] = []

    def entered(self, state: WorkState, _: object = "") -> None:
        self.seen.append(state)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: None


def test_a_relay_whose_messages_are_not_confirmed_does_not_say_that_it_works() -> None:
    observer: Any = States()

    def flush(while_waiting: Callable[[], None]) -> None:
        while_waiting()
        observer.seen.append(None)
        raise Tried

    does = {name: lambda *_: None for name in ("check", "renew_lease", "release_lease", "close")}
    store: Any = SimpleNamespace(take_lease=lambda: 7, unsent=lambda: ["an update"], **does)
    sends = {name: lambda *_: None for name in ("enqueue", "discard", "finish")}
    sender = SimpleNamespace(flush=flush, **sends)
    term = SimpleNamespace(epoch=7, sender=sender, control=sender)
    terms: Any = SimpleNamespace(begin=lambda *_: term)
    stopping: Any = Stopping()
    with pytest.raises(Tried):
        Relay(terms, store, NO_RECEIPTS, clock=Hurried(), observer=observer).run(stopping)
    assert observer.seen == [WorkState.WAITING, None]


@pytest.mark.parametrize(("kind", "answer"), ANSWERS.items(), ids=str)
def test_the_relay_and_the_materialiser_do_the_same_about_the_same_fault(
    kind: Kind, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = filled(kind)
    assert of_relay(fault) == answer
    assert of_materialiser(fault, monkeypatch) == answer


@pytest.mark.parametrize(
    "kind", [*reference.kinds(errors.SinergiError)], ids=lambda kind: kind.__name__
)
def test_a_process_does_about_each_error_what_its_base_says(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is added to the tree: no process has to know its name."""
    fault = filled(kind)
    for policy, answer in POLICIES.items():
        if issubclass(kind, policy):
            assert of_relay(fault) == answer
            if policy is not errors.Superseded:
                assert of_materialiser(fault, monkeypatch) == answer


def test_a_materialiser_whose_database_is_away_says_why_it_waits_and_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: tuple[Any, ...] = (None, [], None, Hurried(), Stopping())
    store, answers = Store(*parts), iter([*2 * [errors.DatabaseAway("57P03")], []])

    def transact(_: object) -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(store, "_transact", transact)
    work: Any = None
    with capture_logs() as logs:
        found: Any = store.store(work)
    assert found == []
    assert [each["event"] for each in logs] == ["waiting", "going on"]
    assert "57P03" in logs[0]["why"]


def test_a_message_within_another_one_ends_with_one_full_stop() -> None:
    within = errors.SealGap("bus/topic/0", 4, 9)
    assert str(errors.RebuildRefused("transfer", str(within))).endswith(
        "Restore them from another copy of the topic. Nothing was changed."
    )
    assert "wait...: no" in str(errors.RebuildRefused("transfer", "wait...: no"))


def test_a_message_that_ends_with_a_question_has_no_full_stop_after_it() -> None:
    unknown = errors.RotationRefused("lapas-rekan", "no agreement names it; did you mean lapas?")
    assert str(unknown).endswith("did you mean lapas?")
    refused = errors.PlanRefused("plan.json?", "cannot be read")
    assert str(refused).startswith("plan.json? cannot be read. Make a plan")


def test_no_error_says_that_it_is_tried_again_since_commands_show_it_too() -> None:
    def below(kind: Kind) -> list[Kind]:
        return [kind, *(each for sub in kind.__subclasses__() for each in below(sub))]

    kinds = below(errors.Unavailable)
    assert len(kinds) > 5
    assert not [each for each in kinds if "tries again" in str(each.__doc__).split("\n\n")[0]]
