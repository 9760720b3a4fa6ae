"""The bus of deploy/compose: what an agency publishes arrives, also with a broker less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from containers import images, sinergi_image
from containers.compose import AGENCIES, COMPOSE, ComposedBus, composed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.needs(images.ENGINE),
    pytest.mark.needs(COMPOSE),
    pytest.mark.long,
]

KINDS = ("relay", "materialiser")

PUBLISH = """
import sys
from datetime import datetime, timezone
import psycopg
from sinergi import Transfer, Unit, open_outbox

at = datetime(2026, 3, 9, 7, 30, tzinfo=timezone.utc)
event = Transfer(
    record_id=sys.argv[1], action="RECORDED", occurred_at=at, departed_at=at,
    zone="Asia/Jakarta", purpose="INVESTIGATION", handling="R",
    origin=Unit(name="Lapas Rekaan"), destination=Unit(name="Rutan Rekaan"), reason="SECURITY",
)
with psycopg.connect("host=lapas-database user=sinergi_application dbname=postgres") as connection:
    open_outbox().publish(connection, event)
"""

# It waits for the row itself; the time only bounds how long a failing test waits.
AWAIT = """
import sys, time
import psycopg

end = time.monotonic() + 300
with psycopg.connect(
    "host=bnnk-database user=sinergi_reader dbname=postgres", autocommit=True
) as connection:
    query = "SELECT count(*) FROM sinergi.transfer WHERE record_id = ANY(%s)"
    while (count := connection.execute(query, [sys.argv[1:]]).fetchone()[0]) < len(sys.argv) - 1:
        assert time.monotonic() < end, count
        time.sleep(0.5)
print(count)
"""

# It also waits until each process has read what its metrics need, in the database as its own role.
ASK = """
import sys, time
from urllib.request import urlopen

end = time.monotonic() + 300
for service in sys.argv[1:]:
    address = f"http://{service}:9464"
    while True:
        lines = urlopen(f"{address}/metrics").read().decode().splitlines()
        looks = [each for each in lines if each.startswith("sinergi_look_up{")]
        if all(each.endswith(" 1.0") for each in looks):
            break
        assert time.monotonic() < end, looks
        time.sleep(0.5)
    print(service, urlopen(f"{address}/readyz").status, len(looks))
"""


# A partition whose other copies lag has no leader while its broker is away, and nothing arrives.
WHOLE = """
import time
from sinergi.settings.settings import load
from sinergi_schemas.kafka.admin import open_admin

admin, end = open_admin(load().connection()), time.monotonic() + 300
while True:
    topics = admin.list_topics(timeout=60).topics.values()
    lagging = [
        (topic.topic, number)
        for topic in topics
        for number, each in topic.partitions.items()
        if len(each.isrs) < 3
    ]
    if topics and not lagging:
        break
    assert time.monotonic() < end, lagging
    time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposedBus]:
    with images.engine() as client:
        names = {
            "KAFKA_IMAGE": images.kafka().build(client),
            "POSTGRES_IMAGE": images.postgresql().build(client),
            "SINERGI_IMAGE": sinergi_image.build(client, tmp_path_factory.mktemp("source")),
        }
    with composed(tmp_path_factory.mktemp("deploy"), names) as found:
        yield found


def test_an_event_of_one_agency_becomes_a_row_of_the_other(bus: ComposedBus) -> None:
    bus.python("lapas-relay", PUBLISH, "MUT/1")
    assert bus.python("bnnk-relay", AWAIT, "MUT/1") == "1\n"
    services = [f"{each}-{kind}" for each in AGENCIES for kind in KINDS]
    ready = "".join(f"{each} 200 2\n" for each in services)
    assert bus.python("lapas-relay", ASK, "provision", *services) == f"provision 200 0\n{ready}"


def test_a_process_logs_in_to_the_database_with_the_rights_of_its_role_alone(
    bus: ComposedBus,
) -> None:
    code = """
import sys
import psycopg
for user, query in (("sinergi_relay", "DELETE FROM sinergi_producer.outbox"),
                    ("sinergi_application", "SELECT FROM sinergi_producer.outbox"),
                    ("sinergi_materialiser", "DELETE FROM sinergi.transfer_history"),
                    ("sinergi_reader", "DELETE FROM sinergi.transfer")):
    host = sys.argv[1]
    with psycopg.connect(f"host={host} user={user} dbname=postgres") as connection:
        try:
            connection.execute(query)
        except psycopg.errors.InsufficientPrivilege:
            print("refused")
"""
    assert bus.python("bnnk-relay", code, "bnnk-database") == "refused\n" * 4


@pytest.mark.parametrize("broker", ["broker-1", "broker-2", "broker-3"])
def test_events_arrive_while_a_broker_is_away(bus: ComposedBus, broker: str) -> None:
    bus.python("provision", WHOLE)
    bus.compose("kill", broker)
    bus.python("lapas-relay", PUBLISH, f"MUT/{broker}")
    assert bus.python("bnnk-relay", AWAIT, f"MUT/{broker}") == "1\n"
    bus.compose("start", broker)


def test_whoever_has_no_right_and_no_password_gets_nothing(bus: ComposedBus) -> None:
    """A client in the same network, which knows the authority's certificate."""
    code = """
from confluent_kafka.admin import AdminClient
from confluent_kafka import KafkaException
for port, options in ((9093, {"security.protocol": "plaintext"}), (9091, {}), (9094, {})):
    options = {"security.protocol": "ssl", "ssl.ca.location": "ca.pem"} | options
    admin = AdminClient({"bootstrap.servers": f"broker-1.example:{port}", **options})
    try:
        print(admin.list_topics(timeout=5).topics)
    except KafkaException as why:
        print("refused")
"""
    assert bus.python("lapas-relay", code) == "refused\n" * 3
