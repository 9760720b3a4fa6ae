"""The reference page, made from the code: commands, settings, metrics and errors.

.venv/bin/python tests/reference.py > docs/reference.md
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import typer

from sinergi.cli import commands, root
from sinergi.demo import errors as demo_errors
from sinergi.exit_status import ExitStatus
from sinergi.local import errors as local_errors
from sinergi.metrics.definitions import METRICS
from sinergi.settings.model import variable
from sinergi.settings.settings import load
from sinergi_schemas import errors
from sinergi_schemas.agreements import tables
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from sinergi.metrics.definitions import MetricDefinition

    Kind = type[errors.SinergiError]

WIDTH = 100

HEAD = """# Reference

Every command, setting, key of an agreement, metric and error. This page is made from the code by
`python tests/reference.py > docs/reference.md`, and `make test` fails where it is out of date.
"""

STATUSES = {
    ExitStatus.SUCCESS: "done, or so it is",
    ExitStatus.NEGATIVE: "it is not so: something is disproved, refused, halted or left to do",
    ExitStatus.ERROR: "it could not be done or checked; one clear line on standard error says why",
    ExitStatus.STOPPED: "stopped by Ctrl-C, SIGTERM or SIGHUP. `relay`, `materialise` and "
    "`provision apply --watch` end with 0 at the first of these signals, also while they wait for "
    "a broker or a database; a second one ends them at once, with 130",
    ExitStatus.OUTPUT_CLOSED: "whoever read the output has closed it, as `head` does",
}

# What each setting is for. The test fails for one that is missing here, or is none. Durations say
# themselves what they bound.
MEANINGS = {
    "agency": "whose settings these are: the agency's name on the bus",
    "bus": "the bus's name; if set, the agreements must be of this bus",
    "agreements": "the folder of the agreements, `*.toml`",
    "unsigned_agreements": "whether agreements count that not all of their parties have signed",
    "confirmed_keys": "public keys, with commas between, that replace lost keys of their agencies;"
    " write one only after comparing it with what the agency itself tells you",
    "keys": "the folder of this agency's private keys, `*.key`",
    "kafka.bootstrap": "brokers to start from, `host:port`, several with commas between",
    "kafka.security": "how the brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    "kafka.mechanism": "how to log in under SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    "kafka.username": "the user under SASL; if unset, each role's `<agency>.<role>`",
    "kafka.password_file": "a file of mode 0600 that holds the user's password and nothing else",
    "kafka.ca_file": "certificates that the brokers' are checked against; else the system's",
    "kafka.certificate_file": "this client's certificate, where the brokers want one",
    "kafka.private_key_file": "its private key, in a file of mode 0600",
    "kafka.group_protocol": "`consumer` (KIP-848, Kafka 4.0 and newer) or `classic` for older ones",
    "producer.owner_database": "the same as its owner, for `db upgrade` and for what else only the"
    " owner may do: `outbox discard`, `prune --apply` and `recover --apply`; else"
    " `producer.database`",
    "producer.database_roles.application": "the PostgreSQL role that publishes",
    "producer.database_roles.relay": "the role with which `sinergi relay` logs in",
    "consumer.owner_database": "the same as its owner, for `db upgrade`; else `consumer.database`",
    "consumer.database_roles.materialiser": "the role with which `sinergi materialise` logs in",
    "consumer.database_roles.reader": "the role that reads the tables of the projections",
    "consumer.database_roles.auditor": "the role of audits: it changes nothing but the journal",
    "producer.database": "the database in which this agency publishes, `postgresql://user@host/name`",
    "producer.prune_days": "how old a sealed row must be, in days, for `sinergi outbox prune`",
    "consumer.database": "the database into which others' events are materialised",
    "consumer.name": "what that database is called on the bus: in its group and its receipts",
    "consumer.retention.history_months": "for how many months `sinergi db prune` keeps the events"
    " of a history; if unset for ever",
    "consumer.retention.checkpoint_months": "the same for checkpoints that were verified",
    "consumer.retention.receipt_months": "the same for receipts that were published",
    "consumer.quarantine_bytes": "what quarantine keeps of each publisher; the topic has the rest",
    **{
        f"{role}.kafka.{name}": f"`kafka.{name}` for this role alone: for {whom}"
        for role, whom in (("producer", "the relay"), ("consumer", "the materialiser"))
        for name in ("username", "password_file", "certificate_file", "private_key_file")
    },
    "provision.open_brokers": "whether brokers without access control are taken, as for trials",
    "provision.grace_hours": "for how many hours after an agreement's end its rights and users are"
    " kept, so that what was recorded before still arrives",
    "provision.passwords": "the folder for the passwords of new users, each in a file of mode 0600",
    "provision.replication": "copies of each partition of a new topic; if unset what the brokers'"
    " default.replication.factor says, and at least three, or one a broker if fewer",
    **{
        f"timeouts.{table}.{name}": f"{duration.title}, in seconds"
        for table, durations in DEFAULT
        for name, duration in type(durations).model_fields.items()
    },
}

POLICIES = {
    errors.Refused: "The input is refused, and nothing was done with it. Whoever gave it has to"
    " correct it; a command or a process exits with 2. Where one event or message of many was"
    " refused, it alone is set aside.",
    errors.Unavailable: "A service is not available now. A running process logs why, and tries"
    " again until it is; a command exits with 2.",
    errors.TopicHalted: "A topic-partition is halted. A running process looks at it again by"
    " itself, and goes on once the cause is mended. The materialiser goes on with all others"
    " meanwhile; a relay waits with all of its own. `sinergi replay` exits with 1 where a topic is"
    " not what its owner sealed.",
    errors.Fatal: "The process cannot work, and exits with 2. `sinergi.Broken` catches these errors"
    " and those of `TopicHalted`.",
    errors.Superseded: "Another process has taken over. Unfinished work is dropped; a running"
    " process goes on with what is assigned to it next.",
}

# The order of the modules on the page.
HOMES = (
    *(
        f"{errors.__name__}.{name}"
        for name in (
            "policies",
            "events",
            "publishing",
            "seal",
            "settings",
            "kafka",
            "database",
            "materialising",
            "files",
            "evidence",
            "archives",
        )
    ),
    local_errors.__name__,
    demo_errors.__name__,
)


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_commands(), *_settings(), *_agreement(), *_metrics(), *_errors()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def spoken_commands() -> Iterator[tuple[str, Any]]:
    """Each command with the words that call it."""
    for name in commands.installed():
        loaded = commands.load(name)
        inner = getattr(loaded, "commands", None)
        if inner is None:
            yield name, loaded
        else:
            yield from ((f"{name} {word}", command) for word, command in inner.items())


def options(command: Any) -> Iterator[tuple[str, str]]:
    """The parameters of a command: how each is written, and what it means."""
    for each in command.params:
        if each.name in ("help", "install_completion", "show_completion"):
            continue
        yield _written(each, command), _meaning(each)


def settings() -> dict[str, tuple[str, str]]:
    """Every setting: its default and what it is for."""
    found = load(environment={}).entries()
    return {each.key: (_default(each.value), MEANINGS.get(each.key, "")) for each in found}


def kinds(base: Kind) -> Iterator[Kind]:
    """The errors below one, in the order of their modules and then of their definition."""
    ours = [each for each in base.__subclasses__() if each.__module__ in HOMES]
    for kind in sorted(ours, key=lambda each: HOMES.index(each.__module__)):
        yield kind
        yield from kinds(kind)


def message(kind: Kind) -> str:
    """The message of an error, with its attributes as `{name}`."""
    said = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
    return re.sub(r"\{(\w+):(\w+)\}", r"{\1} \2", said)


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield _filled(
        "`sinergi [OPTIONS] COMMAND`. Standard output carries data, standard error everything"
        " else. `--help` after any command says the same as this page."
    )
    yield "\n".join(_item(f"`{status:d}`", said) for status, said in STATUSES.items())
    yield "### Options of all commands, before the command\n"
    yield _listed(typer.main.get_command(root.app))
    for words, command in spoken_commands():
        arguments = [_written(each, command) for each in command.params if not _is_option(each)]
        yield f"### {' '.join(['sinergi', words, *arguments])}\n"
        yield "\n\n".join(_paragraphs(command))
        yield from filter(None, [_listed(command)])


def _paragraphs(command: Any) -> Iterator[str]:
    """What a command says of itself; an example stays as it is written."""
    for part in inspect.cleandoc(command.help or "").replace("\b", "").split("\n\n"):
        text = part.strip("\n")
        if "\n  sinergi " in text:
            head, _, lines = text.partition("\n")
            shown = textwrap.indent(textwrap.dedent(lines), "$ ")
            yield f"{head}\n\n```console\n{shown}\n```"
        else:
            yield _filled(re.sub(r"^Example: (.*)$", r"Example: `\1`", text))


def _listed(command: Any) -> str:
    return "\n".join(_item(f"`{written}`", meaning) for written, meaning in options(command))


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _written(parameter: Any, command: Any) -> str:
    if not _is_option(parameter):
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name}]"
    names = ", ".join(parameter.opts)
    return names if parameter.is_flag else f"{names} {_value(parameter, command)}"


def _value(parameter: Any, command: Any) -> str:
    """What an option takes, out of the function's own signature: typer's insides change."""
    hint = get_type_hints(inspect.unwrap(command.callback))[parameter.name]
    inner = [each for each in get_args(hint) if each is not NoneType]
    if parameter.metavar:
        return str(parameter.metavar)
    if get_origin(hint) is Literal:
        return "|".join(inner)
    kind: type = hint if isinstance(hint, type) else inner[0]
    if issubclass(kind, Enum):
        return "|".join(str(each.value) for each in kind.__members__.values())
    return {Path: "PATH", int: "NUMBER"}.get(kind, "TEXT")


def _meaning(parameter: Any) -> str:
    said = (parameter.help or "").rstrip(".")
    default = parameter.default
    if _is_option(parameter) and parameter.required:
        said += ". Required"
    elif _is_option(parameter) and not parameter.is_flag and default is not None:
        said += f". Default `{getattr(default, 'value', default)}`"
    if parameter.envvar:
        said += f". Environment: `{parameter.envvar}`"
    return f"{said}."


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield _filled(
        "From `sinergi.toml` (`--config`, `SINERGI_CONFIG`, else `./sinergi.toml`, else"
        " `/etc/sinergi/sinergi.toml`), then the environment, then `--set KEY=VALUE`: the later"
        " one wins. In the file a key `kafka.bootstrap` is `bootstrap` under `[kafka]`; in the"
        " environment it is `SINERGI_KAFKA__BOOTSTRAP`. Paths in the file are relative to it."
        " `sinergi settings` shows which values hold, and where each comes from. Those under"
        " `timeouts` are defined in `schemas/sinergi_schemas/timeouts.py`, which also says where"
        " each goes."
    )
    yield "\n".join(
        _item(f"`{key}`", f"{meaning}. {default}. `{variable(key)}`")
        for key, (default, meaning) in settings().items()
    )


# The tables of an agreement's file, each with the head under which its keys stand.
AGREEMENT = {
    "at the top, before any table": (tables.HeadTable, tables.NumbersTable),
    "[in_force]": (tables.InForceTable,),
    "[parties.AGENCY], one for each party": (tables.PartyTable,),
    "each of receipt_keys": (tables.ReceiptKeyTable,),
    "each of replaced_keys": (tables.ReplacedKeyTable,),
    "principals": (tables.PrincipalsTable,),
    "[events.EVENT_TYPE], one for each event type": (tables.EventsTable,),
    "[auditors.AUDITOR], one for each auditor": (tables.AuditorTable,),
}


def _agreement() -> Iterator[str]:
    yield "## The file of an agreement\n"
    yield _filled(
        "TOML, one file for each version of an agreement, byte for byte the same at all parties. "
        "`sinergi init` prints the table of a party, and `sinergi agreement check` names all that "
        "is wrong. [examples/agreement](../examples/agreement/banyuwangi.toml) is a whole one. "
        "Beside it stands its note, FILE.note, with the signatures of the parties "
        "(`sinergi agreement sign`)."
    )
    for head, models in AGREEMENT.items():
        yield f"### {head}\n"
        yield "\n".join(
            _item(f"`{field.alias or name}`", _described(field))
            for model in models
            for name, field in model.model_fields.items()
        )


def _described(field: FieldInfo) -> str:
    optional = "" if field.is_required() else "; may be left out"
    return f"{field.description}{optional}"


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield _filled(
        "What `/metrics` answers where a process has `--listen HOST:PORT`. After the name stand"
        " the type, the labels and the processes that show it. Beside these stand the metrics"
        " `process_…` of prometheus-client: memory, processor time and open files of the process."
        " What is read from the database or the brokers is as old as `sinergi_look_age_seconds`"
        " says. Each worker of a database shows the same figures of the database: take the"
        " largest, not the sum."
    )
    yield "\n".join(
        _item(
            f"`{each.name}`",
            f"{each.kind}{_labels(each)}; {', '.join(each.processes)}."
            f" {each.meaning[0].upper()}{each.meaning[1:]}.",
        )
        for each in METRICS
    )


def _labels(metric: MetricDefinition) -> str:
    return f" by {', '.join(f'`{label}`' for label in metric.labels)}" if metric.labels else ""


def _default(value: object) -> str:
    return "No default" if value is None else f"Default `{value}`"


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield _filled("What stands in braces is filled in. `--debug` shows where an error arose.")
    for policy, said in POLICIES.items():
        yield f"### {policy.__name__}\n"
        yield _filled(said)
        yield "\n".join(_item(f"**{each.__name__}**", message(each)) for each in kinds(policy))


def _item(name: str, text: str) -> str:
    return _wrap(f"- {name}: {text}", "  ")


def _filled(text: str) -> str:
    return _wrap(text, "")


def _wrap(text: str, indent: str) -> str:
    """Fold a text, but never within a name or a command between backticks."""
    kept = re.sub(r"`[^`]*`|<", _kept, text)
    folded = textwrap.fill(
        " ".join(re.split(r"[ \n]+", kept)),
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return folded.replace("\N{NO-BREAK SPACE}", " ")


def _kept(found: re.Match[str]) -> str:
    """Code in one piece; a bracket outside it would open a tag."""
    return "\\<" if found[0] == "<" else found[0].replace(" ", "\N{NO-BREAK SPACE}")


if __name__ == "__main__":
    sys.stdout.write(page())
