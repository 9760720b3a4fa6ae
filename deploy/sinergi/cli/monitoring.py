"""The option `--listen` of the commands that run for ever."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi_schemas.observer import UNOBSERVED
from sinergi_schemas.plain_text import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi.metrics.address import ListenAddress
    from sinergi.metrics.monitoring import MonitoredProcess, Monitoring
    from sinergi.settings.settings import Settings
    from sinergi_schemas.observer import Observer


def _checked(text: str | None) -> str | None:
    """The value of the option, if it is an address; it is refused before anything else is done."""
    # What is no text is refused after this, as for every option (`cli.arguments`).
    if text is not None and is_text(text):
        _address(text)
    return text


def _address(text: str) -> ListenAddress:
    from sinergi.metrics.address import ListenAddress  # noqa: PLC0415 - not for --help

    try:
        return ListenAddress.parse(text)
    except ValueError as why:
        raise typer.BadParameter(f"{text!r}: {why}", param_hint="--listen") from None


Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Answer /metrics (Prometheus), /healthz and /readyz here. Port 0 takes a free one.",
        callback=_checked,
    ),
]


@contextmanager
def observed(process: str, listen: str | None, settings: Settings) -> Iterator[Observer]:
    """What a process reports to, while it answers where `--listen` says.

    Enter it once the signals are blocked, since it starts threads.

    Args:
        process: the command, as `sinergi.metrics.definitions` names it.
        listen: the value of the option; without it nothing observes the process.

    Raises:
        ListenRefused: the address cannot be used.
    """
    if listen is None:
        yield UNOBSERVED
        return
    monitoring = monitoring_of(process, listen, settings)
    monitoring.start()
    try:
        yield monitoring.observer
    finally:
        monitoring.close()


def monitoring_of(process: str, listen: str, settings: Settings) -> Monitoring:
    """Metrics and health of a process, which do not answer yet.

    Args:
        process, listen: see `observed`.

    Raises:
        ListenRefused: the address cannot be used.
    """
    from sinergi.metrics.monitoring import Monitoring  # noqa: PLC0415 - not for --help

    about = _about(process, settings)
    return Monitoring(_address(listen), about, settings.values.timeouts.metrics)


def _about(process: str, settings: Settings) -> MonitoredProcess:
    from sinergi.metrics.agreed_topics import AgreedTopics  # noqa: PLC0415 - as above
    from sinergi.metrics.monitoring import MonitoredProcess  # noqa: PLC0415 - as above
    from sinergi_schemas.clock import SYSTEM  # noqa: PLC0415 - as above

    timeouts = settings.values.timeouts
    if process == "relay":
        from sinergi.metrics.sources import relay_looks  # noqa: PLC0415 - as above

        agreed = AgreedTopics(
            settings.agreements,
            lambda all_: all_.published_by(settings.agency),
            SYSTEM,
            timeouts.relay.reload,
        )
        looks = relay_looks(settings, agreed, SYSTEM)
        return MonitoredProcess(process, settings.agency, agreed, looks)
    if process == "materialise":
        from sinergi.metrics.sources import materialiser_looks  # noqa: PLC0415 - as above

        agreed = AgreedTopics(
            settings.agreements,
            lambda all_: all_.read_by(settings.agency),
            SYSTEM,
            timeouts.materialiser.reload,
        )
        looks = materialiser_looks(settings, agreed, SYSTEM)
        return MonitoredProcess(process, settings.agency, agreed, looks)
    agreed = AgreedTopics(settings.agreements, lambda _: (), SYSTEM, timeouts.provision.look)
    return MonitoredProcess(process, settings.values.agency or "", agreed)
