"""The five stories of the demo: what the agencies do, and what the others see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.demo import fiction, knowledge
from sinergi.demo.errors import DemoFailed
from sinergi.demo.fiction import (
    at,
    changed,
    convict,
    exhibit,
    handed_over,
    holder,
    packets,
    seizure,
    transfer,
    visit,
)
from sinergi.demo.registers import entry_of
from sinergi.demo.workers import WorkerCommand
from sinergi_schemas import errors, events
from sinergi_schemas.codes import (
    Action,
    Channel,
    Concealment,
    Indicator,
    Outcome,
    PersonRole,
    Precision,
    RecordRelation,
    Relation,
    SearchMethod,
    SearchResult,
)
from sinergi_schemas.events import Escort, Letter, Person, Place, RelatedRecord, Search
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from sinergi.demo.teller import Storyline

_ESCORTED = 34
_SALT = "LKN/0012-NAR/III/2026/BNNK"
_WRONG_MAN = "KJG/2026/03/058"
_DRONE = "LP/A/23/III/2026"

_WHOLE_STORY = """
    SELECT v.record_id, v.visitor_name, s.record_id, e.label, e.lab_result,
        coalesce(e.net_weight_g, e.gross_weight_g)
    FROM sinergi.suspicious_visit AS v
    LEFT JOIN sinergi.seizure_related AS r
        ON (r.other_agency, r.other_record_id) = (v.agency, v.record_id)
    LEFT JOIN sinergi.seizure AS s ON (s.agency, s.record_id) = (r.agency, r.record_id)
    LEFT JOIN sinergi.seizure_exhibits AS e ON (e.agency, e.record_id) = (s.agency, s.record_id)
    WHERE v.record_id = :visit ORDER BY e.label
"""
_CITED = """
    SELECT s.record_id, r.other_record_id, v.channel, v.zone
    FROM sinergi.seizure AS s
    JOIN sinergi.seizure_related AS r ON (r.agency, r.record_id) = (s.agency, s.record_id)
    LEFT JOIN sinergi.suspicious_visit AS v
        ON (v.agency, v.record_id) = (r.other_agency, r.other_record_id)
    WHERE s.record_id = :seizure
"""
_ONE_LETTER = """
    SELECT record_id, revision, action, to_char(recorded_at AT TIME ZONE :zone, 'DD Mon HH24.MI')
    FROM sinergi.transfer_history WHERE approval_number = :letter ORDER BY recorded_at
"""
_NAMED = """
    SELECT 'suspicious_visit', revision, inmate_name
    FROM sinergi.suspicious_visit WHERE record_id = :visit
    UNION ALL SELECT 'suspicious_visit_history', revision, inmate_name
    FROM sinergi.suspicious_visit_history WHERE record_id = :visit ORDER BY 1, 2
"""


def parcel(teller: Storyline) -> None:
    """A parcel with rice cakes: seen at the gate, seized, tested; its receiver is moved."""
    screen = teller.screen
    screen.chapter(
        "1 · The parcel",
        "A row of the agency's own and its event are one transaction: both exist, or neither does.",
    )
    seen = visit(
        "KJG/2026/03/017",
        at(3, 9, 50),
        visitor=Person(role=PersonRole.VISITOR, name="Contoh Satu", nik="9999990101900001"),
        inmate=convict("Contoh Dua"),
        declared_relation=Relation.FRIEND,
        indicators=(Indicator.NEAR_CLOSING, Indicator.HURRIED),
        searches=(Search(method=SearchMethod.GOODS_SEARCH, result=SearchResult.FOUND),),
        finds=(packets("12 packets of crystals in rice cakes", 12),),
        outcomes=(Outcome.ITEMS_SECURED, Outcome.HANDED_TO_POLICE),
    )
    teller.commit(teller.lapas, seen, at(3, 10, 45))
    screen.say(
        "3 March, 09.50 WIB: Contoh Satu leaves rice cakes for Contoh Dua, with 12 packets inside."
        " The prison writes its visit book and publishes revision 1 in one commit."
    )
    seized = seizure(
        "LP/A/17/III/2026",
        at(3, 10, 40),
        holders=(holder("Contoh Satu"),),
        exhibits=(exhibit("A", "4.8200", 12),),
        related=(handed_over(seen.record_id),),
    )
    teller.commit(teller.polresta, seized, at(3, 11, 30))
    corrected = changed(seized, exhibits=fiction.tested(day=5))
    last = teller.commit(teller.polresta, corrected, at(5, 14))
    screen.say(
        "10.40: handed over; the police seize 4.8200 g, suspected. 5 March, the laboratory: eleven"
        " packets hold it, one does not. The police correct their record: revision 2."
    )
    seconds = teller.arrives(last, teller.bnnk)
    screen.say(f"After {seconds:.2f} s BNNK joins in its own PostgreSQL what two others told:")
    columns = ("visit", "visitor", "seizure", "exhibit", "laboratory", "grams")
    screen.table(columns, teller.bnnk.ask(_WHOLE_STORY, visit=seen.record_id))
    left = transfer(
        "MUT/2026/0088",
        at(9, 8),
        convict("Contoh Dua"),
        "PAS-PK.01.05.08-1516",
        register_number="B.I 12/2025",
    )
    teller.commit(teller.lapas, left, at(9, 8, 10))
    teller.commit(teller.lapas, changed(left, arrived_at=at(9, 15, 20)), at(9, 15, 30))
    screen.say("9 March: Contoh Dua is moved to Lapas Khusus Rekaan; revision 2 on arrival.")


def salt(teller: Storyline) -> None:
    """Crystals that turn out to be salt; and who knew what on the first day."""
    screen = teller.screen
    screen.chapter(
        "2 · Salt",
        "Nothing is overwritten: what was known on a day can be asked later, and proved.",
    )
    seen = visit(
        "KJG/2026/03/041",
        at(10, 9, 15),
        visitor=Person(role=PersonRole.VISITOR, name="Contoh Tiga"),
        inmate=convict("Contoh Empat"),
        indicators=(Indicator.ODD_PACKAGING,),
        finds=(packets("one packet of crystals", 1),),
        outcomes=(Outcome.ITEMS_SECURED, Outcome.HANDED_TO_BNN),
    )
    teller.commit(teller.lapas, seen, at(10, 9, 40))
    _refused(teller, seen.record_id)
    seized = seizure(
        _SALT,
        at(10, 11),
        holders=(holder("Contoh Tiga"),),
        exhibits=(exhibit("1", "0.8100", 1),),
        related=(handed_over(seen.record_id),),
    )
    teller.commit(teller.bnnk, seized, at(10, 11, 45))
    letter = Letter(number="1702/NNF/2026", issuer="Labfor Rekaan", date=at(12, 0).date())
    refuted = changed(
        seized,
        holders=(holder("Contoh Tiga", PersonRole.CLEARED),),
        exhibits=(fiction.salt("1", "0.8100", letter),),
    )
    last = teller.commit(teller.bnnk, refuted, at(12, 10))
    cleared = changed(seen, outcomes=(*seen.outcomes, Outcome.CLEARED_BY_LAB))
    teller.commit(teller.lapas, cleared, at(12, 13))
    screen.say(
        "Complete now: 0.8100 g. The laboratory telephones: negative; its letter comes two days"
        " later. BNNK refutes and clears the holder; the prison corrects its visit."
    )
    teller.arrives(last, teller.lapas)
    _who_knew(teller)


def _refused(teller: Storyline, visit_number: str) -> None:
    """A record that lacks what the law lists never reaches the outbox."""
    hasty = {**dict(exhibit("1", "0.8100", 1)), "colour": ""}
    document = fiction.seizure_document(
        _SALT, at(10, 11), witnesses=(), exhibits=(hasty,), related=(handed_over(visit_number),)
    )
    try:
        events.parse("seizure", document)
    except errors.EventRefused as why:
        teller.screen.say("BNNK enters its seizure in a hurry; all that is missing is named:")
        teller.screen.quote(str(why))
        return
    raise DemoFailed("an incomplete seizure was taken", _SALT)


def _who_knew(teller: Storyline) -> None:
    """Compare the sealed topic up to each day with the prison's own table of that time."""
    teller.screen.say(
        "[bold]Who knew what on day 1?[/] The sealed topic, read again up to each evening, and the"
        " prison's own table:"
    )
    rows = []
    for day in (10, 12):
        until = at(day + 1, 0)
        topic = Topic(teller.bnnk.slug, "seizure")
        proof = knowledge.proved(teller.bench, topic, _SALT, until)
        held = knowledge.held(teller.lapas, teller.bnnk, _SALT, until)
        if held != proof.known:
            raise DemoFailed(f"the topic tells {proof.known}", f"the table holds {held}")
        leaf = f"leaf {proof.leaf} of partition {proof.partition}"
        rows.append((f"{day} March", *proof.known, leaf, held.laboratory))
    columns = ("evening of", "revision", "BNNK had told", "proved by", "the prison knew")
    teller.screen.table(columns, rows)


def wrong_man(teller: Storyline) -> None:
    """The named recipient did not order the parcel; a materialiser dies meanwhile."""
    screen = teller.screen
    screen.chapter(
        "3 · The wrong man",
        "Each event tells its record's whole state: the newest revision stands, whenever it comes.",
    )
    named = visit(
        _WRONG_MAN,
        at(14, 8, 50),
        visitor=Person(role=PersonRole.COURIER, name="Contoh Lima"),
        inmate=convict("Contoh Enam"),
        channel=Channel.COURIER,
        indicators=(Indicator.PAID_COURIER, Indicator.INMATE_DOES_NOT_KNOW),
        finds=(packets("3 packets in a sandal's sole", 3, Concealment.FOOTWEAR),),
        outcomes=(Outcome.ITEMS_SECURED, Outcome.INMATE_ISOLATED),
    )
    pid = teller.workers.kill(teller.bnnk, WorkerCommand.MATERIALISE)
    screen.say(f"[bold red]kill -9 {pid}[/]: BNNK's materialiser is gone.")
    teller.commit(teller.lapas, named, at(14, 9, 10))
    indicators = (*named.indicators, Indicator.ORDERED_BY_OTHER)
    orderer = changed(named, inmate=convict("Contoh Tujuh"), indicators=indicators)
    teller.commit(teller.lapas, orderer, at(15, 10))
    screen.say("The prison names Contoh Enam; a day later it learns that Contoh Tujuh had ordered.")
    ghost = visit(
        "KJG/2026/03/059",
        at(15, 10, 5),
        indicators=(Indicator.NERVOUS,),
        outcomes=(Outcome.NOTHING_FOUND,),
    )
    teller.roll_back(teller.lapas, ghost, entry_of(named), at(15, 10, 10))
    screen.say(
        "A clerk's transaction publishes a visit, then gives out a number twice. PostgreSQL rolls"
        " back row and event together: nobody must ever see it, and the end will tell."
    )
    pid = teller.workers.start(teller.bnnk, WorkerCommand.MATERIALISE)
    screen.say(f"BNNK's materialiser starts again as {pid}, from the tree in its database.")


def retraction(teller: Storyline) -> None:
    """A transfer that did not happen is taken back, not deleted."""
    screen = teller.screen
    screen.chapter(
        "4 · The retraction", "What was told cannot be untold; it is taken back in the open."
    )
    letter = "WP.15.PAS.15-PK.06.04-0231"
    planned = transfer("MUT/2026/0093", at(17, 6), convict("Contoh Delapan"), letter)
    teller.commit(teller.lapas, planned, at(17, 6, 5))
    teller.commit(teller.lapas, changed(planned, Action.RETRACTED), at(17, 9))
    replaces = RelatedRecord(
        other_agency=teller.lapas.slug,
        other_event_type=planned.event_type,
        other_record_id=planned.record_id,
        relation=RecordRelation.REPLACES,
    )
    later = transfer(
        "MUT/2026/0101", at(20, 6), convict("Contoh Delapan"), letter, related=(replaces,)
    )
    last = teller.commit(teller.lapas, later, at(20, 6, 15))
    screen.say(
        "The van never left, and the transfer is retracted. Three days later the same letter moves"
        " the same man, under a new number. The police see all of it:"
    )
    teller.arrives(last, teller.polresta)
    columns = ("transfer", "revision", "action", "told (WIB)")
    screen.table(columns, teller.polresta.ask(_ONE_LETTER, letter=letter, zone=fiction.WIB))


def drone(teller: Storyline) -> None:
    """A drone at night; the prison is cut off while the police already cite its record."""
    screen = teller.screen
    screen.chapter(
        "5 · The drone, offline",
        "Who is cut off goes on working: the outbox keeps what the bus cannot take.",
    )
    pid = teller.workers.kill(teller.lapas, WorkerCommand.RELAY)
    screen.say(f"[bold red]kill -9 {pid}[/]: the prison's relay is gone, and its line is dead.")
    seen = visit(
        "KJG/2026/03/077",
        at(21, 20, 20, fiction.WITA),
        unit=fiction.REMAND_CENTRE,
        zone=fiction.WITA,
        occurred_precision=Precision.ABOUT,
        channel=Channel.NO_VISITOR,
        finds=(packets("one parcel under a drone, 30 g", 1, Concealment.DRONE),),
        outcomes=(Outcome.ITEMS_SECURED, Outcome.HANDED_TO_POLICE),
    )
    teller.commit(teller.lapas, seen, at(21, 21, 0, fiction.WITA))
    seized = seizure(
        _DRONE,
        at(21, 22),
        place=Place(name=fiction.REMAND_CENTRE.name),
        holder_unknown=True,
        exhibits=(exhibit("D", "30.0000", 1),),
        related=(handed_over(seen.record_id),),
    )
    first = teller.commit(teller.polresta, seized, at(21, 23))
    screen.say(
        "About 20.20 WITA, no visitor, 30 g, the owner stated as unknown. The police publish their"
        " seizure; the visit that it cites waits in the prison's outbox."
    )
    teller.arrives(first, teller.lapas)
    _move_many(teller)
    pid = teller.workers.start(teller.lapas, WorkerCommand.RELAY)
    screen.say(
        f"Two days later the line is back: relay {pid} waits for its predecessor's lease to end."
    )
    owner = (holder("Contoh Sembilan", PersonRole.OWNER),)
    named = changed(seized, holder_unknown=False, holders=owner)
    teller.commit(teller.polresta, named, at(27, 9))
    screen.say("The police learn the owner's name: revision 2.")


def _move_many(teller: Storyline) -> None:
    """Many inmates on one letter, in one transaction, while nobody relays."""
    moves: list[events.Event] = [
        transfer(
            f"MUT/2026/{200 + number:04}",
            at(22, 5),
            convict(f"Contoh Rombongan {number}"),
            "PAS-PK.01.05.08-1601",
            movement_id="PINDAH/2026/07",
            escort=(Escort(escort_agency="Brimob Rekaan", count=30),),
        )
        for number in range(_ESCORTED)
    ]
    teller.commit_many(teller.lapas, moves, at(22, 5, 30))
    teller.screen.say(f"{_ESCORTED} inmates leave on one letter: {_ESCORTED} events in one commit.")


def reunion(teller: Storyline) -> None:
    """What BNNK sees once everybody is back."""
    screen = teller.screen
    screen.say("After two kills BNNK has the drone's seizure and the visit that it cites together:")
    rows = teller.bnnk.ask(_CITED, seizure=_DRONE)
    screen.table(("seizure", "cites the visit", "channel", "zone"), rows)
    screen.say("And of the wrong man the newest revision stands, while history keeps both:")
    rows = teller.bnnk.ask(_NAMED, visit=_WRONG_MAN)
    screen.table(("table", "revision", "inmate"), rows)
