"""Rights that change hold within a second: to publish, to subscribe, to leave a will."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    PublishPacket,
    QoS,
    Will,
)
from sqlalchemy.engine import URL

from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind
from broker.config import StoreConfig
from broker.registry.entries import Entry
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import raw
from tests.broker.server.registry_changes import (
    NOT_AUTHORIZED,
    SECOND,
    broker,
    changed,
    connected,
    goodbye,
    password,
    published,
    put_devices,
    registry,
    subscribed,
)

__all__ = ["broker", "registry"]


def test_a_right_that_is_taken_from_who_is_away_is_gone_and_comes_back_with_the_role(
    broker: Running, registry: SqlRegistry
) -> None:
    wanted = "devices/d1/commands/#"
    listens, is_deaf = (Role(subscribe=Patterns(allow=(each,))) for each in (wanted, "other/#"))
    registry.put_role("listener", listens)
    changed(registry, "d1", role="listener")
    registry.put_role("writer", Role(publish=Patterns(allow=("devices/#",))))
    writer = Entry(
        name="w",
        kind=PrincipalKind.SERVICE,
        role="writer",
        client_id_prefix="w",
        credentials=(password("w/1"),),
    )
    registry.edit("w", lambda _: writer)
    lasting: dict[str, Any] = {"clean_start": False, "session_expiry_interval": 60}
    with connected(broker, **lasting) as client:
        assert subscribed(client, wanted) < NOT_AUTHORIZED
    session = broker.server.core.sessions.get("d1")
    assert session is not None
    eventually(lambda: session.connection is None)
    with connected(broker, name="w") as client:
        assert published(client, "devices/d1/commands/before") == 0
        registry.put_role("listener", is_deaf)
        eventually(lambda: list(session.asleep) == [wanted], seconds=SECOND)
        assert published(client, "devices/d1/commands/meanwhile") == 0x10
        registry.put_role("listener", listens)
        eventually(lambda: list(session.subscriptions) == [wanted], seconds=SECOND)
        assert published(client, "devices/d1/commands/after") == 0
    with connected(broker, **lasting) as client:
        came = [client.next() for _ in range(2)]
        assert [packet.topic for packet in came if isinstance(packet, PublishPacket)] == [
            "devices/d1/commands/before",
            "devices/d1/commands/after",
        ]


def test_a_right_that_is_taken_while_the_broker_is_down_is_gone_before_it_publishes_a_will(
    start: Callable[..., Running], registry: SqlRegistry, url: URL, tmp_path: Path
) -> None:
    everything = Patterns(allow=("#",))
    registry.put_role("watch", Role(subscribe=everything))
    registry.put_role("mourned", Role(will=everything))
    put_devices(registry, d1="watch", d2="watch", gone="mourned")
    lasting: dict[str, Any] = {"clean_start": False, "session_expiry_interval": 60}

    def start_one() -> Running:
        store = StoreConfig(file=tmp_path / "store.db")
        return start(registry_file=None, registry_url=url, store=store)

    broker = start_one()
    for name in ("d1", "d2"):
        with connected(broker, name=name, **lasting) as client:
            assert subscribed(client, "news") < NOT_AUTHORIZED
    will = Will("news", payload=b"", qos=QoS.AT_LEAST_ONCE, will_delay_interval=1)
    with connected(broker, name="gone", will=will, **lasting):
        pass
    gone = broker.server.core.sessions.get("gone")
    assert gone is not None
    eventually(lambda: gone.connection is None)
    broker.call(broker.server.stop())
    changed(registry, "d1", role="plain")
    time.sleep(1)
    broker = start_one()
    eventually(lambda: broker.server.core.counters.wills_published)
    d1, d2 = (broker.server.core.sessions.get(name) for name in ("d1", "d2"))
    assert d1 is not None
    assert d2 is not None
    assert (len(d1.queue), len(d2.queue)) == (0, 1)


def test_a_changed_role_is_in_effect_for_what_is_published_and_subscribed(
    broker: Running, registry: SqlRegistry
) -> None:
    changed(registry, "d1", role="plain")
    with connected(broker) as client:
        assert published(client, "d1/a") == 0x10
        assert published(client, "d1/c") == NOT_AUTHORIZED
        assert subscribed(client, "news") == NOT_AUTHORIZED
        publish, subscribe = Patterns(allow=("d1/c",)), Patterns(allow=("news",))
        registry.put_role("plain", Role(publish=publish, subscribe=subscribe))
        eventually(lambda: published(client, "d1/a") == NOT_AUTHORIZED, seconds=SECOND)
        assert published(client, "d1/c") == 0x10
        assert subscribed(client, "news") < 0x80
        session = broker.server.core.sessions.get("d1")
        assert session is not None
        registry.put_role("plain", Role(publish=publish))
        eventually(lambda: not session.subscriptions, seconds=SECOND)
        assert published(client, "d1/c") == 0x10


@pytest.mark.parametrize("role", ["device", "plain"])
def test_a_will_that_is_not_allowed_any_more_is_not_published(
    broker: Running, registry: SqlRegistry, role: str
) -> None:
    registry.put_role("watch", Role(subscribe=Patterns(allow=("#",))))
    registry.edit("d2", lambda _: Entry(name="d2", role="watch", credentials=(password("d2/1"),)))
    with connected(broker, name="d2") as watcher:
        assert subscribed(watcher, "#") < 0x80
        with connected(broker, will=Will("devices/d1/state", payload=b"gone")):
            changed(registry, "d1", role=role, metadata={"changed": True})
            time.sleep(SECOND)
        watcher.socket.settimeout(SECOND)
        if role == "plain":
            with pytest.raises(TimeoutError):
                watcher.next()
        else:
            message = watcher.next()
            assert isinstance(message, PublishPacket)
            assert message.payload == b"gone"


def test_a_service_whose_prefix_changes_must_go(broker: Running, registry: SqlRegistry) -> None:
    def service(prefix: str) -> Callable[[Entry | None], Entry]:
        return lambda _: Entry(
            name="s",
            kind=PrincipalKind.SERVICE,
            role="observer",
            client_id_prefix=prefix,
            credentials=(password("s/1"),),
        )

    registry.edit("s", service("s-"))
    with raw(broker) as client:
        client.send(ConnectPacket("s-1", username="s", password=b"right"))
        assert isinstance(client.next(), ConnAckPacket)
        registry.edit("s", service("t-"))
        assert goodbye(client).reason_str == "its client identifier is not its own any more"


def test_a_login_that_began_before_its_role_changed_has_the_new_rights(
    broker: Running, registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(registry, "d1", role="plain")
    verify = PasswordHash.verifies

    def revoked_meanwhile(self: PasswordHash, given: bytes) -> bool:
        registry.put_role("plain", Role(publish=Patterns(allow=("%device/b",))))
        time.sleep(1.2)
        return verify(self, given)

    monkeypatch.setattr(PasswordHash, "verifies", revoked_meanwhile)
    with connected(broker) as client:
        assert published(client, "d1/a") == NOT_AUTHORIZED
        assert published(client, "d1/b") == 0x10
    monkeypatch.undo()
    with connected(broker) as client:
        assert published(client, "d1/a") == NOT_AUTHORIZED, "nothing of before is remembered"


def test_a_gateway_has_the_new_rights_of_the_role_of_a_device_that_it_speaks_for(
    broker: Running, registry: SqlRegistry
) -> None:
    registry.edit("d2", lambda _: Entry(name="d2", role="plain", gateways=("d1",)))
    with connected(broker) as client:
        eventually(lambda: published(client, "d2/a") == 0x10, seconds=SECOND)
        registry.put_role("plain", Role(publish=Patterns(allow=("%device/b",))))
        eventually(lambda: published(client, "d2/a") == NOT_AUTHORIZED, seconds=SECOND)
        assert published(client, "d2/b") == 0x10
        assert published(client, "devices/d1/state") == 0x10


def test_who_leaves_a_role_while_it_changes_has_the_rights_of_the_other(
    broker: Running, registry: SqlRegistry
) -> None:
    registry.put_role("other", Role(publish=Patterns(allow=("o/%device",))))
    changed(registry, "d1", role="plain")
    with connected(broker) as client:
        registry.put_role("plain", Role())
        changed(registry, "d1", role="other")
        registry.put_role("plain", None)
        eventually(lambda: published(client, "o/d1") == 0x10, seconds=SECOND)
        assert published(client, "d1/a") == NOT_AUTHORIZED
