"""What a reconciliation compares with the topics: the databases read here, and signed counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.reconciling import database_side, outbox_side
from sinergi_consumers.audit.reconciliation import signed_counts
from sinergi_consumers.audit.reconciliation.stated_counts import StatedSide
from sinergi_schemas import errors
from sinergi_schemas.files import input_file
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.postgresql.address import DatabaseAddress, conninfo
from sinergi_schemas.seal.note import MOST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.reconciliation.stored_events import Side
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.topics import Topic


def read_here(
    settings: Settings, agreements: Agreements, catalog: Catalog, others: Sequence[str]
) -> Iterator[Side]:
    """The outbox and the database of this agency, as far as they are set, and those named."""
    values = settings.values
    if values.producer.database:
        yield outbox_side.OutboxSide(settings.agency, settings.producer_database)
    named: dict[str, tuple[str, str]] = {}
    if values.consumer.database:
        own = f"{settings.agency}/{settings.consumer_name}"
        named[own] = (settings.agency, settings.consumer_database)
    for text in others:
        name, agency, url = _named(text)
        if name in named:
            raise errors.ReconciliationRefused(f"the database {name} is named twice")
        named[name] = (agency, url)
    for name, (agency, url) in named.items():
        readable: Sequence[Topic] = [*agreements.read_by(agency)]
        if not readable:
            raise errors.ReconciliationRefused(f"no agreement lets {agency} read a topic")
        yield database_side.DatabaseSide(name, url, frozenset(readable), catalog)


def stated(files: Sequence[Path], agreements: Agreements, zone: str) -> Iterator[StatedSide]:
    """The sides of which other agencies have signed counts.

    Raises:
        ReconciliationRefused: a file cannot be read, is not signed, or has days of another zone.
    """
    keys = {each: agreements.keys(each) for each in agreements.agencies}
    seen: set[str] = set()
    for file in files:
        try:
            _, content = input_file.read(file, MOST_CHARACTERS)
            found = signed_counts.verify(content.decode(), agreements.bus, keys)
        except OSError as why:
            raise errors.ReconciliationRefused(f"--counts {file} {unread(why)}") from None
        except UnicodeDecodeError:
            raise _no_counts(file, "holds no signed counts (it is no text)") from None
        except errors.NoteMalformed as why:
            raise _no_counts(file, f"holds no signed counts ({why.what})") from None
        except errors.SealBroken as why:
            raise errors.ReconciliationRefused(f"{file}: {why}") from None
        if found.zone != zone:
            what = f"{file} has days of the zone {found.zone}; say --zone {found.zone}"
            raise errors.ReconciliationRefused(what)
        for side in found.sides:
            one = StatedSide(found, side)
            if one.name in seen:
                raise errors.ReconciliationRefused(f"{one.name} is counted in two files")
            seen.add(one.name)
            yield one


def distinguished(
    stated: Iterable[StatedSide], sides: Iterable[Side], agency: str | None
) -> list[StatedSide]:
    """Signed counts, under another name where the side that they are of is read itself.

    Args:
        agency: whose outbox is read.
    """
    outbox = outbox_side.OutboxSide.name
    read = {f"{agency}/{outbox}" if each.name == outbox else each.name for each in sides}
    return [each._replace(is_also_read=each.name in read) for each in stated]


def _named(text: str) -> tuple[str, str, str]:
    """The name, agency and address of a database that is named by --database."""
    name, mark, url = text.partition("=")
    agency, slash, database = name.partition("/")
    if not (mark and slash and agency and database and url):
        # The text may hold a password.
        what = (
            "--database is not AGENCY/NAME=URL, as bnnk-banyuwangi/main=postgresql://db.bnnk/bnnk"
        )
        raise errors.ReconciliationRefused(what)
    option = f"--database {name}"
    try:
        conninfo(url)
    except ValueError as why:
        raise errors.ReconciliationRefused(f"{option}: the address {why}") from None
    return name, agency, DatabaseAddress(url, option)


def _no_counts(file: Path, what: str) -> errors.ReconciliationRefused:
    hint = "name a file that another agency has made with `sinergi reconcile --write-counts`"
    return errors.ReconciliationRefused(f"--counts {file} {what}; {hint}")
