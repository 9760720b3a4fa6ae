"""The code lists of the event types.

A member's value is its symbol in the Avro files. Each member has its meaning in English and, if the
word comes from Indonesian practice, the Indonesian term. Every list ends with UNKNOWN. A publisher
states UNKNOWN if no other code fits, and readers of an older schema version see it in place of a
symbol that their version lacks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A member of a code list.

    Attributes:
        meaning: in English.
        indonesian: the Indonesian term, or "" if there is none.
    """

    meaning: str
    indonesian: str

    def __new__(cls, symbol: str, *_: object) -> Self:
        """Create a member. `enum` calls this and then `__init__`."""
        member = str.__new__(cls, symbol)
        member._value_ = symbol
        return member

    def __init__(self, _: str, meaning: str, indonesian: str = "") -> None:
        self.meaning = meaning
        self.indonesian = indonesian


# Every event


class Action(Code):
    """What an event does to its record (tindakan)."""

    RECORDED = "RECORDED", "first event of the record; always revision 1", "dicatat"
    CORRECTED = "CORRECTED", "complete new version, after a change or a mistake", "diperbaiki"
    RETRACTED = "RETRACTED", "withdrawn: it did not happen", "ditarik"
    UNKNOWN = "UNKNOWN", "an action of a newer version"


class Precision(Code):
    """How exactly a source states when something happened (ketelitian waktu)."""

    EXACT = "EXACT", "to the minute or better", "tepat"
    ABOUT = "ABOUT", "at about this time", "sekira pukul"
    DAY = "DAY", "the day only; the time is the first instant of the day in its zone", "hari"
    UNKNOWN = "UNKNOWN", "not known"


class Purpose(Code):
    """The purpose of sharing an event (tujuan). The agreement lists the allowed purposes."""

    INVESTIGATION = "INVESTIGATION", "inquiry and investigation", "penyelidikan dan penyidikan"
    INTELLIGENCE = "INTELLIGENCE", "exchange of intelligence", "pertukaran data dan intelijen"
    PROSECUTION = "PROSECUTION", "prosecution and trial", "penuntutan dan peradilan"
    PRISON_SECURITY = "PRISON_SECURITY", "security and order in prisons", "keamanan dan ketertiban"
    JOINT_OPERATION = "JOINT_OPERATION", "joint raids and urine tests", "razia gabungan, tes urine"
    ESCORT = "ESCORT", "escort of inmates", "pengawalan"
    PREVENTION = "PREVENTION", "prevention of drug trafficking", "pencegahan (P4GN)"
    REHABILITATION = "REHABILITATION", "rehabilitation", "rehabilitasi"
    OVERSIGHT = "OVERSIGHT", "oversight and audit", "pengawasan"
    STATISTICS = "STATISTICS", "statistics and research", "statistik dan penelitian"
    OTHER = "OTHER", "another purpose", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Handling(Code):
    """The security classification of an event (klasifikasi keamanan)."""

    SR = "SR", "top secret", "sangat rahasia"
    R = "R", "secret", "rahasia"
    T = "T", "restricted", "terbatas"
    B = "B", "ordinary, open", "biasa/terbuka"
    UNKNOWN = "UNKNOWN", "not known"


_RELIABILITY = {
    "A": ("completely reliable", "dapat dipercaya sepenuhnya"),
    "B": ("usually reliable", "biasanya dapat dipercaya"),
    "C": ("fairly reliable", "cukup dapat dipercaya"),
    "D": ("not usually reliable", "biasanya tidak dapat dipercaya"),
    "E": ("unreliable", "tidak dapat dipercaya"),
    "F": ("reliability cannot be judged", "kepercayaan tidak dapat dinilai"),
}
_CREDIBILITY = {
    "1": ("confirmed by other sources", "dibenarkan sumber lain"),
    "2": ("probably true", "sangat mungkin benar"),
    "3": ("possibly true", "mungkin benar"),
    "4": ("doubtful", "diragukan kebenarannya"),
    "5": ("improbable", "tidak mungkin benar"),
    "6": ("truth cannot be judged", "kebenaran tidak dapat dinilai"),
}


class SourceGrade(Code):
    """Reliability of the source, A to F, and credibility of the event, 1 to 6 (nilai informasi)."""

    def __init__(self, symbol: str) -> None:
        if symbol == "UNKNOWN":
            super().__init__(symbol, "not graded in a known way")
            return
        (source, sumber), (content, isi) = _RELIABILITY[symbol[0]], _CREDIBILITY[symbol[1]]
        super().__init__(symbol, f"{source}; {content}", f"{sumber}; {isi}")

    A1 = "A1"
    A2 = "A2"
    A3 = "A3"
    A4 = "A4"
    A5 = "A5"
    A6 = "A6"
    B1 = "B1"
    B2 = "B2"
    B3 = "B3"
    B4 = "B4"
    B5 = "B5"
    B6 = "B6"
    C1 = "C1"
    C2 = "C2"
    C3 = "C3"
    C4 = "C4"
    C5 = "C5"
    C6 = "C6"
    D1 = "D1"
    D2 = "D2"
    D3 = "D3"
    D4 = "D4"
    D5 = "D5"
    D6 = "D6"
    E1 = "E1"
    E2 = "E2"
    E3 = "E3"
    E4 = "E4"
    E5 = "E5"
    E6 = "E6"
    F1 = "F1"
    F2 = "F2"
    F3 = "F3"
    F4 = "F4"
    F5 = "F5"
    F6 = "F6"
    UNKNOWN = "UNKNOWN"


class RecordRelation(Code):
    """How a related record is related to the record that names it (hubungan catatan)."""

    SAME_INCIDENT = "SAME_INCIDENT", "is about the same incident", "kejadian yang sama"
    HANDED_OVER_FROM = (
        "HANDED_OVER_FROM",
        "the goods or person of this record were handed over from there",
        "serah terima dari",
    )
    HANDED_OVER_TO = (
        "HANDED_OVER_TO",
        "the goods or person of this record were handed over to there",
        "serah terima kepada",
    )
    LED_TO = "LED_TO", "this record led to that one", "berlanjut ke"
    FOLLOWED_FROM = "FOLLOWED_FROM", "this record follows from that one", "berawal dari"
    REPLACES = "REPLACES", "replaces that record, which was retracted", "menggantikan"
    SAME_CASE = "SAME_CASE", "belongs to the same case", "perkara yang sama"
    OTHER = "OTHER", "related in another way", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class PersonRole(Code):
    """The role of a person in an event (peran)."""

    OWNER = "OWNER", "owner of what was seized", "pemilik"
    HOLDER = "HOLDER", "who held what was seized", "yang menguasai"
    CLEARED = "CLEARED", "an owner or holder who was cleared later", "dinyatakan tidak terlibat"
    INVESTIGATOR = "INVESTIGATOR", "investigator who seized", "penyidik"
    WITNESS = "WITNESS", "witness of the seizure", "saksi"
    CONVICT = "CONVICT", "sentenced inmate", "narapidana"
    DETAINEE = "DETAINEE", "inmate held before or during trial", "tahanan"
    CHILD = "CHILD", "child in custody", "anak"
    VISITOR = "VISITOR", "visitor, for an inmate of their own", "pengunjung"
    COURIER = "COURIER", "who brings goods for another", "kurir"
    UNKNOWN = "UNKNOWN", "not known"


class UnitKind(Code):
    """The kind and class of a correctional unit (jenis unit pelaksana teknis)."""

    LAPAS_I = "LAPAS_I", "prison, class I", "Lapas Kelas I"
    LAPAS_IIA = "LAPAS_IIA", "prison, class IIA", "Lapas Kelas IIA"
    LAPAS_IIB = "LAPAS_IIB", "prison, class IIB", "Lapas Kelas IIB"
    LAPAS_III = "LAPAS_III", "prison, class III", "Lapas Kelas III"
    LAPAS_NARKOTIKA = "LAPAS_NARKOTIKA", "prison for narcotics offenders", "Lapas Narkotika"
    LAPAS_KHUSUS = "LAPAS_KHUSUS", "special prison", "Lapas Khusus"
    LAPAS_TERBUKA = "LAPAS_TERBUKA", "open prison", "Lapas Terbuka"
    LPP = "LPP", "women's prison", "Lembaga Pemasyarakatan Perempuan"
    LPKA = "LPKA", "prison for children", "Lembaga Pembinaan Khusus Anak"
    LPAS = "LPAS", "remand home for children", "Lembaga Penempatan Anak Sementara"
    RUTAN_I = "RUTAN_I", "remand centre, class I", "Rutan Kelas I"
    RUTAN_IIA = "RUTAN_IIA", "remand centre, class IIA", "Rutan Kelas IIA"
    RUTAN_IIB = "RUTAN_IIB", "remand centre, class IIB", "Rutan Kelas IIB"
    CABANG_RUTAN = "CABANG_RUTAN", "branch of a remand centre", "Cabang Rutan"
    OTHER = "OTHER", "another kind, or a unit of another country", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class SecurityLevel(Code):
    """The security level of a unit (tingkat pengamanan); Permenkumham 35/2018."""

    SUPER_MAXIMUM = "SUPER_MAXIMUM", "super maximum security", "super maksimum"
    MAXIMUM = "MAXIMUM", "maximum security", "maksimum"
    MEDIUM = "MEDIUM", "medium security", "medium"
    MINIMUM = "MINIMUM", "minimum security", "minimum"
    UNKNOWN = "UNKNOWN", "not known"


# Seizures


class Schedule(Code):
    """The legal schedule of a substance (golongan), on one day and by one regulation."""

    NARCOTIC_I = "NARCOTIC_I", "narcotic of schedule I", "narkotika golongan I"
    NARCOTIC_II = "NARCOTIC_II", "narcotic of schedule II", "narkotika golongan II"
    NARCOTIC_III = "NARCOTIC_III", "narcotic of schedule III", "narkotika golongan III"
    PSYCHOTROPIC_I = "PSYCHOTROPIC_I", "psychotropic of schedule I", "psikotropika golongan I"
    PSYCHOTROPIC_II = "PSYCHOTROPIC_II", "psychotropic of schedule II", "psikotropika golongan II"
    PSYCHOTROPIC_III = (
        "PSYCHOTROPIC_III",
        "psychotropic of schedule III",
        "psikotropika golongan III",
    )
    PSYCHOTROPIC_IV = "PSYCHOTROPIC_IV", "psychotropic of schedule IV", "psikotropika golongan IV"
    PRECURSOR_1 = "PRECURSOR_1", "precursor of table 1", "prekursor tabel I"
    PRECURSOR_2 = "PRECURSOR_2", "precursor of table 2", "prekursor tabel II"
    MEDICINE = "MEDICINE", "medicine on prescription", "obat keras"
    NONE = "NONE", "not controlled", "tidak diawasi"
    UNKNOWN = "UNKNOWN", "not known"


class Substance(Code):
    """The substance of an exhibit (zat), by its international name.

    Attributes:
        schedule: the schedule in today's regulations. Schedules change, so each event states the
            one that applied.
        street: street names and brand names.
    """

    schedule: Schedule
    street: tuple[str, ...]

    def __init__(
        self, symbol: str, meaning: str, indonesian: str, schedule: Schedule, *street: str
    ) -> None:
        super().__init__(symbol, meaning, indonesian)
        self.schedule = schedule
        self.street = street

    METHAMPHETAMINE = (
        "METHAMPHETAMINE",
        "methamphetamine",
        "metamfetamina",
        Schedule.NARCOTIC_I,
        "sabu",
        "ubas",
        "SS",
        "tus",
    )
    MDMA = (
        "MDMA",
        "3,4-methylenedioxymethamphetamine",
        "MDMA",
        Schedule.NARCOTIC_I,
        "ekstasi",
        "inex",
        "XTC",
    )
    MDA = "MDA", "tenamfetamine", "tenamfetamina", Schedule.NARCOTIC_I
    AMPHETAMINE = "AMPHETAMINE", "amphetamine", "amfetamina", Schedule.NARCOTIC_I
    CANNABIS = (
        "CANNABIS",
        "cannabis plant, also its resin",
        "tanaman ganja, hasis",
        Schedule.NARCOTIC_I,
        "cimeng",
        "gele",
    )
    THC = "THC", "tetrahydrocannabinol", "tetrahidrokanabinol", Schedule.NARCOTIC_I
    HEROIN = "HEROIN", "heroin", "heroina", Schedule.NARCOTIC_I, "putaw", "PT", "etep"
    COCA_LEAF = "COCA_LEAF", "coca leaf", "daun koka", Schedule.NARCOTIC_I
    COCAINE = "COCAINE", "cocaine", "kokaina", Schedule.NARCOTIC_I
    OPIUM = "OPIUM", "opium", "opium", Schedule.NARCOTIC_I, "candu"
    LSD = "LSD", "lysergide", "lisergida", Schedule.NARCOTIC_I
    PSILOCYBIN = "PSILOCYBIN", "psilocybin", "psilosibina", Schedule.NARCOTIC_I, "jamur"
    DMT = "DMT", "dimethyltryptamine", "dimetiltriptamina", Schedule.NARCOTIC_I
    PCP = "PCP", "phencyclidine", "fensiklidina", Schedule.NARCOTIC_I
    CATHINONE = "CATHINONE", "cathinone", "katinona", Schedule.NARCOTIC_I
    MEPHEDRONE = "MEPHEDRONE", "mephedrone", "mefedron", Schedule.NARCOTIC_I
    AB_CHMINACA = (
        "AB_CHMINACA",
        "AB-CHMINACA",
        "AB-CHMINACA",
        Schedule.NARCOTIC_I,
        "tembakau gorila",
    )
    MDMB_4EN_PINACA = (
        "MDMB_4EN_PINACA",
        "MDMB-4en-PINACA",
        "MDMB-4en-PINACA",
        Schedule.NARCOTIC_I,
        "sinte",
        "tembakau sintetis",
    )
    OTHER_SYNTHETIC_CANNABINOID = (
        "OTHER_SYNTHETIC_CANNABINOID",
        "another synthetic cannabinoid",
        "kanabinoid sintetis lain",
        Schedule.NARCOTIC_I,
        "sinte",
        "tembakau sintetis",
    )
    CARISOPRODOL = (
        "CARISOPRODOL",
        "carisoprodol",
        "karisoprodol",
        Schedule.NARCOTIC_I,
        "PCC",
        "Somadril",
    )
    MORPHINE = "MORPHINE", "morphine", "morfina", Schedule.NARCOTIC_II
    FENTANYL = "FENTANYL", "fentanyl", "fentanil", Schedule.NARCOTIC_II
    METHADONE = "METHADONE", "methadone", "metadona", Schedule.NARCOTIC_II
    PETHIDINE = "PETHIDINE", "pethidine", "petidina", Schedule.NARCOTIC_II
    OXYCODONE = "OXYCODONE", "oxycodone", "oksikodona", Schedule.NARCOTIC_II
    ETOMIDATE = "ETOMIDATE", "etomidate", "etomidat", Schedule.NARCOTIC_II, "vape"
    CODEINE = "CODEINE", "codeine", "kodeina", Schedule.NARCOTIC_III
    BUPRENORPHINE = "BUPRENORPHINE", "buprenorphine", "buprenorfina", Schedule.NARCOTIC_III
    CLONAZOLAM = "CLONAZOLAM", "clonazolam", "klonazolam", Schedule.PSYCHOTROPIC_I
    FLUNITRAZEPAM = "FLUNITRAZEPAM", "flunitrazepam", "flunitrazepam", Schedule.PSYCHOTROPIC_III
    DIAZEPAM = "DIAZEPAM", "diazepam", "diazepam", Schedule.PSYCHOTROPIC_IV
    NITRAZEPAM = "NITRAZEPAM", "nitrazepam", "nitrazepam", Schedule.PSYCHOTROPIC_IV
    ZOLPIDEM = "ZOLPIDEM", "zolpidem", "zolpidem", Schedule.PSYCHOTROPIC_IV
    ALPRAZOLAM = "ALPRAZOLAM", "alprazolam", "alprazolam", Schedule.PSYCHOTROPIC_IV
    CLONAZEPAM = "CLONAZEPAM", "clonazepam", "klonazepam", Schedule.PSYCHOTROPIC_IV, "Riklona"
    NIMETAZEPAM = (
        "NIMETAZEPAM",
        "nimetazepam",
        "nimetazepam",
        Schedule.PSYCHOTROPIC_IV,
        "happy five",
    )
    TRIHEXYPHENIDYL = (
        "TRIHEXYPHENIDYL",
        "trihexyphenidyl",
        "triheksifenidil",
        Schedule.MEDICINE,
        "dobel L",
        "LL",
        "pil koplo",
        "pil Y",
        "Hexymer",
    )
    TRAMADOL = "TRAMADOL", "tramadol", "tramadol", Schedule.MEDICINE
    DEXTROMETHORPHAN = "DEXTROMETHORPHAN", "dextromethorphan", "dekstrometorfan", Schedule.MEDICINE
    KETAMINE = "KETAMINE", "ketamine", "ketamin", Schedule.MEDICINE
    ACETIC_ANHYDRIDE = (
        "ACETIC_ANHYDRIDE",
        "acetic anhydride",
        "asam asetat anhidrida",
        Schedule.PRECURSOR_1,
    )
    N_ACETYLANTHRANILIC_ACID = (
        "N_ACETYLANTHRANILIC_ACID",
        "N-acetylanthranilic acid",
        "asam N-asetilantranilat",
        Schedule.PRECURSOR_1,
    )
    EPHEDRINE = "EPHEDRINE", "ephedrine", "efedrin", Schedule.PRECURSOR_1
    ERGOMETRINE = "ERGOMETRINE", "ergometrine", "ergometrin", Schedule.PRECURSOR_1
    ERGOTAMINE = "ERGOTAMINE", "ergotamine", "ergotamin", Schedule.PRECURSOR_1
    ISOSAFROLE = "ISOSAFROLE", "isosafrole", "isosafrol", Schedule.PRECURSOR_1
    LYSERGIC_ACID = "LYSERGIC_ACID", "lysergic acid", "asam lisergat", Schedule.PRECURSOR_1
    MDP_2_P = (
        "MDP_2_P",
        "3,4-methylenedioxyphenyl-2-propanone",
        "3,4-metilendioksifenil-2-propanon",
        Schedule.PRECURSOR_1,
    )
    NOREPHEDRINE = "NOREPHEDRINE", "norephedrine", "norefedrin", Schedule.PRECURSOR_1
    P_2_P = "P_2_P", "1-phenyl-2-propanone", "1-fenil-2-propanon", Schedule.PRECURSOR_1
    PIPERONAL = "PIPERONAL", "piperonal", "piperonal", Schedule.PRECURSOR_1
    POTASSIUM_PERMANGANATE = (
        "POTASSIUM_PERMANGANATE",
        "potassium permanganate",
        "kalium permanganat",
        Schedule.PRECURSOR_1,
    )
    PSEUDOEPHEDRINE = "PSEUDOEPHEDRINE", "pseudoephedrine", "pseudoefedrin", Schedule.PRECURSOR_1
    SAFROLE = "SAFROLE", "safrole", "safrol", Schedule.PRECURSOR_1
    ACETONE = "ACETONE", "acetone", "aseton", Schedule.PRECURSOR_2
    ANTHRANILIC_ACID = (
        "ANTHRANILIC_ACID",
        "anthranilic acid",
        "asam antranilat",
        Schedule.PRECURSOR_2,
    )
    ETHYL_ETHER = "ETHYL_ETHER", "ethyl ether", "etil eter", Schedule.PRECURSOR_2
    HYDROCHLORIC_ACID = (
        "HYDROCHLORIC_ACID",
        "hydrochloric acid",
        "asam klorida",
        Schedule.PRECURSOR_2,
    )
    METHYL_ETHYL_KETONE = (
        "METHYL_ETHYL_KETONE",
        "methyl ethyl ketone",
        "metil etil keton",
        Schedule.PRECURSOR_2,
    )
    PHENYLACETIC_ACID = (
        "PHENYLACETIC_ACID",
        "phenylacetic acid",
        "asam fenilasetat",
        Schedule.PRECURSOR_2,
    )
    PIPERIDINE = "PIPERIDINE", "piperidine", "piperidin", Schedule.PRECURSOR_2
    SULPHURIC_ACID = "SULPHURIC_ACID", "sulphuric acid", "asam sulfat", Schedule.PRECURSOR_2
    TOLUENE = "TOLUENE", "toluene", "toluen", Schedule.PRECURSOR_2
    NOT_CONTROLLED = (
        "NOT_CONTROLLED",
        "found not to be controlled",
        "tidak diawasi",
        Schedule.NONE,
        "garam",
        "tawas",
    )
    OTHER = "OTHER", "another substance, named as written", "zat lain", Schedule.UNKNOWN
    UNKNOWN = "UNKNOWN", "not known", "", Schedule.UNKNOWN


class Form(Code):
    """The form of an exhibit's substance (bentuk)."""

    CRYSTAL = "CRYSTAL", "crystals", "kristal"
    POWDER = "POWDER", "powder", "serbuk"
    TABLET = "TABLET", "tablets or pills", "tablet, pil"
    CAPSULE = "CAPSULE", "capsules", "kapsul"
    PLANT = "PLANT", "whole plants", "tanaman"
    HERB = "HERB", "dried leaves, stems or seeds", "daun, batang, biji kering"
    RESIN = "RESIN", "resin", "getah"
    LIQUID = "LIQUID", "liquid", "cairan"
    TOBACCO = "TOBACCO", "tobacco with the substance on it", "tembakau"
    CIGARETTE = "CIGARETTE", "rolled cigarettes", "linting"
    BLOTTER = "BLOTTER", "blotter sheets", "lembar"
    CARTRIDGE = "CARTRIDGE", "cartridges of a vaporiser", "cartridge"
    MUSHROOM = "MUSHROOM", "mushrooms", "jamur"
    OTHER = "OTHER", "another form", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class CountUnit(Code):
    """The unit of a count (satuan)."""

    PIECE = "PIECE", "pieces", "buah"
    PACKET = "PACKET", "packets", "paket, poket"
    WRAP = "WRAP", "parcels", "bungkus"
    TABLET = "TABLET", "tablets, pills or capsules", "butir"
    PLANT = "PLANT", "plants or stems", "batang"
    CIGARETTE = "CIGARETTE", "rolled cigarettes", "linting"
    SHEET = "SHEET", "sheets", "lembar"
    BOTTLE = "BOTTLE", "bottles or ampoules", "botol, ampul"
    CARTRIDGE = "CARTRIDGE", "cartridges", "cartridge"
    SACK = "SACK", "sacks", "karung"
    OTHER = "OTHER", "another unit", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Packaging(Code):
    """The packaging of an exhibit (kemasan)."""

    PLASTIC_CLIP = "PLASTIC_CLIP", "clip-seal plastic bag", "plastik klip"
    PACKET = "PACKET", "packet", "paket, poket"
    WRAP = "WRAP", "wrapping", "bungkus"
    STRAW = "STRAW", "drinking straw", "sedotan"
    ALUMINIUM_FOIL = "ALUMINIUM_FOIL", "aluminium foil", "aluminium foil"
    CAN = "CAN", "can", "kaleng"
    TAPE = "TAPE", "adhesive tape", "lakban"
    TEA_PACK = "TEA_PACK", "Chinese tea pack", "bungkus teh Cina"
    SACK = "SACK", "sack", "karung"
    BOTTLE = "BOTTLE", "bottle", "botol"
    NONE = "NONE", "not packed", "tanpa kemasan"
    OTHER = "OTHER", "another packaging", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class LabResult(Code):
    """The laboratory's result for an exhibit (hasil uji laboratorium)."""

    SUSPECTED = "SUSPECTED", "not tested yet, or without a result", "diduga"
    CONFIRMED = "CONFIRMED", "the substance was found", "positif"
    REFUTED = "REFUTED", "the substance was not found", "negatif"
    UNKNOWN = "UNKNOWN", "not known"


# Transfers


class RegisterClass(Code):
    """The class of the register that lists an inmate. It changes with the verdict."""

    A_I = "A_I", "detained by the police", "A.I"
    A_II = "A_II", "detained by the prosecutor", "A.II"
    A_III = "A_III", "detained by the district court", "A.III"
    A_IV = "A_IV", "detained by the high court", "A.IV"
    A_V = "A_V", "detained by the supreme court", "A.V"
    B_I = "B_I", "sentenced to more than one year", "B.I"
    B_IIA = "B_IIA", "sentenced to more than three months, up to one year", "B.IIa"
    B_IIB = "B_IIB", "sentenced to one day up to three months", "B.IIb"
    B_III = "B_III", "confined, also for an unpaid fine (kurungan)", "B.III"
    C = "C", "held hostage for a debt (sandera)", "C"
    UNKNOWN = "UNKNOWN", "not known"


class TransferReason(Code):
    """The reason of a transfer (alasan pemindahan)."""

    COACHING = "COACHING", "coaching", "pembinaan"
    SECURITY = "SECURITY", "security and order", "keamanan dan ketertiban"
    JUDICIAL = "JUDICIAL", "judicial proceedings", "proses peradilan"
    HEALTH = "HEALTH", "health", "kesehatan"
    OVERCROWDING = "OVERCROWDING", "overcrowding", "kelebihan kapasitas"
    OWN_REQUEST = "OWN_REQUEST", "at the inmate's own request", "permintaan sendiri"
    HIGH_RISK_PLACEMENT = (
        "HIGH_RISK_PLACEMENT",
        "placement as a high risk",
        "penempatan risiko tinggi",
    )
    STEP_DOWN = "STEP_DOWN", "to a lower security level", "penurunan tingkat pengamanan"
    AFTER_VERDICT = (
        "AFTER_VERDICT",
        "from remand centre to prison, after the verdict",
        "rutan ke lapas setelah putusan",
    )
    EMERGENCY = "EMERGENCY", "emergency, such as fire or unrest", "keadaan darurat"
    RETURN = "RETURN", "return to the unit of origin", "pengembalian"
    OTHER = "OTHER", "another reason", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Authority(Code):
    """The office that approved a transfer (pejabat yang menyetujui)."""

    UNIT_HEAD = "UNIT_HEAD", "head of the unit", "kepala UPT"
    REGIONAL_OFFICE = (
        "REGIONAL_OFFICE",
        "regional office, for moves within the province",
        "Kakanwil Ditjenpas",
    )
    DIRECTOR_GENERAL = (
        "DIRECTOR_GENERAL",
        "director general, for moves across provinces",
        "Dirjen Pemasyarakatan",
    )
    CASE_OFFICE = (
        "CASE_OFFICE",
        "office that holds the case, for the trial",
        "instansi yang menahan",
    )
    OTHER = "OTHER", "another authority", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Risk(Code):
    """The risk that is assigned to an inmate (tingkat risiko)."""

    HIGH = "HIGH", "high risk", "risiko tinggi"
    MEDIUM = "MEDIUM", "medium risk", "risiko sedang"
    LOW = "LOW", "low risk", "risiko rendah"
    UNKNOWN = "UNKNOWN", "not known"


# Suspicious visits


class Relation(Code):
    """The relation to the inmate that the visitor states (hubungan yang dinyatakan)."""

    SPOUSE = "SPOUSE", "husband or wife", "suami atau istri"
    PARENT = "PARENT", "parent", "orang tua"
    CHILD = "CHILD", "child", "anak"
    SIBLING = "SIBLING", "brother or sister", "saudara kandung"
    UNCLE_AUNT = "UNCLE_AUNT", "uncle or aunt", "paman atau bibi"
    DISTANT_FAMILY = "DISTANT_FAMILY", "distant family", "keluarga jauh"
    FRIEND = "FRIEND", "friend", "teman"
    PARTNER = "PARTNER", "partner or betrothed", "pacar, tunangan"
    LAWYER = "LAWYER", "lawyer", "penasihat hukum"
    CLERGY = "CLERGY", "member of the clergy", "rohaniwan"
    DOCTOR = "DOCTOR", "doctor", "dokter"
    SOCIAL_BODY = "SOCIAL_BODY", "member of a social body", "lembaga sosial"
    COURIER = "COURIER", "courier", "kurir, ojek"
    CONSULAR = "CONSULAR", "consular officer", "pejabat konsuler"
    OFFICIAL = "OFFICIAL", "official", "pejabat"
    OTHER = "OTHER", "another relation", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Channel(Code):
    """How the visitor or the goods arrived (jalur)."""

    IN_PERSON = "IN_PERSON", "visit face to face", "tatap muka"
    GOODS_LEFT = "GOODS_LEFT", "goods left for an inmate", "penitipan barang"
    DRIVE_THRU = "DRIVE_THRU", "goods left at a drive-through", "drive thru"
    COURIER = "COURIER", "goods brought by a courier", "kurir, ojek"
    NO_VISITOR = "NO_VISITOR", "nobody came: thrown, or by drone", "tanpa pengunjung"
    OTHER = "OTHER", "another way", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Indicator(Code):
    """A reason why a visit is suspicious (indikator)."""

    NERVOUS = "NERVOUS", "nervous", "gugup"
    HURRIED = "HURRIED", "in a hurry", "tergesa-gesa"
    XRAY_ANOMALY = "XRAY_ANOMALY", "something odd on the x-ray", "kejanggalan pada x-ray"
    ODD_PACKAGING = "ODD_PACKAGING", "odd packaging", "kemasan tidak wajar"
    PAID_COURIER = "PAID_COURIER", "paid to bring it", "kurir dibayar"
    ORDERED_BY_OTHER = "ORDERED_BY_OTHER", "sent by another", "suruhan"
    NEAR_CLOSING = "NEAR_CLOSING", "came shortly before closing", "menjelang tutup"
    FALSE_IDENTITY = "FALSE_IDENTITY", "false identity", "identitas palsu"
    INMATE_DOES_NOT_KNOW = (
        "INMATE_DOES_NOT_KNOW",
        "the inmate does not know the visitor",
        "tidak dikenal warga binaan",
    )
    NARCOTICS_INMATE = (
        "NARCOTICS_INMATE",
        "the inmate has a narcotics case",
        "warga binaan kasus narkotika",
    )
    POSITIVE_URINE = "POSITIVE_URINE", "positive urine test", "tes urine positif"
    TIP_OFF = "TIP_OFF", "tip-off", "informasi"
    RELATION_UNPROVEN = "RELATION_UNPROVEN", "the relation is not proven", "hubungan tidak terbukti"
    MANY_INMATES = "MANY_INMATES", "visits many inmates", "mengunjungi banyak warga binaan"
    EARLIER_BAN = "EARLIER_BAN", "banned before", "pernah dilarang"
    K9_ALERT = "K9_ALERT", "a dog alerted", "anjing pelacak menandai"
    OTHER = "OTHER", "something else", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class SearchMethod(Code):
    """The method of a search (penggeledahan)."""

    XRAY = "XRAY", "x-ray of goods", "x-ray"
    BODY_SCANNER = "BODY_SCANNER", "body scanner", "body scanner"
    BODY_SEARCH = "BODY_SEARCH", "search of the body", "penggeledahan badan"
    GOODS_SEARCH = "GOODS_SEARCH", "search of the goods by hand", "penggeledahan barang"
    URINE_TEST = "URINE_TEST", "urine test", "tes urine"
    K9 = "K9", "search with a dog", "anjing pelacak"
    METAL_DETECTOR = "METAL_DETECTOR", "metal detector", "detektor logam"
    OTHER = "OTHER", "another method", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class SearchResult(Code):
    """The result of a search (hasil penggeledahan)."""

    NOTHING = "NOTHING", "nothing found, or a negative test", "nihil, negatif"
    FOUND = "FOUND", "something found, or a positive test", "ditemukan, positif"
    UNCLEAR = "UNCLEAR", "something odd that was not cleared up", "meragukan"
    REFUSED = "REFUSED", "the person refused it", "menolak"
    UNKNOWN = "UNKNOWN", "not known"


class Concealment(Code):
    """The hiding place of the goods found (cara penyembunyian)."""

    FOOD = "FOOD", "in food", "makanan"
    TOILETRIES = "TOILETRIES", "in toiletries", "perlengkapan mandi"
    FOOTWEAR = "FOOTWEAR", "in footwear", "alas kaki"
    BODY_CAVITY = "BODY_CAVITY", "in the body", "rongga tubuh, dubur"
    UNDERWEAR = "UNDERWEAR", "in underwear", "pakaian dalam"
    SANITARY_PAD = "SANITARY_PAD", "in a sanitary pad", "pembalut"
    THROWN = "THROWN", "thrown over the wall", "dilempar"
    DRONE = "DRONE", "brought by a drone", "drone"
    BOOK = "BOOK", "in a book", "buku"
    CLOTHING = "CLOTHING", "in clothing", "pakaian"
    ELECTRONICS = "ELECTRONICS", "in electronics", "barang elektronik"
    STAFF = "STAFF", "brought by staff", "oknum petugas"
    MAIL = "MAIL", "in the mail", "kiriman pos"
    NONE = "NONE", "not hidden", "tidak disembunyikan"
    OTHER = "OTHER", "elsewhere", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Goods(Code):
    """A kind of goods that is forbidden in prisons (barang terlarang)."""

    NARCOTICS = (
        "NARCOTICS",
        "narcotics, psychotropics or their precursors",
        "narkotika, psikotropika, prekursor",
    )
    MEDICINE = "MEDICINE", "medicine", "obat-obatan"
    PHONE = "PHONE", "phone, or parts of one", "telepon genggam"
    CAMERA = "CAMERA", "camera", "kamera"
    RECORDER = "RECORDER", "recorder", "alat perekam"
    WEAPON = "WEAPON", "weapon", "senjata"
    METAL_CUTLERY = "METAL_CUTLERY", "metal cutlery", "alat makan logam"
    LIGHTER = "LIGHTER", "lighter", "korek api"
    CIGARETTES = "CIGARETTES", "cigarettes", "rokok"
    PACKAGING = "PACKAGING", "plastic or glass packaging", "kemasan plastik atau kaca"
    MONEY = "MONEY", "money", "uang"
    OTHER = "OTHER", "other goods", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Outcome(Code):
    """A measure taken after a visit (tindak lanjut)."""

    ITEMS_SECURED = "ITEMS_SECURED", "the items were secured", "diamankan"
    HANDED_TO_POLICE = "HANDED_TO_POLICE", "handed over to the police", "diserahkan ke polisi"
    HANDED_TO_BNN = "HANDED_TO_BNN", "handed over to the narcotics agency", "diserahkan ke BNN"
    INMATE_ISOLATED = "INMATE_ISOLATED", "the inmate was isolated", "sel isolasi"
    CELLS_SEARCHED = "CELLS_SEARCHED", "cells were searched", "razia kamar"
    INMATE_URINE_TEST = (
        "INMATE_URINE_TEST",
        "the inmate's urine was tested",
        "tes urine warga binaan",
    )
    VISITOR_BANNED = "VISITOR_BANNED", "the visitor was banned", "larangan berkunjung"
    REGISTER_F = "REGISTER_F", "entered in the register of discipline", "Register F"
    VISIT_REFUSED = "VISIT_REFUSED", "the visit was refused", "kunjungan ditolak"
    GOODS_REFUSED = "GOODS_REFUSED", "the goods were refused", "barang ditolak"
    NOTHING_FOUND = "NOTHING_FOUND", "nothing was found", "nihil"
    CLEARED_BY_LAB = "CLEARED_BY_LAB", "cleared by the laboratory", "hasil laboratorium negatif"
    OTHER = "OTHER", "something else", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"
