"""Rights and users: the agreements in force decide, and what is foreign is never changed."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from sinergi.provision.access import (
    AccessAction,
    AccessStep,
    FoundAccess,
    access_steps,
    users_of,
)
from sinergi.provision.clock_check import with_kept_users
from sinergi.provision.rights import AclEntry, given_rights, rights_with_grace
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from test_agreement import BNNK, EXAMPLE, LAPAS, PATH, POLRESTA, other_key

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOTHING = FoundAccess(frozenset(), frozenset())
OK, CREATE, REMOVE, LEFT, REFUSED = (
    AccessAction.OK,
    AccessAction.CREATE,
    AccessAction.REMOVE,
    AccessAction.LEFT,
    AccessAction.REFUSED,
)


def raw(**changes: Any) -> dict[str, Any]:
    """The example with an auditor."""
    auditors = {"ombudsman": {"name": "Ombudsman", "reads": ["transfer"]}}
    found = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    return found | {"auditors": auditors} | changes


def agreements(*documents: dict[str, Any]) -> Agreements:
    return Agreements(
        parse(PATH.with_name(f"pks-{number}.toml"), tomli_w.dumps(each).encode())
        for number, each in enumerate(documents)
    )


def of(entries: Iterable[AclEntry], principal: str) -> set[str]:
    return {str(each) for each in entries if each.principal == f"User:{principal}"}


def test_a_producer_writes_its_own_topics_and_reads_what_its_readers_signed() -> None:
    assert of(given_rights(agreements(raw()), NOW), "lapas-banyuwangi.producer") == {
        f"{may} topic sinergi.{LAPAS}.{name}"
        for may in ("read", "write")
        for name in ("seizure", "transfer", "suspicious-visit", "control")
    } | {f"read topic sinergi.{each}.receipts" for each in (BNNK, POLRESTA)}


def test_a_consumer_reads_others_topics_and_writes_its_own_receipts() -> None:
    assert of(given_rights(agreements(raw()), NOW), "polresta-banyuwangi.consumer") == {
        f"read topic sinergi.{LAPAS}.seizure",
        f"read topic sinergi.{LAPAS}.transfer",
        f"read topic sinergi.{LAPAS}.suspicious-visit",
        f"read topic sinergi.{BNNK}.seizure",
        f"read topic sinergi.{LAPAS}.control",
        f"read topic sinergi.{BNNK}.control",
        f"read topic sinergi.{LAPAS}.receipts",
        f"read topic sinergi.{BNNK}.receipts",
        f"read topic sinergi.{POLRESTA}.receipts",
        f"write topic sinergi.{POLRESTA}.receipts",
        f"read groups {POLRESTA}.*",
    }


def test_an_auditor_reads_the_topics_of_its_event_types_and_what_was_signed_about_them() -> None:
    assert of(given_rights(agreements(raw()), NOW), "ombudsman.auditor") == {
        f"read topic sinergi.{LAPAS}.transfer",
        f"read topic sinergi.{LAPAS}.control",
        f"read topic sinergi.{BNNK}.receipts",
        f"read topic sinergi.{POLRESTA}.receipts",
    }


def test_each_principal_of_a_role_has_its_rights_and_the_article_says_why() -> None:
    document = raw()
    document["parties"][LAPAS]["principals"] = {"producer": ["CN=relay,O=Lapas", "relay"]}
    given = given_rights(agreements(document), NOW)
    assert of(given, "CN=relay,O=Lapas") == of(given, "relay") != set()
    assert of(given, "lapas-banyuwangi.producer") == set()
    write = AclEntry("User:relay", "TOPIC", f"sinergi.{LAPAS}.transfer", "LITERAL", "WRITE")
    assert given[write].owner == LAPAS
    assert given[write].reasons == ("pks-0.toml events.transfer.publishers",)


@pytest.mark.parametrize("at", [datetime(2025, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)])
def test_before_and_after_its_period_an_agreement_gives_no_right(at: datetime) -> None:
    assert given_rights(agreements(raw()), at) == {}


def test_the_newest_agreement_in_force_alone_gives_the_rights_of_a_topic() -> None:
    first = raw()
    second = raw(
        replaces=[next(iter(agreements(first))).hash],
        in_force={"from": datetime(2026, 1, 1, tzinfo=UTC)},
    )
    second["events"]["transfer"]["readers"] = [BNNK]
    both = agreements(first, second)
    topic = f"read topic sinergi.{LAPAS}.transfer"
    assert topic not in of(given_rights(both, NOW), "polresta-banyuwangi.consumer")
    earlier = datetime(2025, 12, 1, tzinfo=UTC)
    assert topic in of(given_rights(both, earlier), "polresta-banyuwangi.consumer")


def test_a_version_that_leaves_out_an_agency_takes_all_of_its_rights_away() -> None:
    first = raw()
    second = raw(
        replaces=[next(iter(agreements(first))).hash],
        in_force={"from": datetime(2026, 1, 1, tzinfo=UTC)},
    )
    del second["parties"][POLRESTA]
    second["numbers"] = [each for each in second["numbers"] if each["party"] != POLRESTA]
    for name in [*second["events"]]:
        agreed = second["events"][name]
        for role in ("publishers", "readers"):
            agreed[role] = [each for each in agreed[role] if each != POLRESTA]
        if not agreed["publishers"]:
            del second["events"][name]
    both = agreements(first, second)
    gone = {each for each in given_rights(both, NOW) if "polresta" in each.principal}
    assert gone == set()
    before = frozenset(given_rights(both, datetime(2025, 12, 31, tzinfo=UTC)))
    users = frozenset({"polresta-banyuwangi.producer", "polresta-banyuwangi.consumer"})
    steps = access_steps(both, NOW, FoundAccess(before, users))
    removed = [each for each in steps if each.owner == POLRESTA]
    assert {each.action for each in removed} == {AccessAction.REMOVE}
    assert {each.user for each in removed if each.entry is None} == users


def test_the_receipts_of_a_reader_are_read_once_its_agreement_has_begun() -> None:
    first = raw()
    first["events"]["transfer"]["readers"].remove(POLRESTA)
    first["events"]["seizure"]["readers"].remove(POLRESTA)
    first["events"]["suspicious-visit"]["readers"].remove(POLRESTA)
    second = raw(
        replaces=[next(iter(agreements(first))).hash],
        in_force={"from": datetime(2027, 1, 1, tzinfo=UTC)},
    )
    both = agreements(first, second)
    receipts = f"read topic sinergi.{POLRESTA}.receipts"
    assert receipts not in of(given_rights(both, NOW), "bnnk-banyuwangi.consumer")
    later = given_rights(both, datetime(2027, 1, 1, tzinfo=UTC))
    assert receipts in of(later, "bnnk-banyuwangi.consumer")
    reasons = {each.reasons for entry, each in later.items() if entry.name.endswith("receipts")}
    assert {one.split()[0] for each in reasons for one in each} == {"pks-1.toml"}


def test_agencies_whose_names_begin_alike_have_no_group_in_common() -> None:
    document = raw()
    document["parties"]["lapas"] = {"name": "Lapas", "keys": [other_key("lapas")]}
    document["parties"]["lapas-dua"] = {"name": "Dua", "keys": [other_key("lapas-dua")]}
    document["numbers"] += [{"party": each, "number": "1"} for each in ("lapas", "lapas-dua")]
    document["events"]["seizure"]["readers"] += ["lapas", "lapas-dua"]
    given = given_rights(agreements(document), NOW)
    (group,) = [
        each
        for each in given
        if each.principal == "User:lapas.consumer" and each.resource == "GROUP"
    ]
    assert "lapas.main".startswith(group.name)
    assert not "lapas-dua.main".startswith(group.name)


def test_what_is_there_is_left_alone_and_what_is_missing_is_created() -> None:
    known = agreements(raw())
    given = list(given_rights(known, NOW))
    found = FoundAccess(frozenset(given[1:]), frozenset({"ombudsman.auditor"}))
    steps = access_steps(known, NOW, found)
    created = [each for each in steps if each.action is CREATE]
    assert [each.entry for each in created if each.entry] == given[:1]
    assert {each.user for each in created if not each.entry} == {
        f"{agency}.{role}"
        for agency in (LAPAS, BNNK, POLRESTA)
        for role in ("producer", "consumer")
    }
    assert {each.action for each in steps} == {OK, CREATE}


def test_an_ended_agreement_takes_its_rights_and_users_away() -> None:
    known = agreements(raw())
    found = FoundAccess(
        frozenset(given_rights(known, NOW)), frozenset({"lapas-banyuwangi.producer"})
    )
    steps = access_steps(known, datetime(2031, 1, 1, tzinfo=UTC), found)
    assert {each.action for each in steps} == {REMOVE}
    assert {each.entry for each in steps if each.entry} == found.entries
    assert [each.user for each in steps if not each.entry] == ["lapas-banyuwangi.producer"]


def test_rights_and_users_are_kept_for_some_time_after_the_end_and_the_plan_says_so() -> None:
    known, grace = agreements(raw()), timedelta(hours=24)
    (agreement,) = known
    assert agreement.ends
    users = {each.user for each in access_steps(known, NOW, NOTHING) if not each.entry}
    found = FoundAccess(frozenset(given_rights(known, NOW)), frozenset(users))
    in_force = access_steps(known, agreement.ends - timedelta(microseconds=1), found, grace)
    assert not any("kept" in each.why for each in in_force)
    last = access_steps(known, agreement.ends + grace - timedelta(microseconds=1), found, grace)
    assert {each.action for each in last} == {OK}
    ended = agreement.ends.isoformat(sep=" ")
    kept = f", ended at {ended}, kept until {(agreement.ends + grace).isoformat(sep=' ')}"
    assert all(each.why.endswith(kept) for each in last), "rights, and the logins too"
    over = access_steps(known, agreement.ends + grace, found, grace)
    assert {each.action for each in over} == {REMOVE}


def test_a_reader_whom_a_later_version_leaves_out_keeps_its_right_for_the_same_time() -> None:
    """What was published before is still to be fetched, and the clocks of agencies differ."""
    first, grace = raw(), timedelta(hours=24)
    starts = datetime(2026, 1, 1, tzinfo=UTC)
    second = raw(replaces=[next(iter(agreements(first))).hash], in_force={"from": starts})
    second["events"]["transfer"]["readers"] = [BNNK]
    both, topic = agreements(first, second), f"read topic sinergi.{LAPAS}.transfer"
    last = rights_with_grace(both, starts + grace - timedelta(microseconds=1), grace)
    assert topic in of(last, "polresta-banyuwangi.consumer")
    kept = {
        right.reasons[-1]
        for entry, right in last.items()
        if entry.principal == "User:polresta-banyuwangi.consumer" and str(entry) == topic
    }
    assert kept == {"ended at 2026-01-01 00:00:00+00:00, kept until 2026-01-02 00:00:00+00:00"}
    over = rights_with_grace(both, starts + grace, grace)
    assert topic not in of(over, "polresta-banyuwangi.consumer")


@pytest.mark.parametrize("until", [{}, {"until": datetime.max.replace(tzinfo=UTC)}])
def test_an_agreement_that_never_ends_or_ends_with_the_calendar_has_a_grace_as_any_other(
    until: dict[str, datetime],
) -> None:
    known = agreements(raw(in_force={"from": NOW} | until))
    late = datetime(9999, 12, 1, tzinfo=UTC)
    assert rights_with_grace(known, late, timedelta(days=366)) == given_rights(known, late) != {}


def test_a_user_outlasts_the_time_until_its_agreement_begins() -> None:
    known = agreements(raw())
    found = FoundAccess(frozenset(), frozenset({"lapas-banyuwangi.producer"}))
    steps = access_steps(known, datetime(2025, 1, 1, tzinfo=UTC), found)
    (step,) = [each for each in steps if each.user == "lapas-banyuwangi.producer"]
    assert step.action is OK


def test_the_user_of_the_command_itself_is_never_made_removed_or_given_a_new_password() -> None:
    known = agreements(raw())
    own = "ombudsman.auditor"
    for at in (NOW, datetime(2031, 1, 1, tzinfo=UTC)):
        found = FoundAccess(frozenset(), frozenset({own}), own)
        steps = access_steps(known, at, found)
        assert {each.action for each in steps if not each.entry and each.user == own} == {LEFT}
    with pytest.raises(errors.RotationRefused, match="this command logs in as one of its users"):
        users_of(known, "ombudsman", FoundAccess(frozenset(), frozenset({own}), own))


def test_the_subject_of_a_certificate_gets_rights_and_no_password() -> None:
    document = raw()
    document["parties"][LAPAS]["principals"] = {"producer": ["CN=relay"]}
    steps = access_steps(agreements(document), NOW, NOTHING)
    mine = [each for each in steps if each.principal == "User:CN=relay"]
    assert mine
    assert all(each.entry for each in mine)


ENTRIES = st.builds(
    AclEntry,
    st.sampled_from(["User:lapas-banyuwangi.producer", "User:*", "Group:staff"]),
    st.sampled_from(["TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID"]),
    st.sampled_from([f"sinergi.{LAPAS}.transfer", f"{LAPAS}.", "*", "kafka-cluster"]),
    st.sampled_from(["LITERAL", "PREFIXED"]),
    st.sampled_from(["READ", "WRITE", "ALL", "ALTER", "IDEMPOTENT_WRITE"]),
    st.sampled_from(["ALLOW", "DENY"]),
    st.sampled_from(["*", "10.0.0.1"]),
)


def done(found: FoundAccess, steps: Iterable[AccessStep]) -> FoundAccess:
    """What a cluster has after a plan was applied."""
    entries, users = set(found.entries), set(found.users)
    for each in steps:
        if each.action is CREATE:
            entries |= {each.entry} if each.entry else set()
            users |= set() if each.entry else {each.user}
        elif each.action is REMOVE:
            entries -= {each.entry} if each.entry else set()
            users -= set() if each.entry else {each.user}
    return FoundAccess(frozenset(entries), frozenset(users), other_users=found.other_users)


@given(
    entries=st.frozensets(ENTRIES, max_size=20),
    users=st.frozensets(st.sampled_from(["admin", "ombudsman.auditor", "x"])),
    other_users=st.frozensets(st.sampled_from(["monitoring", "bnnk-banyuwangi.consumer"])),
    at=st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_a_plan_gives_exactly_the_agreed_rights_and_changes_nothing_foreign(
    entries: frozenset[AclEntry], users: frozenset[str], other_users: frozenset[str], at: datetime
) -> None:
    known, at = agreements(raw()), at.replace(tzinfo=UTC)
    ours, given = set(given_rights(known)), set(given_rights(known, at))
    found = FoundAccess(entries, users, other_users=other_users)
    steps = access_steps(known, at, found)
    after = done(found, steps)
    refused = {each.principal for each in steps if each.action is REFUSED}
    assert {each.removeprefix("User:") for each in refused} <= other_users | {
        each.principal.removeprefix("User:") for each in entries - ours
    }
    kept = {each for each in entries if each.principal.removeprefix("User:") in other_users}
    wanted = {each for each in given if each.principal not in refused}
    assert after.entries == (entries - ours) | kept | (entries & given) | wanted
    assert after.users >= users - {"ombudsman.auditor"}
    again = access_steps(known, at, after)
    assert {each.action for each in again} <= {OK, LEFT, REFUSED}


def of_bnnk(found: FoundAccess, at: datetime = NOW) -> list[AccessStep]:
    """The steps about the consumer of an agency."""
    steps = access_steps(agreements(raw(in_force=ENDING)), at, found)
    return sorted(
        (each for each in steps if each.user == "bnnk-banyuwangi.consumer"),
        key=lambda each: each.entry is not None,
    )


ENDING = {"from": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2030, 1, 1, tzinfo=UTC)}


def test_a_user_that_somebody_else_made_is_refused_and_keeps_its_password_and_rights() -> None:
    """Whoever writes its name into an agreement would get its password by `rotate`."""
    name = "bnnk-banyuwangi.consumer"
    given = [each for each in given_rights(agreements(raw()), NOW) if name in each.principal]
    found = FoundAccess(frozenset(given[:1]), frozenset(), other_users=frozenset({name}))
    user, *rights = of_bnnk(found)
    assert (user.action, user.entry) == (REFUSED, None)
    assert "Sinergi did not make this user" in user.why
    assert {each.action for each in rights} == {OK, REFUSED}
    ended = of_bnnk(found, datetime(2040, 1, 1, tzinfo=UTC))
    assert [each.action for each in ended] == [LEFT, LEFT]
    with pytest.raises(errors.RotationRefused, match="Sinergi did not make this user"):
        users_of(agreements(raw()), "bnnk-banyuwangi", found)


@pytest.mark.parametrize(("permission", "is_refused"), [("ALLOW", True), ("DENY", False)])
def test_a_principal_with_foreign_rights_gets_no_password(
    permission: str, *, is_refused: bool
) -> None:
    principal = "User:bnnk-banyuwangi.consumer"
    foreign = AclEntry(principal, "TOPIC", "*", "LITERAL", "READ", permission)
    user, *rights = of_bnnk(FoundAccess(frozenset({foreign}), frozenset()))
    action = REFUSED if is_refused else CREATE
    assert (user.action, {each.action for each in rights}) == (action, {action, LEFT})
    assert ("rights that no agreement gives" in user.why) == is_refused
    name = frozenset({"bnnk-banyuwangi.consumer"})
    known = of_bnnk(FoundAccess(frozenset({foreign}), name))
    assert {each.action for each in known} == {OK, CREATE, LEFT}, "Sinergi made this user before"


@pytest.mark.parametrize(
    ("latest", "action"),
    [
        (None, LEFT),
        (datetime(2029, 12, 31, 23, 59, tzinfo=UTC), LEFT),
        (datetime(2030, 1, 1, tzinfo=UTC), REMOVE),
    ],
)
def test_a_user_goes_only_when_a_message_is_as_late_as_its_end(
    latest: datetime | None, action: AccessAction
) -> None:
    known = agreements(raw(in_force=ENDING))
    users = {each.user for each in access_steps(known, NOW, NOTHING) if not each.entry}
    found = FoundAccess(frozenset(given_rights(known, NOW)), frozenset(users))
    steps = access_steps(known, datetime(2031, 1, 1, tzinfo=UTC), found)
    kept = with_kept_users(steps, known, latest)
    assert {each.action for each in kept if each.entry is None} == {action}
    assert {each.action for each in kept if each.entry} == {REMOVE}
