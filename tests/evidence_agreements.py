"""Agreements that give a verifier of evidence its keys, with what it says then of one bundle.

.venv/bin/python tests/evidence_agreements.py

It writes `vectors/evidence/agreements.json`: for each agreement its text, the exit status for
`valid.zip`, and the files with a problem; or that no key is taken from it.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from evidence_bundles import (
    AGREEMENT,
    AGREEMENT_DIGEST,
    OWNER,
    OWNER_AGENCY,
    READER,
    READER_AGENCY,
    RECEIPTS,
    STRANGER,
    TP,
    VECTORS,
    key_of,
    replacing_agreement,
)
from sinergi_consumers.audit.evidence import places
from sinergi_consumers.audit.evidence.places import EvidencePlace

AGREEMENTS = VECTORS / "agreements.json"
BUNDLE = VECTORS / "valid.zip"

_TEXT = AGREEMENT.decode()
_KEYS = f'keys = ["{OWNER.public}"]\n'
_SEIZURES = f"""
[events.seizure]
publishers = ["{OWNER_AGENCY}"]
readers = ["{READER_AGENCY}"]
purposes = ["INVESTIGATION"]
partitions = 1
"""
_OF_THE_TREE = (
    places.checkpoint_path(TP),
    *(EvidencePlace(TP, leaf).proof_path for leaf in (1, 3)),
)
# A receipt states a tree that the owner has signed.
_SEALED = (*_OF_THE_TREE, EvidencePlace(TP, 1).receipt_path(RECEIPTS.name))
_ALL_SIGNED = (
    *_SEALED,
    places.heads_path(OWNER_AGENCY),
    places.signatures_path(AGREEMENT_DIGEST),
)


class AgreementCase(NamedTuple):
    """An agreement, and what a verifier says that is given nothing else.

    Attributes:
        status: as of `sinergi evidence verify`; None if the agreement itself is refused.
    """

    text: str
    status: int | None
    problems: tuple[str, ...] = ()


def agreements() -> dict[str, AgreementCase]:
    """All cases by their names."""
    others = _TEXT.replace(_KEYS, f'keys = ["{STRANGER.public}"]\n')
    other_topics = _TEXT.replace("[events.transfer]", "[events.seizure]")
    twice = replacing_agreement(5).replace("[5, 0]", "[5, 0, 0]")
    return {
        "as-it-is": AgreementCase(_TEXT, 0),
        "with-comments": AgreementCase(f"# {STRANGER.public}\n{_TEXT}# {READER.public}\n", 0),
        "replaced-after-the-tree": AgreementCase(replacing_agreement(5), 0),
        "replaced-before-the-tree": AgreementCase(replacing_agreement(4), 1, _OF_THE_TREE),
        "key-in-a-comment": AgreementCase(
            f"# {OWNER.public}\n{others}# before: {_KEYS}",
            2,
            _ALL_SIGNED,
        ),
        "key-in-a-text": AgreementCase(
            others.replace('"Perjanjian rekaan"', f'"Perjanjian {OWNER.public} rekaan"'),
            2,
            _ALL_SIGNED,
        ),
        "another-topic": AgreementCase(other_topics, 2, _SEALED),
        "another-topic-too": AgreementCase(_TEXT + _SEIZURES, 0),
        "published-by-the-other": AgreementCase(
            _TEXT.replace(
                f'publishers = ["{OWNER_AGENCY}"]', f'publishers = ["{READER_AGENCY}"]'
            ).replace(f'readers = ["{READER_AGENCY}"]', f'readers = ["{OWNER_AGENCY}"]'),
            2,
            _SEALED,
        ),
        "another-bus": AgreementCase(
            _TEXT.replace('bus = "sinergi.example"', 'bus = "other.example"'), None
        ),
        "key-of-another-party": AgreementCase(
            _TEXT.replace(str(OWNER.public), str(key_of(f"{OWNER.name}-2").public)), None
        ),
        "two-keys-of-a-party": AgreementCase(
            _TEXT.replace(_KEYS, f'keys = ["{OWNER.public}", "{STRANGER.public}"]\n'), None
        ),
        "one-key-twice": AgreementCase(
            replacing_agreement(5).replace(str(STRANGER.public), str(OWNER.public)), None
        ),
        "receipt-key-of-another-database": AgreementCase(
            _TEXT.replace('database = "register"', 'database = "another"'), None
        ),
        "replaced-without-a-topic": AgreementCase(
            replacing_agreement(5).replace("transfer = [5, 0]", ""), None
        ),
        "replaced-for-a-topic-too-many": AgreementCase(
            replacing_agreement(5).replace("[5, 0]", "[5, 0], seizure = [1]"), None
        ),
        "replaced-for-a-partition-too-many": AgreementCase(twice, None),
        "no-toml": AgreementCase(f"{_TEXT}[", None),
    }


def document() -> dict[str, object]:
    """The vectors."""
    return {
        name: {"text": each.text, "status": each.status, "problems": sorted(each.problems)}
        for name, each in agreements().items()
    }


def main() -> None:
    """Write all cases."""
    AGREEMENTS.write_text(f"{json.dumps(document(), indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
