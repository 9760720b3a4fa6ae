"""The fixed sentences of a report, in English and Indonesian."""

from __future__ import annotations

from typing import NamedTuple


class Wording(NamedTuple):
    """One statement in both languages."""

    english: str
    indonesian: str


FOR_READING = Wording(
    "This report is for reading. It proves nothing by itself: verify the whole file with `sinergi"
    " evidence verify` or with the page for browsers, using keys from your own copy of the"
    " agreement.",
    "Laporan ini hanya untuk dibaca dan bukan bukti tersendiri: periksa seluruh berkas dengan"
    " `sinergi evidence verify` atau dengan halaman pemeriksa di peramban, memakai kunci dari"
    " salinan perjanjian milik Anda.",
)
ABSENT = Wording(
    "All leaves of the trees below were read, from the first to the number that is stated, and no"
    " event matches. This is a statement of the maker. Whoever may read the topics can check it by"
    " searching the same trees.",
    "Semua daun dari pohon di bawah ini telah dibaca, dari yang pertama sampai jumlah yang"
    " dinyatakan, dan tidak ada peristiwa yang cocok. Ini pernyataan pembuat. Siapa pun yang berhak"
    " membaca topik dapat memeriksanya dengan menelusuri pohon yang sama.",
)
RECEIPTS = Wording(
    "A receipt states that a database had the event when its key signed, by its own clock. It does"
    " not state that somebody read it.",
    "Tanda terima menyatakan bahwa basis data sudah memiliki peristiwa itu ketika kuncinya"
    " menandatangani, menurut jamnya sendiri; bukan bahwa seseorang telah membacanya.",
)
PROVED = Wording(
    "If the whole file is verified: the owner of the key sealed each event at its place, unchanged;"
    " each database with a receipt had it at that time by its own clock. Not proved: that an event"
    " is true, that a time is right, that somebody read it, that nothing was sealed later, and that"
    " no other event matches.",
    "Jika seluruh berkas terperiksa: pemilik kunci menyegel setiap peristiwa di tempatnya tanpa"
    " perubahan; setiap basis data dengan tanda terima sudah memilikinya pada waktu itu menurut"
    " jamnya sendiri. Tidak terbukti: bahwa peristiwa itu benar, bahwa suatu waktu tepat, bahwa"
    " seseorang membacanya, bahwa tidak ada yang disegel kemudian, dan bahwa tidak ada peristiwa"
    " lain yang cocok.",
)
KINDS = {
    "occurred": "occurred · terjadi",
    "recorded": "recorded and published · dicatat dan diterbitkan",
    "received": "in the database of a reader · ada di basis data penerima",
}
