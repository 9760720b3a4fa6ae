"""Errors of evidence bundles."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused


class BundleRefused(Refused):
    """The file is not an evidence bundle: {what}. Nothing in it was checked. {remedy}."""

    what: str
    remedy: str = (
        "Ask for the file again as its maker wrote it: it may not have been copied whole, or a"
        " program may have unpacked it and packed it again"
    )


class BundleUnreadable(Refused):
    """{path} cannot be read ({why}). Nothing was checked. Name the file of the bundle."""

    path: str
    why: str


class EvidenceRefused(Refused):
    """The evidence cannot be made: {what}."""

    what: str


class TrustRefused(Refused):
    """The keys that are given cannot be used: {what}."""

    what: str
