"""A TLS certificate that is refused: the error names the one cause, and what mends it."""

from __future__ import annotations

import ssl
from contextlib import contextmanager, suppress
from datetime import timedelta
from socket import create_server
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from secured_kafka import Authority
from sinergi.local import certificates
from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from socket import socket

VERIFY_FAILED = "SSL handshake failed: SSL routines::certificate verify failed: broker certificate"
UNKNOWN = "Receive failed: SSL routines::ssl/tls alert certificate unknown: SSL alert number 46"
REQUIRED = "Receive failed: SSL routines::tlsv13 alert certificate required: SSL alert number 116"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority("tests")
    made.write(tmp_path / "ca.pem")
    return made


@contextmanager
def validity(monkeypatch: pytest.MonkeyPatch, days: tuple[int, int]) -> Iterator[None]:
    """From which to which day the certificates of the block are valid, counted from today."""
    begins, ends = days
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_BEFORE", timedelta(days=-begins))
        patched.setattr(certificates, "_VALID", timedelta(days=ends))
        yield


@contextmanager
def serving(file: Path) -> Iterator[int]:
    """A server on 127.0.0.1 that shows the certificate in a file; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=answer, args=(server, context), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(2)
        thread.join()


def answer(server: socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # the server is shut down
        while True:
            connection, _ = server.accept()
            with suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
                pass


def refusal(options: dict[str, str], line: str) -> errors.SinergiError:
    """The error of a call after librdkafka has logged a line."""
    connection = Connection("nowhere:1", options)
    connection.client_errors.observe_line(line)
    return connection.away("no answer")


def refused_broker(port: int, ca_file: Path | None, host: str = "127.0.0.1") -> str:
    """The error of a call, once librdkafka has refused a broker's certificate."""
    options = {"ssl.ca.location": str(ca_file)} if ca_file else {}
    found = refusal(options, f"ssl://{host}:{port}/bootstrap: {VERIFY_FAILED}")
    assert isinstance(found, errors.BrokerCertificateRefused)
    text = str(found)
    assert text.startswith(f"The TLS certificate of {host}:{port} is not valid here: ")
    return text


def test_a_broker_of_another_authority_is_told_with_the_authority(
    tmp_path: Path, authority: Authority
) -> None:
    other = Authority("somebody else").write(tmp_path / "other.pem")
    with serving(authority.write_server(tmp_path / "broker.pem")) as port:
        text = refused_broker(port, other)
        assert "ca_file does not hold the authority that has issued it, CN=tests (" in text
        assert "Mend ca_file under [kafka] in sinergi.toml: it has to hold" in text
        text = refused_broker(port, None)
        assert "this machine does not know the authority that has issued it, CN=tests (" in text


def test_a_broker_of_another_host_is_told_with_the_host(
    tmp_path: Path, authority: Authority
) -> None:
    with serving(authority.write_server(tmp_path / "broker.pem")) as port:
        text = refused_broker(port, tmp_path / "ca.pem", "localhost")
    assert "it is not issued for localhost but for 127.0.0.1 (" in text
    assert "Name the brokers in bootstrap under [kafka] in sinergi.toml as" in text


@pytest.mark.parametrize(
    ("days", "told"), [((-9, -1), "it was valid until 20"), ((1, 9), "it is valid from 20")]
)
def test_a_broker_whose_certificate_is_not_valid_now_is_told_with_the_time(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    days: tuple[int, int],
    told: str,
) -> None:
    with validity(monkeypatch, days):
        file = authority.write_server(tmp_path / "broker.pem")
    with serving(file) as port:
        text = refused_broker(port, tmp_path / "ca.pem")
    assert told in text
    assert "`date`" in text
    assert "ca_file" not in text


def test_a_broker_whose_certificate_is_valid_or_that_is_gone_leaves_all_causes(
    tmp_path: Path, authority: Authority
) -> None:
    options = {"ssl.ca.location": str(tmp_path / "ca.pem")}
    with serving(authority.write_server(tmp_path / "broker.pem")) as port:
        line = f"sasl_ssl://127.0.0.1:{port}/1: {VERIFY_FAILED}"
        valid = refusal(options, line)
    gone = refusal(options, line)
    for each in (valid, gone):
        assert "by this machine's clock" in str(each)
        assert "Mend ca_file under [kafka]" in str(each)


def test_a_broker_is_asked_once_although_many_calls_fail(
    tmp_path: Path, authority: Authority
) -> None:
    other = Authority("somebody else").write(tmp_path / "other.pem")
    connection = Connection("nowhere:1", {"ssl.ca.location": str(other)})
    with serving(authority.write_server(tmp_path / "broker.pem")) as port:
        line = f"ssl://127.0.0.1:{port}/bootstrap: {VERIFY_FAILED}"
        connection.client_errors.observe_line(line)
        first = str(connection.away("no answer"))
    connection.client_errors.observe_line(line)
    assert str(connection.away("no answer")) == first


@pytest.mark.parametrize(
    ("days", "line", "told"),
    [
        ((-9, -1), UNKNOWN, "and this one was valid until 20"),
        ((-9, -1), REQUIRED, "and this one was valid until 20"),
        ((1, 9), UNKNOWN, "and this one is valid from 20"),
        ((-1, 1), REQUIRED, "does not trust the authority that has issued this one, CN=tests ("),
        ((-1, 1), UNKNOWN, "or it is not valid now by the broker's clock"),
    ],
)
def test_a_client_certificate_that_is_refused_is_looked_at(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    days: tuple[int, int],
    line: str,
    told: str,
) -> None:
    with validity(monkeypatch, days):
        own = authority.write_client(tmp_path, "lapas")
    options = {"ssl.certificate.location": own["certificate_file"]}
    text = str(refusal(options, f"ssl://127.0.0.1:1/bootstrap: {line}"))
    assert "the broker requires a client certificate, and " in text
    assert told in text
    assert "Mend certificate_file and private_key_file under [kafka]" in text


@pytest.mark.parametrize(
    ("alert", "told"),
    [
        ("certificate expired", "this one has expired by the broker's clock"),
        ("certificate revoked", "this one was revoked"),
        ("unknown ca", "it does not trust the authority that has issued this one"),
    ],
)
def test_what_a_broker_says_of_a_client_certificate_is_the_cause(alert: str, told: str) -> None:
    line = f"ssl://127.0.0.1:1/bootstrap: Receive failed: SSL routines::tlsv1 alert {alert}: SSL"
    text = str(refusal({"ssl.certificate.location": "nowhere.pem"}, line))
    assert f"the broker requires a client certificate, and {told} (" in text
