"""A plan of provisioning: what the cluster needs, as a document that a person can read and keep.

A kept plan is applied only if the same plan would be made again: of the same agreements, for the
same cluster, in the state in which it was.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi.provision.access import AccessAction
from sinergi.provision.progress import RIGHT, TOPIC
from sinergi.provision.progress import USER as USER_KIND
from sinergi.provision.rights import USER
from sinergi.provision.topics import TopicAction
from sinergi_schemas import errors
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.nesting import is_deeper
from sinergi_schemas.plain_text import counted, listing, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sinergi.provision.access import AccessStep
    from sinergi.provision.topics import TopicStep

_FORMATS = "sinergi provision plan "
_FORMAT = f"{_FORMATS}3"
_HASH = "sha256"
_EDITED = "the file was edited after it was made"
_OK = str(AccessAction.OK)
_MOST_BYTES = 64 * 1024 * 1024
_MOST_LEVELS = 8
SETTLED = {TopicAction.OK, AccessAction.OK, AccessAction.LEFT}


@dataclass(frozen=True, slots=True)
class ProvisionPlan:
    """What has to be done on a cluster.

    Attributes:
        cluster: its id, which Kafka has made.
        agreements: the hash of each agreement by its file's name.
        unknown_types: event types whose topics are made although this version lacks them.
        access: users and rights; None if no broker has an authorizer.
        open_brokers: those without one, unless the settings take them.
    """

    bus: str
    cluster: str
    agreements: Mapping[str, str]
    unknown_types: Sequence[str]
    topics: Sequence[TopicStep]
    access: Sequence[AccessStep] | None
    open_brokers: Sequence[int] = ()

    @property
    def refused(self) -> list[TopicStep]:
        """The topics that are refused."""
        return [each for each in self.topics if each.verdict is TopicAction.REFUSED]

    @property
    def waiting(self) -> list[TopicStep]:
        """The topics that wait for brokers."""
        return [each for each in self.topics if each.verdict is TopicAction.WAITING]

    @property
    def refused_users(self) -> list[AccessStep]:
        """The users that are refused, and with them all rights of their principals."""
        steps = self.access or ()
        return [each for each in steps if each.action is AccessAction.REFUSED and not each.entry]

    @property
    def new_users(self) -> list[str]:
        """The users that are to be created, each with a new password."""
        created = (each for each in self.access or () if each.action is AccessAction.CREATE)
        return [each.principal.removeprefix(USER) for each in created if each.entry is None]

    def check_refused(self) -> None:
        """Report what is refused or waits, after everything else is done.

        Raises:
            ProvisionRefused: topics or users are refused.
            BrokersMissing, AccessControlMissing: as `hindrance`; nothing is refused.
        """
        if self.refused or self.refused_users:
            users = [f"{each.principal}: {each.why}" for each in self.refused_users]
            topics = [*map(_reason, self.refused), *map(_reason, self.waiting)]
            raise errors.ProvisionRefused(listing([*topics, *users]))
        if self.hindrance:
            raise self.hindrance

    @property
    def hindrance(self) -> errors.BrokersMissing | errors.AccessControlMissing | None:
        """What the operator of the brokers has to mend on them, if anything."""
        if self.waiting:
            return errors.BrokersMissing(listing(map(_reason, self.waiting)))
        if self.open_brokers:
            return errors.AccessControlMissing(some(map(str, self.open_brokers), ", "))
        return None

    @property
    def is_possible(self) -> bool:
        """Whether all of it can be done."""
        return not (self.refused or self.refused_users or self.hindrance)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        topics = {each.verdict for each in self.topics}
        return topics | {each.action for each in self.access or ()} <= SETTLED

    @property
    def changes(self) -> Counter[str]:
        """How many topics, users and rights are made, changed or removed; see `progress`."""
        changed = (AccessAction.CREATE, AccessAction.REMOVE)
        found = Counter(
            USER_KIND if step.entry is None else RIGHT
            for step in self.access or ()
            if step.action in changed
        )
        verdicts = (TopicAction.CREATE, TopicAction.CHANGE)
        found[TOPIC] = sum(step.verdict in verdicts for step in self.topics)
        return found

    def with_steps(
        self, topics: Sequence[TopicStep], access: Sequence[AccessStep] | None
    ) -> ProvisionPlan:
        """The same plan with other steps, as those that are shown."""
        return replace(self, topics=topics, access=access)

    @property
    def data(self) -> bytes:
        """The plan as it is kept in a file, with a hash that shows whether somebody edits it."""
        document = json.loads(json.dumps(self.document))
        return json.dumps(document | {_HASH: _hash(document)}, indent=1).encode()

    @property
    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        access = None
        if self.access is not None:
            access = [
                asdict(each) | {"right": None if each.entry is None else str(each.entry)}
                for each in self.access
            ]
        return {
            "format": _FORMAT,
            "bus": self.bus,
            "cluster": self.cluster,
            "agreements": dict(self.agreements),
            "unknown_types": list(self.unknown_types),
            "topics": [asdict(each) for each in self.topics],
            "access": access,
            "open_brokers": [*self.open_brokers],
        }


def _reason(topic: TopicStep) -> str:
    return f"{topic.topic}: {topic.what}"


class KeptPlan(NamedTuple):
    """A plan that was kept in a file.

    Attributes:
        data: all of the file.
    """

    path: Path
    data: bytes
    document: dict[str, Any]

    @property
    def unknown_types(self) -> list[str]:
        """The event types whose topics are made although this version lacks them."""
        found: list[str] = self.document["unknown_types"]
        return found


def kept_plan(path: Path) -> KeptPlan:
    """Read a kept plan.

    Raises:
        PlanRefused: the file cannot be read, or is no plan.
    """
    try:
        _, data = read_regular(path, _MOST_BYTES)
        found = json.loads(data, object_pairs_hook=_unique_keys)
    except OSError as why:
        raise errors.PlanRefused(str(path), unread(why)) from None
    except _KeyTwiceError as why:
        raise errors.PlanRefused(str(path), f"has the key {why} twice") from None
    except (ValueError, RecursionError):
        raise errors.PlanRefused(str(path), "is not JSON") from None
    if is_deeper(found, _MOST_LEVELS):  # what compares and shows it goes down level by level
        raise errors.PlanRefused(str(path), f"has more than {_MOST_LEVELS} levels")
    form = found.get("format") if isinstance(found, dict) else None
    if isinstance(form, str) and form.startswith(_FORMATS) and form != _FORMAT:
        what = f"was made by another version of Sinergi (`{form}`; this one makes `{_FORMAT}`)"
        raise errors.PlanRefused(str(path), what)
    if not isinstance(found, dict) or form != _FORMAT:
        raise errors.PlanRefused(str(path), "is not what `sinergi provision plan --out` wrote")
    types = found.get("unknown_types")
    if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
        raise errors.PlanRefused(str(path), "lacks its list `unknown_types`")
    return KeptPlan(path, data, found)


class _KeyTwiceError(Exception):
    """A JSON object has a key twice: programs differ in which of the values they take."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _KeyTwiceError(_value(name))
        found[name] = value
    return found


def check_unchanged(kept: KeptPlan, now: ProvisionPlan) -> None:
    """Refuse a kept plan unless its bytes are those of the plan that is made now.

    Nobody may edit a plan, since it would then say something else than what is done.

    Raises:
        PlanOutdated: with what is otherwise now, a line for each difference.
    """
    if kept.data == now.data:
        return
    document = {key: value for key, value in kept.document.items() if key != _HASH}
    if kept.document.get(_HASH) != _hash(document) or not _is_as_written(kept):
        cause = _EDITED
    elif kept.document.get("cluster") != now.cluster:
        cause = "it was made for another cluster"
    elif kept.document.get("agreements") != dict(now.agreements):
        cause = "the agreements have changed since it was made"
    elif now.is_done:
        raise errors.PlanDone(str(kept.path))
    else:
        cause = "the cluster has changed since it was made, or an agreement has begun or ended"
    current = json.loads(json.dumps(now.document))
    found = [*_differences(document, current, is_edited=cause == _EDITED)]
    other = "the file has the same steps in another order, or written otherwise"
    raise errors.PlanOutdated(str(kept.path), cause, listing(found or [other]))


def _hash(document: dict[str, Any]) -> str:
    """The SHA-256 of all of a plan but the hash itself."""
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _is_as_written(kept: KeptPlan) -> bool:
    """Whether the file has the bytes that `data` gives."""
    return kept.data == json.dumps(kept.document, indent=1).encode()


def _differences(kept: dict[str, Any], now: dict[str, Any], *, is_edited: bool) -> Iterator[str]:
    """A line for each difference; what is as agreed counts only where the file was edited."""
    for part in ("bus", "cluster", "unknown_types", "open_brokers"):
        if _value(kept.get(part)) != _value(now[part]):
            yield f"{part}: {kept.get(part)} in the plan, {now[part]} now"
    if kept.get("agreements") != now["agreements"]:
        yield from _changed_files(kept.get("agreements"), now["agreements"])
    done = 0
    for part in ("topics", "access"):
        before, after = _by_subject(kept.get(part)), _by_subject(now[part])
        for subject in dict.fromkeys((*before, *after)):
            one, other = before.get(subject), after.get(subject)
            if not is_edited and _is_done(one, other):
                done += 1
            else:
                yield from _changed_step(one, other, is_edited=is_edited)
    if done:
        yield f"{counted(done, 'step')} of the plan are done already"
    for part in sorted(kept.keys() - now.keys()):
        yield f"{part}: {_value(kept[part])} in the plan, and no plan has it"


def _is_done(before: object, after: object) -> bool:
    """Whether a step of the plan has been done since: it is as agreed now, or it is gone."""
    if _action(before) == AccessAction.REMOVE:
        return after is None
    return _action(before) not in (None, _OK) and _action(after) == _OK


def _changed_step(before: object, after: object, *, is_edited: bool) -> Iterator[str]:
    """The lines about a topic, a user or a right, of which one of both may be None."""
    if before is not None and after is not None and _line(before) == _line(after):
        yield from _changed_fields(_line(before), before, after)
        return
    for step, where in ((before, "only in the plan"), (after, "only now")):
        if step is not None and (is_edited or _action(step) != _OK):
            yield f"{where}: {_line(step)}"


def _changed_files(kept: object, now: dict[str, str]) -> Iterator[str]:
    """A line for each agreement that is not the one that was planned for."""
    before = kept if isinstance(kept, dict) else {}
    for name in sorted({*map(str, before), *now}):
        if name not in now:
            yield f"{name}: only in the plan"
        elif name not in before:
            yield f"{name}: only now"
        elif before[name] != now[name]:
            yield f"{name}: has changed since the plan was made"


def _changed_fields(line: str, before: object, after: object) -> Iterator[str]:
    """A line for each field of a step that its own line does not show."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    for name in sorted({*before, *after}):
        kept, now = _value(before.get(name)), _value(after.get(name))
        if kept != now:
            yield f"{line}: {name} {kept} in the plan, {now} now"


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _by_subject(steps: object) -> dict[str, object]:
    """The steps of a part of a plan by what they are about, in order."""
    if not isinstance(steps, list):
        return {} if steps is None else {str(steps): steps}
    return {_subject(each): each for each in steps}


def _subject(step: object) -> str:
    if not isinstance(step, dict):
        return str(step)
    if "verdict" in step:
        return f"topic {step.get('topic')}"
    return f"{step.get('principal')}: {step.get('right')}"


def _action(step: object) -> object:
    return (step.get("verdict") or step.get("action")) if isinstance(step, dict) else None


def _line(step: object) -> str:
    if not isinstance(step, dict):
        return str(step)
    if "verdict" in step:
        return f"{step['verdict']} topic {step.get('topic')}: {step.get('what')}"
    what = step.get("right") or "user"
    return f"{step.get('action')} {step.get('principal')}: {what} ({step.get('why')})"
