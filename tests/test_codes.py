"""The code lists."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from sinergi_schemas import codes
from sinergi_schemas.codes import Code, Schedule, SourceGrade, Substance

LISTS = [
    each
    for _, each in inspect.getmembers(codes, inspect.isclass)
    if issubclass(each, Code) and each is not Code
]
# The symbols of the trade, list by list, as the domain's notes give them.
DOMAIN = {
    "Schedule": "NARCOTIC_I NARCOTIC_II NARCOTIC_III PSYCHOTROPIC_I PSYCHOTROPIC_II"
    " PSYCHOTROPIC_III PSYCHOTROPIC_IV PRECURSOR_1 PRECURSOR_2 MEDICINE NONE",
    "RegisterClass": "A_I A_II A_III A_IV A_V B_I B_IIA B_IIB B_III C",
    "TransferReason": "COACHING SECURITY JUDICIAL HEALTH OVERCROWDING OWN_REQUEST"
    " HIGH_RISK_PLACEMENT STEP_DOWN AFTER_VERDICT EMERGENCY RETURN OTHER",
    "SecurityLevel": "SUPER_MAXIMUM MAXIMUM MEDIUM MINIMUM",
    "SearchMethod": "XRAY BODY_SCANNER BODY_SEARCH GOODS_SEARCH URINE_TEST K9 METAL_DETECTOR",
    "Concealment": "FOOD TOILETRIES FOOTWEAR BODY_CAVITY UNDERWEAR SANITARY_PAD THROWN DRONE BOOK"
    " CLOTHING ELECTRONICS STAFF MAIL",
    "Channel": "IN_PERSON GOODS_LEFT DRIVE_THRU COURIER NO_VISITOR",
    "Indicator": "NERVOUS HURRIED XRAY_ANOMALY ODD_PACKAGING PAID_COURIER ORDERED_BY_OTHER"
    " NEAR_CLOSING FALSE_IDENTITY INMATE_DOES_NOT_KNOW NARCOTICS_INMATE POSITIVE_URINE TIP_OFF"
    " RELATION_UNPROVEN MANY_INMATES EARLIER_BAN K9_ALERT",
    "Outcome": "ITEMS_SECURED HANDED_TO_POLICE INMATE_ISOLATED CELLS_SEARCHED INMATE_URINE_TEST"
    " VISITOR_BANNED REGISTER_F VISIT_REFUSED GOODS_REFUSED HANDED_TO_BNN NOTHING_FOUND"
    " CLEARED_BY_LAB",
    "Relation": "SPOUSE PARENT CHILD SIBLING UNCLE_AUNT DISTANT_FAMILY FRIEND PARTNER LAWYER CLERGY"
    " DOCTOR SOCIAL_BODY COURIER CONSULAR OFFICIAL",
    "Handling": "SR R T B",
    "LabResult": "SUSPECTED CONFIRMED REFUTED",
    "Action": "RECORDED CORRECTED RETRACTED",
    "Precision": "EXACT ABOUT DAY",
}
SCHEDULES = {
    Schedule.NARCOTIC_I: "METHAMPHETAMINE MDMA MDA AMPHETAMINE CANNABIS THC HEROIN COCA_LEAF"
    " COCAINE OPIUM LSD PSILOCYBIN DMT PCP CATHINONE MEPHEDRONE AB_CHMINACA MDMB_4EN_PINACA"
    " OTHER_SYNTHETIC_CANNABINOID CARISOPRODOL",
    Schedule.NARCOTIC_II: "MORPHINE FENTANYL METHADONE PETHIDINE OXYCODONE ETOMIDATE",
    Schedule.NARCOTIC_III: "CODEINE BUPRENORPHINE",
    Schedule.PSYCHOTROPIC_I: "CLONAZOLAM",
    Schedule.PSYCHOTROPIC_II: "",
    Schedule.PSYCHOTROPIC_III: "FLUNITRAZEPAM",
    Schedule.PSYCHOTROPIC_IV: "DIAZEPAM NITRAZEPAM ZOLPIDEM ALPRAZOLAM CLONAZEPAM NIMETAZEPAM",
    Schedule.PRECURSOR_1: "ACETIC_ANHYDRIDE N_ACETYLANTHRANILIC_ACID EPHEDRINE ERGOMETRINE"
    " ERGOTAMINE ISOSAFROLE LYSERGIC_ACID MDP_2_P NOREPHEDRINE P_2_P PIPERONAL"
    " POTASSIUM_PERMANGANATE PSEUDOEPHEDRINE SAFROLE",
    Schedule.PRECURSOR_2: "ACETONE ANTHRANILIC_ACID ETHYL_ETHER HYDROCHLORIC_ACID"
    " METHYL_ETHYL_KETONE PHENYLACETIC_ACID PIPERIDINE SULPHURIC_ACID TOLUENE",
    Schedule.MEDICINE: "TRIHEXYPHENIDYL TRAMADOL DEXTROMETHORPHAN KETAMINE",
    Schedule.NONE: "NOT_CONTROLLED",
    Schedule.UNKNOWN: "OTHER UNKNOWN",
}


@pytest.mark.parametrize("code", LISTS)
def test_a_members_value_is_its_name_and_an_avro_symbol(code: type[Code]) -> None:
    for member in code:
        assert member.value == member.name == str(member)
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", member.value)


@pytest.mark.parametrize("code", LISTS)
def test_every_list_ends_in_unknown_and_says_what_each_code_means(code: type[Code]) -> None:
    *known, last = code
    assert last.value == "UNKNOWN"
    assert all(member.meaning and member.indonesian for member in known)


@pytest.mark.parametrize("name", DOMAIN)
def test_a_list_holds_every_code_of_the_domain(name: str) -> None:
    found = {member.value for member in getattr(codes, name)}
    assert found - {"UNKNOWN", "OTHER", "NONE"} == set(DOMAIN[name].split()) - {"OTHER", "NONE"}


def test_every_substance_stands_in_the_schedule_of_todays_regulations() -> None:
    found: dict[Schedule, set[str]] = {schedule: set() for schedule in Schedule}
    for substance in Substance:
        found[substance.schedule].add(substance.value)
    assert found == {schedule: set(names.split()) for schedule, names in SCHEDULES.items()}


def test_street_names_lead_to_a_substance() -> None:
    named = {street: substance for substance in Substance for street in substance.street}
    assert named["sabu"] is Substance.METHAMPHETAMINE
    assert named["dobel L"] is Substance.TRIHEXYPHENIDYL
    assert named["happy five"] is Substance.NIMETAZEPAM


def test_a_grade_is_its_letter_and_its_digit() -> None:
    grades = {grade.value for grade in SourceGrade} - {"UNKNOWN"}
    assert grades == {f"{letter}{digit}" for letter in "ABCDEF" for digit in "123456"}
    assert SourceGrade.B2.meaning == "usually reliable; probably true"


def test_a_code_survives_pickling_as_itself() -> None:
    assert pickle.loads(pickle.dumps(Substance.MDMA)) is Substance.MDMA  # noqa: S301 - our own
