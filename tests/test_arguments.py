"""Values that every command refuses for each of its arguments and options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from sinergi.cli import commands, root
from sinergi.exit_status import ExitStatus
from sinergi.settings.settings import load
from sinergi_schemas.errors import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_UTF8 = os.fsdecode(b"\xff")


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)


# How many arguments stand before an argument, by the id of its parameter.
ARGUMENTS_BEFORE: dict[int, int] = {}


def parameters(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every argument and option that takes a value, with the words of its command."""
    before = 0
    for each in command.params:
        if not each.opts[0].startswith("-"):
            ARGUMENTS_BEFORE[id(each)], before = before, before + 1
        if not getattr(each, "is_flag", False) and each.name != "help":
            yield words, each
    for name, inner in getattr(command, "commands", {}).items():
        yield from parameters(inner, *words, name)


def everything() -> list[tuple[tuple[str, ...], Any]]:
    found = list(parameters(typer.main.get_command(root.app)))
    for name in commands.installed():
        found += parameters(commands.load(name), name)
    return found


EVERYTHING = everything()


def given(parameter: Any, value: str) -> list[str]:
    is_option = parameter.opts[0].startswith("-")
    if is_option:
        return [parameter.opts[0], value]
    return ["--", *["x"] * ARGUMENTS_BEFORE[id(parameter)], value]


def is_path(parameter: Any) -> bool:
    return "Path" in str(parameter.type_descriptor.annotation)


def id_of(each: object) -> str:
    return "-".join(each) if isinstance(each, tuple) else str(getattr(each, "name", each))


@pytest.mark.parametrize(
    ("words", "parameter"), [each for each in EVERYTHING if not is_path(each[1])], ids=id_of
)
def test_what_is_no_text_is_refused_naming_the_option(
    words: tuple[str, ...], parameter: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte that is no UTF-8 reached Kafka's client, which ended in a segmentation fault."""
    value = f"kafka.bootstrap={NO_UTF8}:1" if parameter.opts[0] == "--set" else NO_UTF8
    line = [*words, *given(parameter, value)]
    assert root.run([*line, *([] if words else ["settings"])]) == ExitStatus.ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert "this is a bug" not in err
    told = " ".join(err.replace("│", " ").split())
    assert "it is no text in UTF-8" in told or "is not one of" in told, told
    name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
    assert name in told, told


@pytest.mark.parametrize(
    ("words", "parameter"), [each for each in EVERYTHING if is_path(each[1])], ids=id_of
)
def test_a_path_may_hold_any_bytes(words: tuple[str, ...], parameter: Any) -> None:
    command = commands.load(words[0]) if words else typer.main.get_command(root.app)
    context = typer.Context(command)
    path = f"folder/{NO_UTF8}"
    if parameter.nargs == 1 and not getattr(parameter, "multiple", False):
        assert parameter.process_value(context, path) == Path(path)
    else:
        assert [*parameter.process_value(context, [path])] == [Path(path)]


@pytest.mark.parametrize(
    "key", ["kafka.bootstrap", "kafka.username", "agency", "producer.database"]
)
def test_a_setting_that_is_no_text_is_refused_and_not_shown(key: str) -> None:
    """It may be a password in a database's address."""
    name = f"SINERGI_{key.replace('.', '__').upper()}"
    for flags, environment, who in (
        ({key: f"hush{NO_UTF8}"}, {}, f"--set {key}"),
        ({}, {name: f"hush{NO_UTF8}"}, f"{name}: {key}"),
        ({f"{key}{NO_UTF8}": "hush"}, {}, f"--set {key}"),
    ):
        with pytest.raises(SettingsRefused) as refused:
            load(None, flags, environment)
        assert f"{who}" in str(refused.value)
        assert "it is no text in UTF-8" in str(refused.value)
        assert "hush" not in str(refused.value)


def test_a_setting_with_a_nul_character_is_refused(tmp_path: Path) -> None:
    """TOML can write one; the texts of C, and so paths and Kafka's settings, end there."""
    file = tmp_path / "sinergi.toml"
    for line in (r'agreements = "a\u0000b"', r'kafka.bootstrap = "h\u0000:1"'):
        file.write_text(f"{line}\n")
        with pytest.raises(SettingsRefused, match="it holds a NUL character"):
            load(file, {}, {})


@pytest.mark.parametrize("key", ["ca_file", "certificate_file", "private_key_file"])
def test_kafka_is_given_no_path_that_is_not_utf8(tmp_path: Path, key: str) -> None:
    file = tmp_path / f"a{NO_UTF8}"
    file.touch(0o600)
    flags = {"kafka.bootstrap": "h:1", "kafka.security": "SSL", f"kafka.{key}": str(file)}
    with pytest.raises(SettingsRefused, match=rf"kafka\.{key}: the Kafka client takes no path"):
        load(None, flags, {}).connection()


@pytest.mark.parametrize(("words", "parameter"), EVERYTHING, ids=id_of)
def test_an_empty_argument_is_not_taken_for_none(
    words: tuple[str, ...], parameter: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--against ""` a replay compared nothing, and said that all holds."""
    line = [*words, *given(parameter, "")]
    assert root.run([*line, *([] if words else ["settings"])]) == ExitStatus.ERROR
    out, err = capsys.readouterr()
    assert out == ""
    told = " ".join(err.replace("│", " ").split())
    assert "it is empty; give it a value" in told or "is not KEY=VALUE" in told
    assert ("leave it out" in told) == (not parameter.required and parameter.opts[0] != "--set")


@pytest.mark.parametrize("key", ["kafka.ca_file", "kafka.username", "agreements", "agency"])
def test_an_empty_setting_is_not_taken_for_none(tmp_path: Path, key: str) -> None:
    file = tmp_path / "sinergi.toml"
    file.write_text(f'{key} = ""\n')
    for found, flags in ((file, {}), (None, {key: ""})):
        with pytest.raises(SettingsRefused, match=rf"{key}: it is empty; give it a value"):
            load(found, flags, {})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("replay TOPIC --from 0001-01-01T00:00+23:59", "--from '0001-01-01T00:00+23:59' lies"),
        ("replay TOPIC --to 9999-12-31T23:59-23:59", "--to '9999-12-31T23:59-23:59' lies outside"),
        ("replay TOPIC --copy a/b", "--copy is no name of a topic"),
        (f"replay TOPIC --against {'a' * 4_000}", "--against is no name of a topic"),
        ("quarantine list --limit 99999999999999999999", "less than or equal to 1000000"),
        ("outbox list --limit 99999999999999999999", "less than or equal to 1000000"),
    ],
)
def test_what_no_service_can_take_is_refused_before_one_is_asked(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.run(line.replace("TOPIC", "sinergi.a.transfer").split()) == ExitStatus.ERROR
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
