"""The five stories of the demo: what the agencies publish, and what the readers get."""

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
    from sinergi.demo.scenario import Scenario

_ESCORTED = 34
_REFUTED = "LKN/0012-NAR/III/2026/BNNK"
_CORRECTED = "KJG/2026/03/058"
_CITING = "LP/A/23/III/2026"

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


def seizure_after_visit(scenario: Scenario) -> None:
    """Goods are found at the gate, seized and tested; the receiver is transferred."""
    screen = scenario.screen
    screen.chapter(
        "1 · A seizure after a visit",
        "The agency's own row and the event are one transaction: both exist, or neither does.",
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
    scenario.commit(scenario.lapas, seen, at(3, 10, 45))
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
    scenario.commit(scenario.polresta, seized, at(3, 11, 30))
    corrected = changed(seized, exhibits=fiction.tested_exhibits(day=5))
    last = scenario.commit(scenario.polresta, corrected, at(5, 14))
    screen.say(
        "10.40: the prison hands them over; the police seize 4.8200 g, suspected. 5 March: the"
        " laboratory confirms eleven packets and refutes one. The police publish revision 2."
    )
    seconds = scenario.wait_for(last, scenario.bnnk)
    screen.say(
        f"After {seconds:.2f} s BNNK joins the events of both agencies in its own PostgreSQL:"
    )
    columns = ("visit", "visitor", "seizure", "exhibit", "laboratory", "grams")
    screen.table(columns, scenario.bnnk.query(_WHOLE_STORY, visit=seen.record_id))
    left = transfer(
        "MUT/2026/0088",
        at(9, 8),
        convict("Contoh Dua"),
        "PAS-PK.01.05.08-1516",
        register_number="B.I 12/2025",
    )
    scenario.commit(scenario.lapas, left, at(9, 8, 10))
    scenario.commit(scenario.lapas, changed(left, arrived_at=at(9, 15, 20)), at(9, 15, 30))
    screen.say("9 March: Contoh Dua is transferred to Lapas Khusus Rekaan; revision 2 on arrival.")


def refuted_exhibit(scenario: Scenario) -> None:
    """The laboratory refutes an exhibit; what was known on each day can be proved."""
    screen = scenario.screen
    screen.chapter(
        "2 · A refuted exhibit",
        "Nothing is overwritten: what was known on a given day can be queried and proved later.",
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
    scenario.commit(scenario.lapas, seen, at(10, 9, 40))
    _incomplete_is_refused(scenario, seen.record_id)
    seized = seizure(
        _REFUTED,
        at(10, 11),
        holders=(holder("Contoh Tiga"),),
        exhibits=(exhibit("1", "0.8100", 1),),
        related=(handed_over(seen.record_id),),
    )
    scenario.commit(scenario.bnnk, seized, at(10, 11, 45))
    letter = Letter(number="1702/NNF/2026", issuer="Labfor Rekaan", date=at(12, 0).date())
    refuted = changed(
        seized,
        holders=(holder("Contoh Tiga", PersonRole.CLEARED),),
        exhibits=(fiction.refuted_exhibit("1", "0.8100", letter),),
    )
    last = scenario.commit(scenario.bnnk, refuted, at(12, 10))
    cleared = changed(seen, outcomes=(*seen.outcomes, Outcome.CLEARED_BY_LAB))
    scenario.commit(scenario.lapas, cleared, at(12, 13))
    screen.say(
        "Now it is complete: 0.8100 g. The laboratory reports by telephone that it is negative; its"
        " letter comes two days later. BNNK refutes the exhibit and clears the holder; the prison"
        " corrects its visit."
    )
    scenario.wait_for(last, scenario.lapas)
    _compare_knowledge(scenario)


def _incomplete_is_refused(scenario: Scenario, visit_number: str) -> None:
    """A record that lacks what the law requires never reaches the outbox."""
    hasty = {**dict(exhibit("1", "0.8100", 1)), "colour": ""}
    document = fiction.seizure_document(
        _REFUTED, at(10, 11), witnesses=(), exhibits=(hasty,), related=(handed_over(visit_number),)
    )
    try:
        events.parse("seizure", document)
    except errors.EventRefused as why:
        scenario.screen.say(
            "BNNK enters an incomplete seizure. The refusal names all that is missing:"
        )
        scenario.screen.quote(str(why))
        return
    raise DemoFailed("an incomplete seizure was accepted", _REFUTED)


def _compare_knowledge(scenario: Scenario) -> None:
    """Compare the sealed topic up to each day with the prison's own table at that time."""
    scenario.screen.say(
        "[bold]What was known on each day?[/] The sealed topic, replayed up to each evening, and"
        " the prison's own table:"
    )
    rows = []
    for day in (10, 12):
        until = at(day + 1, 0)
        topic = Topic(scenario.bnnk.slug, "seizure")
        proof = knowledge.proved(scenario.demo, topic, _REFUTED, until)
        held = knowledge.held(scenario.lapas, scenario.bnnk, _REFUTED, until)
        if held != proof.known:
            raise DemoFailed(f"the topic has {proof.known}", f"the table has {held}")
        leaf = f"leaf {proof.leaf} of partition {proof.partition}"
        rows.append((f"{day} March", *proof.known, leaf, held.laboratory))
    columns = ("evening of", "revision", "BNNK had published", "proved by", "the prison knew")
    scenario.screen.table(columns, rows)


def corrected_inmate(scenario: Scenario) -> None:
    """A visit named the wrong inmate and is corrected; a materialiser is killed meanwhile."""
    screen = scenario.screen
    screen.chapter(
        "3 · A corrected inmate",
        "Each event has its record's whole state: the highest revision counts, in any order.",
    )
    named = visit(
        _CORRECTED,
        at(14, 8, 50),
        visitor=Person(role=PersonRole.COURIER, name="Contoh Lima"),
        inmate=convict("Contoh Enam"),
        channel=Channel.COURIER,
        indicators=(Indicator.PAID_COURIER, Indicator.INMATE_DOES_NOT_KNOW),
        finds=(packets("3 packets in a sandal's sole", 3, Concealment.FOOTWEAR),),
        outcomes=(Outcome.ITEMS_SECURED, Outcome.INMATE_ISOLATED),
    )
    pid = scenario.workers.kill(scenario.bnnk, WorkerCommand.MATERIALISE)
    screen.say(f"[bold red]kill -9 {pid}[/]: BNNK's materialiser is killed.")
    scenario.commit(scenario.lapas, named, at(14, 9, 10))
    indicators = (*named.indicators, Indicator.ORDERED_BY_OTHER)
    orderer = changed(named, inmate=convict("Contoh Tujuh"), indicators=indicators)
    scenario.commit(scenario.lapas, orderer, at(15, 10))
    screen.say("The prison names Contoh Enam; a day later it learns that Contoh Tujuh had ordered.")
    ghost = visit(
        "KJG/2026/03/059",
        at(15, 10, 5),
        indicators=(Indicator.NERVOUS,),
        outcomes=(Outcome.NOTHING_FOUND,),
    )
    scenario.roll_back(scenario.lapas, ghost, entry_of(named), at(15, 10, 10))
    screen.say(
        "A transaction publishes a visit and then inserts a number twice. PostgreSQL rolls back row"
        " and event together: no reader may ever get it, which the final count checks."
    )
    pid = scenario.workers.start(scenario.bnnk, WorkerCommand.MATERIALISE)
    screen.say(f"BNNK's materialiser starts again as {pid}, from the position in its database.")


def retracted_transfer(scenario: Scenario) -> None:
    """A transfer that did not happen is retracted, not deleted."""
    screen = scenario.screen
    screen.chapter(
        "4 · A retracted transfer", "An event cannot be deleted; a later event retracts the record."
    )
    letter = "WP.15.PAS.15-PK.06.04-0231"
    planned = transfer("MUT/2026/0093", at(17, 6), convict("Contoh Delapan"), letter)
    scenario.commit(scenario.lapas, planned, at(17, 6, 5))
    scenario.commit(scenario.lapas, changed(planned, Action.RETRACTED), at(17, 9))
    replaces = RelatedRecord(
        other_agency=scenario.lapas.slug,
        other_event_type=planned.event_type,
        other_record_id=planned.record_id,
        relation=RecordRelation.REPLACES,
    )
    later = transfer(
        "MUT/2026/0101", at(20, 6), convict("Contoh Delapan"), letter, related=(replaces,)
    )
    last = scenario.commit(scenario.lapas, later, at(20, 6, 15))
    screen.say(
        "The transfer did not take place and is retracted. Three days later the same inmate is"
        " transferred on the same letter, under a new number. The police have all of it:"
    )
    scenario.wait_for(last, scenario.polresta)
    columns = ("transfer", "revision", "action", "published (WIB)")
    screen.table(columns, scenario.polresta.query(_ONE_LETTER, letter=letter, zone=fiction.WIB))


def relay_offline(scenario: Scenario) -> None:
    """The prison is offline while the police already cite its record."""
    screen = scenario.screen
    screen.chapter(
        "5 · A prison offline",
        "An agency that is offline goes on working: its outbox keeps the events.",
    )
    pid = scenario.workers.kill(scenario.lapas, WorkerCommand.RELAY)
    screen.say(f"[bold red]kill -9 {pid}[/]: the prison's relay is killed; the prison is offline.")
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
    scenario.commit(scenario.lapas, seen, at(21, 21, 0, fiction.WITA))
    seized = seizure(
        _CITING,
        at(21, 22),
        place=Place(name=fiction.REMAND_CENTRE.name),
        holder_unknown=True,
        exhibits=(exhibit("D", "30.0000", 1),),
        related=(handed_over(seen.record_id),),
    )
    first = scenario.commit(scenario.polresta, seized, at(21, 23))
    screen.say(
        "About 20.20 WITA a drone brings 30 g; the owner is unknown. The police publish their"
        " seizure; the visit that it cites waits in the prison's outbox."
    )
    scenario.wait_for(first, scenario.lapas)
    _publish_many_transfers(scenario)
    pid = scenario.workers.start(scenario.lapas, WorkerCommand.RELAY)
    screen.say(f"Two days later it is online again: relay {pid} waits until the old lease ends.")
    owner = (holder("Contoh Sembilan", PersonRole.OWNER),)
    named = changed(seized, holder_unknown=False, holders=owner)
    scenario.commit(scenario.polresta, named, at(27, 9))
    screen.say("The police learn the owner's name: revision 2.")


def _publish_many_transfers(scenario: Scenario) -> None:
    """Publish many transfers on one letter in one transaction, while no relay runs."""
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
    scenario.commit_many(scenario.lapas, moves, at(22, 5, 30))
    scenario.screen.say(
        f"{_ESCORTED} inmates are transferred on one letter: {_ESCORTED} events in one commit."
    )


def final_queries(scenario: Scenario) -> None:
    """What BNNK has when all processes run again."""
    screen = scenario.screen
    screen.say("After two kills BNNK has the last seizure and the visit that it cites:")
    rows = scenario.bnnk.query(_CITED, seizure=_CITING)
    screen.table(("seizure", "cites the visit", "channel", "zone"), rows)
    screen.say(
        "Of the corrected visit the table has the newest revision, and the history has both:"
    )
    rows = scenario.bnnk.query(_NAMED, visit=_CORRECTED)
    screen.table(("table", "revision", "inmate"), rows)
