"""The root of the command line: options of all commands, and how errors become exit statuses."""

from __future__ import annotations

import os
import re
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EAGAIN, EMFILE, ENFILE, ENOMEM
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core
from typer.exceptions import TyperException

from sinergi.cli import commands, interrupts, logs, terminal
from sinergi.cli.arguments import checked
from sinergi.exit_status import ExitStatus
from sinergi_schemas import errors, near_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi.settings.settings import Settings

Level = Literal["debug", "info", "warning", "error"]


@dataclass
class Invocation:
    """The options that stood before the name of the command."""

    config: Path | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    debug: bool = False
    log_json: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings that hold for this invocation.

        Raises:
            SettingsRefused: with one line for each thing wrong.
        """
        from sinergi.settings.settings import load  # noqa: PLC0415 - not for --help

        found = load(self.config, self.overrides)
        for each in found.warnings():
            terminal.warn(each)
        return found


_invocation = Invocation()


def settings() -> Settings:
    """The settings for the command that is running.

    Raises:
        SettingsRefused: with one line for each thing wrong.
    """
    return _invocation.settings


def reader_settings(command: str) -> Settings:
    """The settings for a command that works on the database of a reading agency.

    Raises:
        ReaderCommand: they are those of an auditor, who has none.
        SettingsRefused: as `settings`.
    """
    found = settings()
    if found.values.agency is None and found.values.consumer.database is None:
        raise errors.ReaderCommand(command)
    return found


# A command that could not write all of its output does not end with these, but with ERROR.
_VERDICTS = (ExitStatus.SUCCESS, ExitStatus.NEGATIVE)

# Messages of typer and pydantic about an argument, and the words that replace them.
_VALIDATION = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^.*unable to parse raw data as a unicode string$"), "it is no text in UTF-8"),
    (re.compile(r"^Input should be a valid integer.*", re.DOTALL), "must be a whole number"),
    (re.compile(r"^Input should be a valid UUID.*", re.DOTALL), "must be a UUID"),
    (re.compile(r"^Input should be "), "must be "),
)


# What a process may lack, by the error number of the call that was refused.
_LIMITS = {
    EAGAIN: "no more threads or processes",
    EMFILE: "no more open files",
    ENFILE: "no more open files",
    ENOMEM: "no more memory",
}
_PANIC = re.compile(r"\bOs \{ code: ([0-9]+),")  # as Rust has the error number
_NO_THREAD = "can't start new thread"


@contextmanager
def _plain_messages() -> Iterator[None]:
    """Reword the messages of the libraries that check arguments for a command's user."""
    try:
        yield
    except typer.BadParameter as why:
        for pattern, replacement in _VALIDATION:
            why.message = pattern.sub(replacement, why.message)
        raise


class _Commands(typer.core.TyperGroup):
    """The commands of the table, each loaded when it is run and not before."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(commands.installed())

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        return commands.placeholder(cmd_name) if cmd_name in commands.installed() else None

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _plain_messages():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _plain_messages(), self._placing_options():
            return super().invoke(ctx)

    @contextmanager
    def _placing_options(self) -> Iterator[None]:
        """Say of an option that stands after the command that it has to stand before it."""
        try:
            yield
        except TyperException as why:
            unknown: Any = why
            name = getattr(unknown, "option_name", None)  # only the error for an unknown one has it
            if any(name in each.opts for each in self.params):
                unknown.message = f"{name} stands before the command: `sinergi {name} … COMMAND`"
                unknown.possibilities = None
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            name, _, rest = super().resolve_command(ctx, args)
        except TyperException as why:
            # The library knows the commands of a group, but not those that are loaded when needed.
            if near := near_names.near_name(args[0], commands.installed()):
                why.message = f"{why.message} Did you mean {near!r}?"
            raise
        return name, commands.load(name) if name else None, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 it is not so, 2 could not be done or checked.",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        terminal.show_line(f"sinergi {version('sinergi')}")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings file; else ./sinergi.toml or /etc/sinergi/sinergi.toml.",
            envvar="SINERGI_CONFIG",
            show_envvar=True,
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, as kafka.bootstrap=HOST:PORT."),
    ] = None,
    log_level: Annotated[
        Level,
        typer.Option(
            envvar="SINERGI_LOG_LEVEL",
            help="The least severe events that are logged to standard error.",
        ),
    ] = "info",
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json",
            envvar="SINERGI_LOG_JSON",
            help="Write the log, and why a command ends, as JSON lines.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="SINERGI_DEBUG", help="Show where an error arose.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and end."
        ),
    ] = False,
) -> None:
    """The bus over which agencies share what they know, exactly once and provably."""
    logs.set_up(log_level, as_json=log_json)
    _invocation.__dict__.pop("settings", None)
    _invocation.config = config
    _invocation.debug = debug
    _invocation.log_json = log_json
    _invocation.overrides = dict(_assignment(each) for each in override or ())


def _assignment(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--set")
    return key.strip(), value


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and give its exit status."""
    terminal.prepare()
    status = _end(_run(arguments))
    terminal.end_errors()
    is_unread = terminal.standard_error.is_incomplete and status in _VERDICTS
    return ExitStatus.ERROR if is_unread else status


def _end(status: int) -> int:
    """End standard output; the exit status then."""
    try:
        terminal.end()
    except BrokenPipeError:
        return ExitStatus.OUTPUT_CLOSED
    except errors.OutputRefused as why:
        if status != ExitStatus.ERROR:  # else the error may be about this very output
            _report(str(why), why)
        return ExitStatus.ERROR
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        checked(typer.main.get_command(app)).main(args=arguments, prog_name="sinergi")
    except SystemExit as why:
        if isinstance(why.__context__, BrokenPipeError):
            return ExitStatus.OUTPUT_CLOSED  # typer gives 1, which would mean NEGATIVE
        status = why.code if isinstance(why.code, int) else int(why.code is not None)
        if status == ExitStatus.STOPPED:
            _report("stopped")
        return status
    except KeyboardInterrupt:
        _report("stopped")
        return ExitStatus.STOPPED
    except errors.SinergiError as why:
        _report(str(why), why)
    except BaseException as why:  # noqa: BLE001 - the last resort, also where polars panics
        if interrupts.have_come() or _follows_interrupt(why):
            _report("stopped")
            return ExitStatus.STOPPED
        if isinstance(why, OSError) and isinstance(why.__context__, TyperException):
            return ExitStatus.ERROR  # a usage error that standard error does not take
        if isinstance(why, OSError) and _wrote_help(why):
            what = why.strerror or type(why).__name__
            unwritten = errors.OutputRefused(terminal.STANDARD_OUTPUT, what, "send it elsewhere")
            _report(str(unwritten), why)
            return ExitStatus.ERROR
        lacking = _lacking(why)
        bug = f"this is a bug: {type(why).__name__} at {_where(why)}. Run it again as "
        _report(lacking or f"{bug}`sinergi --debug …` and report what it shows.", why)
    return ExitStatus.ERROR


def _follows_interrupt(why: BaseException) -> bool:
    """Whether an error came of Ctrl-C.

    In a C function Ctrl-C becomes a SystemError. While modules load it leaves half a module, and
    whatever asks that one for a name on the way out gets an ImportError.
    """
    seen: list[BaseException] = []
    following: BaseException | None = why
    while following is not None and following not in seen:
        seen.append(following)
        following = following.__cause__ or following.__context__
    return any(isinstance(each, KeyboardInterrupt) for each in seen)


def _wrote_help(why: OSError) -> bool:
    """Whether the error comes from the libraries that write the help."""
    frames = traceback.extract_tb(why.__traceback__)
    return bool(frames) and bool({"click", "rich", "typer"} & set(Path(frames[-1].filename).parts))


def _lacking(why: BaseException) -> str:
    """What the system did not give this process; empty if the error is about something else."""
    found = _PANIC.search(str(why))
    code = int(found[1]) if found else why.errno if isinstance(why, OSError) else None
    if isinstance(why, MemoryError):
        code = ENOMEM
    elif isinstance(why, RuntimeError) and _NO_THREAD in str(why):
        code = EAGAIN
    if code not in _LIMITS:
        return ""
    what = f"The system gives this process {_LIMITS[code]} ({os.strerror(code)})"
    return f"{what}. Raise its limits, as `ulimit -a` shows them, or end other processes."


def _where(why: BaseException) -> str:
    frames = traceback.extract_tb(why.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _report(text: str, why: BaseException | None = None) -> None:
    """Write why the command ends to standard error, as a line of the log where that is JSON."""
    if _invocation.log_json:
        import structlog  # noqa: PLC0415 - not for --help

        known = {"error": type(why).__name__} if why else {}
        trace = {"exc_info": why} if _invocation.debug else {}
        structlog.get_logger().error(text, **known, **trace)
        return
    if why is not None and _invocation.debug:
        terminal.note_traceback("".join(traceback.format_exception(why)).rstrip("\n"))
    terminal.note_lines(f"sinergi: {text}")
