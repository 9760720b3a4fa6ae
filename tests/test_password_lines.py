"""A file with a password holds one line; more is refused, and never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinergi.settings.settings import load
from sinergi_schemas.errors import SettingsRefused

if TYPE_CHECKING:
    from pathlib import Path


def options(folder: Path, content: str, mode: int = 0o600) -> dict[str, str]:
    secret = folder / "password"
    secret.write_text(content)
    secret.chmod(mode)
    flags = {
        "agency": "lapas",
        "kafka.bootstrap": "127.0.0.1:1",
        "kafka.security": "SASL_SSL",
        "kafka.username": "lapas.producer",
        "kafka.password_file": str(secret),
    }
    return dict(load(flags=flags, environment={}).connection().options)


def test_one_line_is_the_password(tmp_path: Path) -> None:
    assert options(tmp_path, "hush hush\n")["sasl.password"] == "hush hush"


def test_several_lines_are_refused_without_showing_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="has several lines") as refused:
        options(tmp_path, "hush\nold\n")
    assert "hush" not in str(refused.value)


def test_a_file_that_others_may_read_may_be_the_wrong_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="name another file; or if it is your password"):
        options(tmp_path, "hush\n", 0o644)
