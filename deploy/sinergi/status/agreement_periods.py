"""Which agreements of an agency have ended, begin later or end soon.

An agreement is left out if others cover all its topics of this agency instead.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sinergi_schemas.plain_text import counted
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreement, Agreements
    from sinergi_schemas.topics import Topic

_NOTICE = timedelta(days=30)


def periods(agreements: Agreements, agency: str, now: datetime) -> tuple[str, ...]:
    """A line for each agreement of an agency that has ended, begins later or ends within 30 days.

    Args:
        agency: it publishes or reads the topics; agreements of others are left out.
    """
    return tuple(_periods(agreements, agency, now))


def _periods(agreements: Agreements, agency: str, now: datetime) -> Iterator[str]:
    in_force = set(agreements.topics(now))
    for each in sorted(agreements, key=lambda each: str(each.path)):
        topics = {
            topic
            for topic in each.topics()
            if topic.agency == agency or agency in each.readers(topic)
        }
        if not topics:
            continue
        until = each.in_force_until
        if now < each.starts:
            starts = local_text(each.starts)
            made = "; its topics are made then" if topics - in_force else ""
            yield f"{each.path} is in force from {starts}{made}"
        elif until is not None and until <= now:
            left = topics - in_force
            if left:
                hint = "events are published again once another agreement covers"
                how = "was replaced after" if until == each.replaced_at else "ended on"
                yield f"{each.path} {how} {_last_day(each)}: {hint} {_names(left)}"
        elif until is not None and until - now <= _NOTICE:
            left = topics - set(agreements.topics(until))
            if left:
                days = counted((until - now).days, "day")
                yield (
                    f"{each.path} ends on {_last_day(each)}, in {days}, and no later agreement"
                    f" covers {_names(left)}"
                )


def _last_day(agreement: Agreement) -> str:
    """The last day on which an agreement is in force, in this machine's zone."""
    ends = agreement.in_force_until
    return "" if ends is None else str((ends - timedelta(microseconds=1)).astimezone().date())


def _names(topics: Collection[Topic]) -> str:
    names = sorted(each.name for each in topics)
    return names[0] if len(names) == 1 else f"its {len(names)} topics"
