"""The connection against real brokers: this project's own, and mosquitto where it is installed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mqtt.client import (
    Batch,
    BrokerAddress,
    ConnectionSettings,
    LeavingSubscriber,
    Message,
    Publisher,
    Subscriber,
)
from mqtt.codec import ProtocolVersion
from mqtt.errors import ConnectionRefused
from mqtt.topics import TopicFilter
from tests.harness.brokers import start_mosquitto, start_own
from tests.harness.processes import Processes
from tests.harness.waiting import wait_until
from tests.mqtt.client.conftest import Connect, Subscribe

VERSIONS = [ProtocolVersion.V5, ProtocolVersion.V311]


@dataclass(frozen=True)
class Site:
    """A broker with a device ``d1`` and a pipeline ``telemetry``."""

    address: BrokerAddress
    passwords: dict[str, str]

    def settings(self, user: str, client_id: str, **changes: Any) -> ConnectionSettings:
        password = self.passwords.get(user)
        credentials: dict[str, Any] = {}
        if password is not None:
            credentials = {"username": user, "password": password.encode}
        return ConnectionSettings(
            addresses=(self.address,),
            client_id=client_id,
            backoff_initial_seconds=0.05,
            **(credentials | changes),
        )


@pytest.fixture(scope="module", params=["own", "mosquitto"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        if request.param == "own":
            broker = start_own(processes, folder, devices=["d1"])
        else:
            broker = start_mosquitto(processes, folder)
        address = BrokerAddress(broker.host, broker.port, False)
        yield Site(address, dict(broker.passwords))


@pytest.fixture
def stream() -> str:
    """A part of a topic that is this test's own."""
    return secrets.token_hex(4)


def collect(subscriber: Subscriber, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        batch = subscriber.take(1_000, 10)
        assert batch is not None, f"{len(got)} of {count} messages came"
        got += [packet.payload for packet in batch.packets]
        subscriber.acknowledge([batch])
    return got


def numbered(stream: str, count: int, start: int = 0) -> list[Message]:
    topic = f"devices/d1/telemetry/{stream}"
    return [Message(topic=topic, payload=b"%d" % (start + index)) for index in range(count)]


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_arrive_in_order_and_are_acknowledged(
    site: Site, stream: str, subscribe: Subscribe, publish: Connect, version: ProtocolVersion
) -> None:
    subscriber = subscribe(
        site.settings("telemetry", f"telemetry-{stream}", protocol=version),
        f"devices/+/telemetry/{stream}",
    )
    subscriber.wait_ready(10)
    publisher = publish(site.settings("d1", "d1", protocol=version))
    publisher.wait_ready(10)
    assert publisher.publish(numbered(stream, 3_000), timeout_seconds=20) == [0] * 3_000
    assert collect(subscriber, 3_000) == [b"%d" % number for number in range(3_000)]
    assert subscriber.counters["redelivered"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_not_acknowledged_comes_again_to_the_same_client(
    site: Site, stream: str, publish: Connect, version: ProtocolVersion
) -> None:
    settings = site.settings(
        "telemetry", f"telemetry-{stream}", protocol=version, session_expiry_seconds=600
    )
    first = subscriber_of(settings, stream)
    publisher = publish(site.settings("d1", "d1"))
    publisher.publish(numbered(stream, 10), timeout_seconds=10)
    batch = first.take(4, 10)
    assert batch is not None
    first.acknowledge([batch])
    done = {packet.payload for packet in batch.packets}
    first.close()
    publisher.publish(numbered(stream, 10, start=10), timeout_seconds=10)
    second = subscriber_of(settings, stream)
    try:
        expected = {b"%d" % number for number in range(20)} - done
        assert set(collect(second, len(expected))) == expected
    finally:
        second.close()


def subscriber_of(settings: ConnectionSettings, stream: str) -> Subscriber:
    subscriber = Subscriber(settings, [TopicFilter(f"devices/+/telemetry/{stream}")])
    subscriber.wait_ready(10)
    return subscriber


def test_shards_share_a_subscription(
    site: Site, stream: str, subscribe: Subscribe, publish: Connect
) -> None:
    shards = [
        subscribe(
            site.settings("telemetry", f"telemetry-{stream}-{shard}"),
            f"$share/telemetry-{stream}/devices/+/telemetry/{stream}",
        )
        for shard in range(3)
    ]
    for shard in shards:
        shard.wait_ready(10)
    publisher = publish(site.settings("d1", "d1"))
    publisher.publish(numbered(stream, 300), timeout_seconds=10)
    got: list[bytes] = []
    while len(got) < 300:
        for shard in shards:
            batch = shard.take(1_000, 0.1)
            if batch is not None:
                got += [packet.payload for packet in batch.packets]
                shard.acknowledge([batch])
    assert sorted(got) == sorted(b"%d" % number for number in range(300))
    assert all(shard.counters["received"] for shard in shards)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_member_that_leaves_takes_nothing_along(
    site: Site, stream: str, subscribe: Subscribe, publish: Connect, version: ProtocolVersion
) -> None:
    shared = f"$share/telemetry-{stream}/devices/+/telemetry/{stream}"
    members = [
        site.settings(
            "telemetry",
            f"telemetry-{stream}-{shard}",
            protocol=version,
            session_expiry_seconds=600,
        )
        for shard in range(2)
    ]
    publisher = publish(site.settings("d1", "d1"))
    for member in [subscribe(settings, shared) for settings in members]:
        member.wait_ready(10)
    # Dealt out to both, and acknowledged by neither.
    publisher.publish(numbered(stream, 200), timeout_seconds=10)
    for settings in members:
        member = subscribe(settings, shared)
        wait_until(lambda member=member: member.counters["received"], seconds=10, what="a part")  # type: ignore[misc]  # a Subscriber
        member.close()
    leaving = LeavingSubscriber(members[1], [TopicFilter.parse(shared)], quiet_seconds=1.0)
    got: list[bytes] = []

    def left() -> bool:
        batch = leaving.take(1_000, 0.1)
        if batch is not None:
            got.extend(packet.payload for packet in batch.packets)
            leaving.acknowledge([batch])
        return leaving.left

    wait_until(left, seconds=20, what="the end of the session")
    assert 0 < len(got) < 200
    # Nothing is dealt to it any more.
    publisher.publish(numbered(stream, 100, start=200), timeout_seconds=10)
    stays = subscribe(members[0], shared)
    got += collect(stays, 300 - len(set(got)))
    assert sorted(set(got)) == sorted(b"%d" % number for number in range(300))
    assert leaving.counters["sessions_ended"] == 1
    assert leaving.link.settings.client_id == members[1].client_id
    again = LeavingSubscriber(members[1], [TopicFilter.parse(shared)], quiet_seconds=60.0)
    wait_until(lambda: again.left, seconds=5, what="no session to be there")
    assert again.counters["received"] == 0


def test_a_member_does_not_leave_before_what_it_took_is_stored(
    site: Site, stream: str, publish: Connect
) -> None:
    settings = site.settings("telemetry", f"telemetry-{stream}", session_expiry_seconds=600)
    empty = site.settings("telemetry", f"telemetry-{stream}-empty", session_expiry_seconds=600)
    subscriber_of(empty, f"{stream}-nothing").close()
    first = subscriber_of(settings, stream)
    publisher = publish(site.settings("d1", "d1"))
    publisher.publish(numbered(stream, 10), timeout_seconds=10)
    first.close()
    filters = [TopicFilter(f"devices/+/telemetry/{stream}")]
    leaving = LeavingSubscriber(settings, filters, quiet_seconds=0.2)
    batches: list[Batch] = []
    # They may come in several reads.
    while sum(len(each.packets) for each in batches) < 10:
        batch = leaving.take(100, 10)
        assert batch is not None
        batches.append(batch)
    # Another, which began later and holds nothing, has left by then.
    other = LeavingSubscriber(empty, filters, quiet_seconds=0.2)
    wait_until(lambda: other.left, seconds=10, what="the end of an empty session")
    assert not leaving.left
    leaving.acknowledge(batches)
    wait_until(lambda: leaving.left, seconds=5, what="the end of the session")


def test_a_second_client_of_the_same_name_is_noticed(
    site: Site, stream: str, subscribe: Subscribe
) -> None:
    settings = site.settings("telemetry", f"telemetry-{stream}", backoff_maximum_seconds=0.2)
    pattern = f"devices/+/telemetry/{stream}"
    one, other = subscribe(settings, pattern), subscribe(settings, pattern)
    wait_until(
        lambda: one.counters["takeovers"] + other.counters["takeovers"],
        seconds=10,
        what="a take-over is told, or suspected",
    )


def test_a_publish_that_nobody_reads_says_so(site: Site, stream: str, publish: Connect) -> None:
    publisher = publish(site.settings("d1", "d1"))
    assert publisher.publish(numbered(stream, 2), timeout_seconds=10) == [0x10, 0x10]


def test_a_wrong_password_is_refused(site: Site, publish: Connect) -> None:
    if not site.passwords:
        pytest.skip("this broker takes anybody")
    settings = site.settings("d1", "d1").replace(password=lambda: b"wrong")
    publisher: Publisher = publish(settings)
    with pytest.raises(ConnectionRefused, match="wrong user name or password"):
        publisher.wait_ready(10)
