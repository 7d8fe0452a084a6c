"""A broker on a registry that changes while clients are connected, and what they notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)
from sqlalchemy.engine import URL

from broker.auth.identity import Password, Validity
from broker.auth.password_hash import PasswordHash
from broker.registry.entries import Entry
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from tests.broker.registry.contents import CHEAP
from tests.broker.server.conftest import Running
from tests.broker.server.raw_client import Raw, raw

SECOND = 1.0
NOT_AUTHORIZED = 0x87


def password(identifier: str, text: str = "right", **validity: float) -> Password:
    encoded = PasswordHash(encoded=CHEAP.hash(text))
    return Password(id=identifier, hash=encoded, validity=Validity(**validity))


def changed(registry: SqlRegistry, name: str, **values: Any) -> None:
    def change(entry: Entry | None) -> Entry:
        assert entry is not None
        return replace(entry, **values)

    registry.edit(name, change)


def put_devices(registry: SqlRegistry, **roles: str) -> None:
    """Devices by name with their roles, and the password that ``connect`` gives."""
    for name, role in roles.items():
        entry = Entry(name=name, role=role, credentials=(password(f"{name}/1"),))
        registry.edit(name, lambda _, entry=entry: entry)  # type: ignore[misc]  # bound at once


@pytest.fixture
def registry(open_registry: Callable[[], SqlRegistry]) -> SqlRegistry:
    registry = open_registry()
    registry.put_role("plain", Role(publish=Patterns(allow=("%device/a", "%device/b"))))
    registry.edit("d1", lambda _: Entry(name="d1", credentials=(password("d1/1"),)))
    return registry


@pytest.fixture
def broker(start: Callable[..., Running], registry: SqlRegistry, url: URL) -> Running:
    return start(registry_file=None, registry_url=url)


def connect(client: Raw, name: str = "d1", text: str = "right", **options: Any) -> int:
    client.send(ConnectPacket(name, username=name, password=text.encode(), **options))
    answer = client.next()
    assert isinstance(answer, ConnAckPacket)
    return int(answer.reason_code)


@contextmanager
def connected(broker: Running, **options: Any) -> Iterator[Raw]:
    with raw(broker) as client:
        assert connect(client, **options) == 0
        yield client


def goodbye(client: Raw) -> DisconnectPacket:
    """The DISCONNECT that comes within a second."""
    client.socket.settimeout(SECOND)
    packet = client.next()
    assert isinstance(packet, DisconnectPacket), packet
    return packet


def published(client: Raw, topic: str) -> int:
    client.send(PublishPacket(topic, b"", qos=QoS.AT_LEAST_ONCE, packet_id=7))
    answer = client.next()
    assert isinstance(answer, PubAckPacket)
    return int(answer.reason_code)


def subscribed(client: Raw, topic_filter: str) -> int:
    client.send(SubscribePacket(8, [TopicFilter(topic_filter)]))
    answer = client.next()
    assert isinstance(answer, SubAckPacket)
    return int(answer.reason_codes[0])
