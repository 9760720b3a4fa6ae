"""What the fields of the event types mean, in Indonesian.

A schema states the meaning of each field in English, with the Indonesian term where there is one.
What is sealed is that text alone: the Indonesian is a translation of it, for pages that people read
in Indonesia. It belongs to an English text and not to a field, so that a field whose meaning is
stated otherwise in a later version has no translation before somebody writes one. Fields of other
agencies' own event types have none.
"""

from __future__ import annotations

_AS_STORED = "; microseconds since 1970 in UTC"


def shown_doc(doc: str) -> str:
    """The meaning of a field, without how a time is stored: that is not how it is shown."""
    return doc.replace(_AS_STORED, "")


def indonesian_of(meaning: str) -> str:
    """The Indonesian of what `shown_doc` gives; empty if there is none."""
    return MEANINGS.get(meaning, "")


def in_both(meaning: str) -> str:
    """What `shown_doc` gives, after its Indonesian if there is one."""
    indonesian = indonesian_of(meaning)
    return f"{indonesian} · {meaning}" if indonesian else meaning


MEANINGS = {
    "Identity of the event: UUIDv7, or UUIDv8 out of file digest and line number for events"
    " from a file.": (
        "Identitas peristiwa: UUIDv7, atau UUIDv8 dari nilai hash berkas dan nomor baris untuk "
        "peristiwa dari berkas."
    ),
    "Slug of the agency that publishes, the owner of the topic (instansi).": (
        "Nama pendek (slug) instansi penerbit, yaitu pemilik topik."
    ),
    "Identity of the record in the agency's own system, stable for its life; at most 256 "
    "bytes. It is the message's key.": (
        "Identitas catatan dalam sistem instansi itu sendiri, tidak berubah selama catatan itu "
        "ada; paling banyak 256 bita. Identitas ini menjadi kunci pesan."
    ),
    "Revision of the record, from 1 upwards. The highest holds.": (
        "Revisi catatan, mulai dari 1. Yang berlaku adalah yang tertinggi."
    ),
    "What the event does to its record (tindakan). Every event carries the whole state of "
    "the record.": (
        "Tindakan peristiwa terhadap catatannya. Setiap peristiwa memuat seluruh isi catatan."
    ),
    "When it happened (waktu kejadian).": "Waktu kejadian.",
    "How exactly that time is known (ketelitian waktu).": "Ketelitian waktu kejadian itu.",
    "IANA time zone of the place where it happened, such as Asia/Jakarta (WIB), "
    "Asia/Makassar (WITA), Asia/Jayapura (WIT).": (
        "Zona waktu (IANA) tempat kejadian, seperti Asia/Jakarta (WIB), Asia/Makassar (WITA), "
        "Asia/Jayapura (WIT)."
    ),
    "When the agency published the event (waktu pencatatan).": (
        "Waktu pencatatan, yaitu ketika instansi menerbitkan peristiwa."
    ),
    "SHA-256 of the bytes of the agreement (perjanjian kerja sama) under which the event is"
    " shared; 64 lower-case hexadecimal digits.": (
        "SHA-256 dari isi berkas perjanjian kerja sama yang menjadi dasar berbagi peristiwa; 64 "
        "digit heksadesimal huruf kecil."
    ),
    "What the event is shared for (tujuan).": "Tujuan berbagi peristiwa.",
    "How closely it is to be held (klasifikasi keamanan): SR, R, T or B.": (
        "Klasifikasi keamanan: SR, R, T, atau B."
    ),
    "Grade of the source and of what it says (nilai informasi), such as A1.": (
        "Nilai informasi, yaitu nilai sumber dan isinya, seperti A1."
    ),
    "Number of the case as written (nomor perkara; laporan polisi or LKN).": (
        "Nomor perkara sebagaimana tertulis (laporan polisi atau LKN)."
    ),
    "Records that this one has to do with (catatan terkait); they may not have arrived yet.": (
        "Catatan terkait; mungkin belum diterima."
    ),
    "Slug of the agency that owns the other record (instansi).": (
        "Nama pendek (slug) instansi pemilik catatan lain itu."
    ),
    "Event type of the other record, such as seizure.": (
        "Jenis peristiwa catatan lain itu, seperti seizure."
    ),
    "Identity of the other record.": "Identitas catatan lain itu.",
    "What the other record is to this one (hubungan).": (
        "Hubungan catatan lain itu dengan catatan ini."
    ),
    "Seizure order (surat perintah penyitaan); PP 40/2013 art. 14(2).": (
        "Surat perintah penyitaan; PP 40/2013 Pasal 14 ayat (2)."
    ),
    "Number as written (nomor surat); unique only with issuer and year, compared with its "
    "spaces collapsed, never parsed.": (
        "Nomor surat sebagaimana tertulis; hanya unik bersama penerbit dan tahunnya, dibandingkan"
        " tanpa membedakan jumlah spasi, tidak pernah diuraikan."
    ),
    "Office that issued it (instansi penerbit).": "Instansi penerbit surat.",
    "Date on the letter (tanggal surat).": "Tanggal surat.",
    "Sealing order, where it is a letter of its own (surat perintah penyegelan).": (
        "Surat perintah penyegelan, apabila merupakan surat tersendiri."
    ),
    "Permit of the district court, or its approval afterwards (izin atau persetujuan ketua "
    "pengadilan negeri).": ("Izin ketua pengadilan negeri, atau persetujuannya sesudah penyitaan."),
    "Where it was seized and sealed (tempat).": "Tempat penyitaan dan penyegelan.",
    "Address or name of the place as written (tempat); may be somebody's home.": (
        "Alamat atau nama tempat sebagaimana tertulis; dapat berupa rumah seseorang."
    ),
    "Code of the region (kode wilayah Kemendagri), dotted, 2.2.2.4 digits, such as 35.10; "
    "as text.": ("Kode wilayah Kemendagri, bertitik, 2.2.2.4 digit, seperti 35.10; sebagai teks."),
    "Date of the list that the region code is taken from.": "Tanggal daftar sumber kode wilayah.",
    "Degrees north, WGS 84 (lintang).": "Lintang dalam derajat ke utara, WGS 84.",
    "Degrees east, WGS 84 (bujur).": "Bujur dalam derajat ke timur, WGS 84.",
    "When it was seized (waktu penyitaan).": "Waktu penyitaan.",
    "When it was sealed (waktu penyegelan).": "Waktu penyegelan.",
    "Offence as the record cites it (pasal yang disangkakan).": (
        "Pasal yang disangkakan sebagaimana disebut dalam catatan."
    ),
    "Whether owner and holder are stated to be unknown (pemilik tidak diketahui); then "
    "holders is empty.": (
        "Apakah dinyatakan bahwa pemilik dan yang menguasai tidak diketahui; apabila ya, holders "
        "kosong."
    ),
    "Whether the investigators and both witnesses have signed the record (tanda tangan).": (
        "Apakah penyidik dan kedua saksi telah menandatangani berita acara."
    ),
    "Owners or holders (pemilik atau yang menguasai).": "Pemilik atau yang menguasai.",
    "What the person is in the event (peran).": "Peran orang itu dalam peristiwa.",
    "Name as written (nama).": "Nama sebagaimana tertulis.",
    "Population number (Nomor Induk Kependudukan): 16 digits, as text. Null for foreigners "
    "and where it is not known.": (
        "Nomor Induk Kependudukan: 16 digit, sebagai teks. Kosong untuk warga negara asing dan "
        "apabila tidak diketahui."
    ),
    "Investigators who seized (penyidik).": "Penyidik yang menyita.",
    "Witnesses, two or more (saksi).": "Saksi, dua orang atau lebih.",
    "What was seized, lot by lot (barang sitaan).": "Barang sitaan, satu per satu.",
    "Label of the exhibit, unique within the seizure (label barang bukti).": (
        "Label barang bukti, unik dalam penyitaan itu."
    ),
    "Kind of substance, as last known (jenis).": "Jenis zat, menurut keterangan terakhir.",
    "Name as the record writes it, street names too (nama).": (
        "Nama sebagaimana tertulis dalam berita acara, termasuk nama jalanan."
    ),
    "Schedule of the substance (golongan) on the day of the seizure.": (
        "Golongan zat pada hari penyitaan."
    ),
    "Regulation that said so on that day (dasar hukum golongan), such as Permenkes 15/2025.": (
        "Dasar hukum golongan itu pada hari tersebut, seperti Permenkes 15/2025."
    ),
    "Form (bentuk).": "Bentuk.",
    "Colour as written (warna).": "Warna sebagaimana tertulis.",
    "Properties as written, such as smell and solubility (sifat).": (
        "Sifat sebagaimana tertulis, seperti bau dan kelarutan."
    ),
    "Number of pieces, from 1 upwards, in count_unit (jumlah barang).": (
        "Jumlah barang, mulai dari 1, dalam satuan count_unit."
    ),
    "What is counted (satuan).": "Satuan hitungan.",
    "Weight with packaging, in grams (berat bruto).": (
        "Berat bruto, yaitu dengan kemasan, dalam gram."
    ),
    "Weight without packaging, in grams (berat netto).": (
        "Berat netto, yaitu tanpa kemasan, dalam gram."
    ),
    "Volume of a liquid, in millilitres (volume).": "Volume cairan, dalam mililiter.",
    "What it was packed in (kemasan).": "Kemasan.",
    "Weight set aside as a sample, in grams (berat yang disisihkan); stated, never computed.": (
        "Berat yang disisihkan sebagai sampel, dalam gram; dinyatakan, tidak pernah dihitung."
    ),
    "Number of pieces set aside as a sample, in count_unit (jumlah yang disisihkan).": (
        "Jumlah yang disisihkan sebagai sampel, dalam satuan count_unit."
    ),
    "What the laboratory has said so far (hasil uji laboratorium); may come before its letter.": (
        "Hasil uji laboratorium sejauh ini; dapat mendahului suratnya."
    ),
    "Letter of the laboratory (berita acara pemeriksaan laboratorium).": (
        "Berita acara pemeriksaan laboratorium."
    ),
    "Unit that was visited (UPT).": "UPT yang dikunjungi.",
    "Name of the unit as it was on that day (nama UPT).": "Nama UPT pada hari itu.",
    "Slug of the unit in the publishing agency's own list; no public list of codes is known.": (
        "Nama pendek (slug) UPT dalam daftar instansi penerbit; tidak diketahui adanya daftar "
        "kode yang bersifat publik."
    ),
    "Kind and class of the unit (jenis dan kelas UPT).": "Jenis dan kelas UPT.",
    "Security level of the unit (tingkat pengamanan), not the person's risk.": (
        "Tingkat pengamanan UPT, bukan risiko orangnya."
    ),
    "How the visitor or the goods came (jalur).": "Jalur kedatangan pengunjung atau barang.",
    "Visitor as identified at the gate (pengunjung). Null where nobody came.": (
        "Pengunjung menurut pemeriksaan identitas di pintu masuk. Kosong apabila tidak ada yang "
        "datang."
    ),
    "Inmate visited, or for whom the goods were meant (warga binaan yang dikunjungi).": (
        "Warga binaan yang dikunjungi, atau yang dituju oleh barang itu."
    ),
    "What the visitor says to be to the inmate (hubungan yang dinyatakan).": (
        "Hubungan dengan warga binaan yang dinyatakan oleh pengunjung."
    ),
    "Course of events in free text without line breaks (kronologi).": (
        "Kronologi dalam teks bebas tanpa pergantian baris."
    ),
    "What made it suspicious (indikator).": "Indikator yang menimbulkan kecurigaan.",
    "Searches made (penggeledahan).": "Penggeledahan yang dilakukan.",
    "How was searched (cara penggeledahan).": "Cara penggeledahan.",
    "What it came to (hasil penggeledahan).": "Hasil penggeledahan.",
    "What was found (temuan).": "Temuan.",
    "Kind of forbidden goods (jenis barang terlarang).": "Jenis barang terlarang.",
    "What was found, as written (uraian temuan).": "Uraian temuan sebagaimana tertulis.",
    "Substance as suspected or since found (zat).": (
        "Zat yang diduga, atau yang kemudian diketahui."
    ),
    "Where it was hidden (cara penyembunyian).": "Cara penyembunyian.",
    "Number of pieces, from 1 upwards, in count_unit (jumlah).": (
        "Jumlah, mulai dari 1, dalam satuan count_unit."
    ),
    "Weight as found, in grams (berat).": "Berat ketika ditemukan, dalam gram.",
    "What was done about it (tindak lanjut).": "Tindak lanjut.",
    "Unit that the inmate leaves (UPT asal).": "UPT asal warga binaan.",
    "Unit that the inmate goes to (UPT tujuan).": "UPT tujuan warga binaan.",
    "When the inmate left (waktu berangkat).": "Waktu berangkat.",
    "When the inmate arrived (waktu tiba). Null until then.": "Waktu tiba. Kosong sebelum tiba.",
    "Why the inmate is moved (alasan pemindahan).": "Alasan pemindahan.",
    "Reason as the source writes it.": "Alasan sebagaimana tertulis dalam sumber.",
    "Legal status of the inmate as the source writes it (status hukum).": (
        "Status hukum warga binaan sebagaimana tertulis dalam sumber."
    ),
    "The inmate (warga binaan). Null in sources without persons.": (
        "Warga binaan. Kosong dalam sumber yang tidak memuat orang."
    ),
    "Class of the register (golongan register) on that day. Null for a child (anak).": (
        "Golongan register pada hari itu. Kosong untuk anak."
    ),
    "Number in that register (nomor register); it changes with the class and is no key.": (
        "Nomor register; berubah bersama golongannya dan bukan kunci."
    ),
    "The person's risk (risiko), not the security level of a unit.": (
        "Risiko orangnya, bukan tingkat pengamanan UPT."
    ),
    "Who approved it (pejabat yang menyetujui).": "Pejabat yang menyetujui.",
    "Letter of approval (surat izin pemindahan).": "Surat izin pemindahan.",
    "Identity, in the agency's own system, of the movement that takes several inmates on "
    "one letter (rombongan).": (
        "Identitas rombongan, dalam sistem instansi itu sendiri, apabila beberapa warga binaan "
        "dipindahkan dengan satu surat."
    ),
    "Who escorts (pengawalan).": "Pengawalan.",
    "Agency or unit as written, such as Brimob (satuan).": (
        "Satuan atau instansi sebagaimana tertulis, seperti Brimob."
    ),
    "How many, from 1 upwards (jumlah). Null where it is not known.": (
        "Jumlah, mulai dari 1. Kosong apabila tidak diketahui."
    ),
}
"""The Indonesian of each meaning, by the English as `shown_doc` gives it."""
