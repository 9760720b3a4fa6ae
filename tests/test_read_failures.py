"""An error about a file that cannot be read says what to do about it, the same in every command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sinergi.cli.reconciled_sides import stated
from sinergi.provision.plan import kept_plan
from sinergi_consumers.audit.evidence_collection import agreement_evidence
from sinergi_schemas import errors
from sinergi_schemas.seal.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_schemas.errors import SinergiError

AGREEMENTS: Any = SimpleNamespace(agencies=[], bus="sinergi.rekaan.example")


def kept_agreement(path: Path) -> object:
    agreement: Any = SimpleNamespace(path=path)
    return agreement_evidence(agreement)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (kept_agreement, errors.EvidenceRefused),
        (kept_plan, errors.PlanRefused),
        (lambda path: [*stated([path], AGREEMENTS, "UTC")], errors.ReconciliationRefused),
        (SigningKey.load, errors.KeyFileRefused),
    ],
)
def test_a_folder_in_place_of_a_file_is_named_with_what_to_do(
    tmp_path: Path, read: Callable[[Path], object], kind: type[SinergiError]
) -> None:
    with pytest.raises(kind) as refused:
        read(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "cannot be read (Is a directory); name a file in it" in str(refused.value)
