"""What a client may send in a second: it is not read from until its bucket has room again."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import PingReqPacket, PubAckPacket, PublishPacket, PubRelPacket

from broker.core.limits import Limits
from tests.broker.core.harness import V5, V311, Client, House, device, login

RATES: dict[str, Any] = {
    "device_messages_per_second": 8,
    "device_bytes_per_second": 1_024,
    "rate_burst_seconds": 2.0,
}
BURST = 16


def a_house(**limits: Any) -> House:
    house = House(**{**RATES, **limits})
    house.principals["d1"] = device("d1")
    return house


@pytest.fixture
def house() -> House:
    return a_house()


def a_device(house: House, **options: Any) -> Client:
    return house.connect("d1", username="d1", **options)


def publish_many(client: Client, count: int) -> None:
    """In one read."""
    one = b"\x30\x04\x00\x01a\x00"
    client.send_bytes(one * count)


def test_a_burst_is_taken_and_what_is_above_it_waits(house: House) -> None:
    client = a_device(house)
    for _ in range(BURST):
        client.publish("a")
    assert client.reading is True
    client.publish("a")
    assert client.reading is False
    assert client.closed is None
    assert house.core.pacing.slowed == 1
    house.wait(0.125)
    assert client.reading is True
    assert house.core.pacing.slowed == 0


def test_in_the_long_run_it_is_the_rate(house: House) -> None:
    client = a_device(house)
    began, sent = house.now, 0
    while house.now < began + 100:
        if client.reading:
            client.publish("a")
            sent += 1
        else:
            house.wait(0.01)
    assert BURST + 8 * 100 - 5 <= sent <= BURST + 8 * 100 + 5


def test_bytes_are_counted_beside_messages(house: House) -> None:
    client = a_device(house)
    client.publish("a", b"." * 1_500)
    assert client.reading is True
    client.publish("a", b"." * 1_500)
    assert client.reading is False
    house.wait(0.9)
    assert client.reading is False
    house.wait(0.2)
    assert client.reading is True


def test_what_was_read_at_once_is_taken_and_paid_for(house: House) -> None:
    reader = house.connect("c1")
    reader.subscribe("a", qos=0)
    client = a_device(house)
    publish_many(client, BURST + 40)
    assert len(reader.payloads()) == BURST + 40
    house.wait(4.9)
    assert client.reading is False
    house.wait(0.2)
    assert client.reading is True


def test_a_slowed_client_is_not_silent(house: House) -> None:
    client = a_device(house, keep_alive=1)
    publish_many(client, BURST + 80)
    house.wait(9)
    assert client.reading is False
    assert client.closed is None
    house.wait(2)
    assert client.reading is True
    house.wait(2)
    assert client.closed is not None, "from then on it is"


def test_who_connects_anew_has_the_bucket_of_before(house: House) -> None:
    client = a_device(house)
    publish_many(client, BURST + 24)
    client.drop()
    again = a_device(house)
    assert again.reading is False
    house.wait(2.9)
    assert again.reading is False
    house.wait(0.2)
    assert again.reading is True


def test_a_bucket_that_is_full_is_forgotten(house: House) -> None:
    client = a_device(house)
    publish_many(client, BURST + 30)
    client.drop()
    house.wait(60)
    assert not house.core.pacing._paces
    publish_many(a_device(house), BURST)
    house.wait(60)
    assert house.core.pacing._paces, "it is connected"


def test_services_are_as_fast_as_they_like(house: House) -> None:
    client = house.connect("c1")
    publish_many(client, 10_000)
    assert client.reading is True
    assert client.connection.pace is None


def test_connections_of_a_service_share_its_rate() -> None:
    house = a_house(service_messages_per_second=8)
    first, second = house.connect("c1"), house.connect("c2")
    publish_many(first, BURST - 1)
    assert first.reading is True
    publish_many(second, 9)
    assert second.reading is False
    publish_many(first, 8)
    assert first.reading is False
    house.wait(1.1)
    assert second.reading is False, "the other one took of it meanwhile"
    house.wait(1.1)
    assert second.reading is True
    assert first.reading is True


def test_all_packets_count_but_acknowledgements_of_messages(house: House) -> None:
    client = a_device(house)
    for _ in range(BURST):
        client.send(PubAckPacket(1))
    client.send(PingReqPacket())
    client.publish("a", qos=2, packet_id=5)
    client.send(PubRelPacket(5))
    for _ in range(BURST - 3):
        client.send(PingReqPacket())
    assert client.reading is True
    client.send(PingReqPacket())
    assert client.reading is False


def test_a_client_above_its_rate_is_one_line_in_ten_minutes(house: House) -> None:
    client = a_device(house)

    def lines() -> list[str]:
        return [line for line in house.notices if "not read from" in line]

    for _ in range(400):
        publish_many(client, BURST + 4)
        assert client.reading is False
        house.wait(2.5)
        assert client.reading is True
    said = "d1: not read from for a while: it sends more than 8 messages or 1024 bytes a second"
    assert lines() == [said, f"{said}, 240 times since this was last told"]
    assert house.core.counters.clients_slowed == 400


def test_it_waits_for_both_reasons() -> None:
    house = a_house(queued_bytes=6_000)
    reader = house.resume("c1")
    reader.subscribe("a")
    reader.drop()
    publisher = house.connect("c9")
    for _ in range(2):
        publisher.publish("a", b"." * 3_000, qos=1)
    client = a_device(house, protocol=V311)
    client.publish("a", b"x" * 4_000, qos=1)
    assert client.connection.stalled
    assert client.connection.slowed
    house.wait(1_000)
    assert not client.connection.slowed
    assert client.reading is False, "there is still no room"
    reader = house.resume("c1")
    for packet in reader.take(PublishPacket):
        reader.acknowledge(packet)
    assert client.reading is True
    assert len(client.take(PubAckPacket)) == 1


def test_new_rates_hold_for_who_is_connected(house: House) -> None:
    client = a_device(house)
    publish_many(client, BURST + 500)
    assert client.reading is False
    house.core.change_limits(Limits(**RATES | {"device_messages_per_second": 100}))
    house.wait(0)
    assert client.reading is True
    publish_many(client, 199)
    assert client.reading is True
    none = {"device_messages_per_second": None, "device_bytes_per_second": None}
    house.core.change_limits(Limits(**RATES | none))
    publish_many(client, 10_000)
    assert client.reading is True
    house.core.change_limits(Limits(**RATES))
    publish_many(client, BURST + 1)
    assert client.reading is False


def test_a_client_that_leaves_meanwhile_is_forgotten(house: House) -> None:
    client = a_device(house)
    publish_many(client, BURST + 500)
    client.drop()
    assert house.core.pacing.slowed == 0
    house.wait(1_000)
    assert house.core.pacing.slowed == 0


def test_what_is_sent_before_the_login_counts(house: House) -> None:
    house.answer_logins = False
    client = house.open(V5)
    connect = b"\x10\x13\x00\x04MQTT\x05\x82\x00\x00\x00\x00\x02d1\x00\x02d1"
    client.send_bytes(connect + b"\x30\x04\x00\x01a\x00" * (BURST + 1))
    (request,) = house.logins
    house.answer_logins = True
    house.core.admitting.authenticated(request.connection, login(house.principals["d1"]), house.now)
    house.settle()
    assert client.reading is False
