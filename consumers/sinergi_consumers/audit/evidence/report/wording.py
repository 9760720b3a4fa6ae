"""The fixed sentences of a report, in Indonesian and English."""

from __future__ import annotations

from typing import NamedTuple


class Wording(NamedTuple):
    """One statement in both languages."""

    english: str
    indonesian: str

    def __str__(self) -> str:
        return f"{self.indonesian} · {self.english}"


def without_row(records: int) -> str:
    """What stands below a plot that lacks some records."""
    return f"{records:,} catatan lain tidak digambar · {records:,} further records are not drawn"


FOR_READING = Wording(
    "This report is for reading. It proves nothing by itself: verify the whole file with the"
    " command sinergi evidence verify or with the page for browsers, using keys from your own copy"
    " of the agreement.",
    "Laporan ini hanya untuk dibaca dan dengan sendirinya tidak membuktikan apa pun: periksa"
    " seluruh berkas dengan perintah sinergi evidence verify atau dengan halaman pemeriksa di"
    " peramban, menggunakan kunci dari salinan perjanjian yang dipegang sendiri oleh pemeriksa.",
)
MADE_BY = Wording("Made by", "Dibuat oleh")
MADE_AT = Wording("Made at", "Dibuat pada")
WHY = Wording("Why", "Keperluan")
LOOKED_FOR = Wording("Looked for", "Dicari")
SOFTWARE = Wording("Software", "Perangkat lunak")
STATED = Wording("Stated by the maker, not proved", "Pernyataan pembuat, tidak dibuktikan")
ALL_TIMES = Wording("All times on these pages", "Semua waktu")
AS_SEALED = Wording(
    "beside a time in an event, in brackets, the same time as it was sealed, in UTC (Z)",
    "di samping waktu dalam isi peristiwa, dalam kurung, waktu yang sama sebagaimana disegel, dalam"
    " UTC (Z)",
)
NOT_SEALED = Wording(
    "The terms beside codes and the Indonesian meanings of fields are those of the software, and no"
    " part of what was sealed.",
    "Istilah di samping kode dan arti kolom dalam bahasa Indonesia berasal dari perangkat lunak dan"
    " bukan bagian dari yang disegel.",
)
ABSENCE = Wording(
    "Stated, not proved: no event matches",
    "Dinyatakan, tidak dibuktikan: tidak ada peristiwa yang cocok",
)
ABSENT = Wording(
    "The maker states: all leaves of the trees below were read, from the first to the number that"
    " is given, and no event matches what was looked for. This is not proved. Proved are the sizes"
    " and roots of these trees, if the whole file is verified. Whoever may read the topics can"
    " check the statement by searching the same trees.",
    "Pembuat menyatakan: semua daun dari pohon di bawah ini telah dibaca, dari yang pertama sampai"
    " dengan jumlah yang disebutkan, dan tidak ada peristiwa yang cocok dengan yang dicari. Hal ini"
    " tidak dibuktikan. Apabila pemeriksaan seluruh berkas berhasil, yang terbukti adalah ukuran"
    " dan akar pohon-pohon itu. Siapa pun yang berhak membaca topik dapat memeriksa pernyataan ini"
    " dengan menelusuri pohon yang sama.",
)
CHOSEN = Wording(
    "The maker chose these events, and states that no other event of the trees below matches what"
    " was looked for. The choice is not proved; each event is, if the whole file is verified.",
    "Pembuat memilih peristiwa ini dan menyatakan bahwa tidak ada peristiwa lain dari pohon di"
    " bawah ini yang cocok dengan yang dicari. Pilihan itu tidak dibuktikan; setiap peristiwa"
    " terbukti apabila pemeriksaan seluruh berkas berhasil.",
)
SIGNED = Wording(
    "The maker has signed who made this file, when and why, what was looked for, and what was"
    " searched and not searched. A change of it is found. The key:",
    "Pembuat telah menandatangani keterangan tentang siapa yang membuat berkas ini, kapan dan untuk"
    " keperluan apa, apa yang dicari, serta apa yang ditelusuri dan tidak ditelusuri. Setiap"
    " perubahan atas keterangan itu akan diketahui. Kuncinya:",
)
UNSIGNED = Wording(
    "Nobody has signed who made this file, when and why, what was looked for, and what was searched"
    " and not searched: whoever had the file can have changed these statements. Compare the SHA-256"
    " of the file with the one in the minutes of its hand-over.",
    "Tidak ada yang menandatangani keterangan tentang siapa yang membuat berkas ini, kapan dan"
    " untuk keperluan apa, apa yang dicari, serta apa yang ditelusuri dan tidak ditelusuri: siapa"
    " pun yang pernah memegang berkas ini dapat mengubahnya. Bandingkan SHA-256 berkas dengan yang"
    " tercatat dalam berita acara serah terima.",
)
INCOMPLETE = Wording(
    "Not all that was asked for could be read. Events or related records may be missing in this"
    " file.",
    "Tidak semua yang diminta dapat dibaca. Mungkin ada peristiwa atau catatan terkait yang tidak"
    " terdapat dalam berkas ini.",
)
REASONS = {
    "not-chosen": Wording("not asked for", "tidak diminta"),
    "not-agreed": Wording(
        "the agreements do not let the maker read it",
        "perjanjian tidak memberi pembuat hak untuk membacanya",
    ),
    "not-archived": Wording(
        "not in the archive that was searched", "tidak ada dalam arsip yang ditelusuri"
    ),
    "not-read": Wording("could not be read", "tidak dapat dibaca"),
    "not-sealed": Wording(
        "it is not what its owner sealed", "isinya tidak sama dengan yang disegel pemiliknya"
    ),
    "related": Wording(
        "related records in a topic that was not read",
        "catatan terkait dalam topik yang tidak dibaca",
    ),
}
RECEIPTS = Wording(
    "A receipt states that a database had the event when its key signed, by its own clock. It does"
    " not state that somebody read it.",
    "Tanda terima menyatakan bahwa basis data sudah memiliki peristiwa itu ketika kuncinya"
    " menandatangani, menurut jamnya sendiri; bukan bahwa seseorang telah membacanya.",
)
NO_RECEIPT = Wording("no receipt is in this file", "tidak ada tanda terima dalam berkas ini")
FIRST = Wording("first receipt", "tanda terima pertama")
AT_THE_LATEST = Wording("at the latest", "paling lambat")
TREES = Wording(
    "A tree has all events of one partition of a topic in their order. Each leaf is one event; the"
    " root is a digest of all leaves. The heads are the numbers of leaves that the owner signs"
    " every minute.",
    "Sebuah pohon memuat semua peristiwa satu partisi topik menurut urutannya. Setiap daun adalah"
    " satu peristiwa; akar adalah nilai hash seluruh daun. Jumlah daun ditandatangani oleh pemilik"
    " setiap menit (heads).",
)
NO_HEADS = Wording("none", "tidak ada")
NOTHING_LEFT_OUT = Wording("nothing that the agreements name", "tidak ada, menurut perjanjian")
PROVED = Wording(
    "If the whole file is verified: the owner of the key sealed each event at its place, unchanged;"
    " each database with a receipt had it at that time by its own clock. Not proved: that an event"
    " is true, that a time is right, that somebody read it, that nothing was sealed later, and that"
    " no other event matches.",
    "Apabila pemeriksaan seluruh berkas berhasil: pemilik kunci telah menyegel setiap peristiwa di"
    " tempatnya tanpa perubahan; setiap basis data dengan tanda terima sudah memilikinya pada waktu"
    " itu menurut jamnya sendiri. Tidak dibuktikan: bahwa isi peristiwa benar, bahwa suatu waktu"
    " tepat, bahwa seseorang telah membacanya, bahwa tidak ada yang disegel kemudian, dan bahwa"
    " tidak ada peristiwa lain yang cocok.",
)
KNOWN = Wording(
    "Whose database had it, and when, by the reader's clock",
    "Basis data siapa yang memilikinya, dan kapan, menurut jam penerima",
)
KINDS = {
    "occurred": Wording("occurred, as the publisher states", "terjadi, menurut penerbit"),
    "recorded": Wording("recorded, by the publisher's clock", "dicatat, menurut jam penerbit"),
    "received": Wording(
        "in a reader's database, by the reader's clock",
        "di basis data penerima, menurut jam penerima",
    ),
}
