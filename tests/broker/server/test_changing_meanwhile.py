"""A challenge that is answered after the registry has changed is judged by what it says by then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from mqtt5 import AuthPacket, AuthReasonCode, ConnectPacket, Will

from broker.auth.identity import ScramSecret, Standing
from broker.registry.entries import Entry
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from mqtt.scram import METHOD, ScramClient, ScramKeys
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.logging_in import AGAIN, CONTINUE, answer, auth
from tests.broker.server.raw_client import Raw, raw
from tests.broker.server.registry_changes import (
    NOT_AUTHORIZED,
    SECOND,
    broker,
    changed,
    connected,
    published,
    put_devices,
    subscribed,
)

__all__ = ["broker"]

EVERYTHING = Patterns(allow=("#",))
LITTLE = Patterns(allow=("little",))
KEYS = ScramKeys.of("right", salt=b"0123456789abcdef", iterations=4_096)


def secret(identifier: str) -> ScramSecret:
    return ScramSecret(
        id=identifier,
        salt=KEYS.salt,
        iterations=KEYS.iterations,
        stored_key=KEYS.stored_key,
        server_key=KEYS.server_key,
    )


@pytest.fixture
def registry(open_registry: Callable[[], SqlRegistry]) -> SqlRegistry:
    registry = open_registry()
    registry.put_role("much", Role(publish=EVERYTHING, subscribe=EVERYTHING, will=EVERYTHING))
    registry.put_role("little", Role(publish=LITTLE, subscribe=LITTLE))
    registry.edit("d1", lambda _: Entry(name="d1", role="much", credentials=(secret("d1/1"),)))
    put_devices(registry, watcher="much")
    return registry


def remove(registry: SqlRegistry) -> None:
    registry.edit("d1", lambda _: None)


def block(registry: SqlRegistry) -> None:
    changed(registry, "d1", blocked=True)


def take_the_secret(registry: SqlRegistry) -> None:
    changed(registry, "d1", credentials=(secret("d1/2"),))


def give_a_lesser_role(registry: SqlRegistry) -> None:
    changed(registry, "d1", role="little")


def lessen_the_role(registry: SqlRegistry) -> None:
    registry.put_role("much", Role(publish=LITTLE, subscribe=LITTLE))


ENDED = [remove, block, take_the_secret]
LESSENED = [give_a_lesser_role, lessen_the_role]

Change = Callable[[SqlRegistry], None]


def whole(client: Raw, one: ScramClient) -> AuthPacket:
    """The answer to the challenge that the client is sent."""
    challenge = client.next()
    assert isinstance(challenge, AuthPacket)
    assert challenge.authentication_data is not None
    return auth(CONTINUE, one.answer(challenge.authentication_data))


def begin(client: Raw, **options: Any) -> AuthPacket:
    """CONNECT up to the challenge; returns what answers it."""
    one = ScramClient("d1", "right", nonce="abc")
    packet = ConnectPacket(
        "d1", authentication_method=METHOD, authentication_data=one.first(), **options
    )
    client.send(packet)
    return whole(client, one)


def begin_again(client: Raw) -> AuthPacket:
    """A re-authentication up to the challenge; returns what answers it."""
    one = ScramClient("d1", "right", nonce="xyz")
    client.send(auth(AGAIN, one.first()))
    return whole(client, one)


@contextmanager
def proved(broker: Running) -> Iterator[Raw]:
    with raw(broker) as client:
        client.send(begin(client))
        assert int(answer(client).reason_code) == 0
        yield client


def seen(broker: Running) -> int:
    """How many changes of the registry the broker knows of."""
    return broker.server._shell._logins.authenticator.seen


def followed(broker: Running, registry: SqlRegistry, change: Change) -> None:
    """Has the change made, and seen by the broker."""
    before = seen(broker)
    change(registry)
    eventually(lambda: seen(broker) > before, seconds=SECOND)


@pytest.mark.parametrize("lessen", LESSENED)
def test_a_re_authentication_brings_no_right_back_that_was_revoked_since_it_began(
    broker: Running, registry: SqlRegistry, lessen: Change
) -> None:
    with proved(broker) as client:
        last = begin_again(client)
        followed(broker, registry, lessen)
        eventually(lambda: published(client, "much") == NOT_AUTHORIZED, seconds=SECOND)
        client.send(last)
        success = client.next()
        assert isinstance(success, AuthPacket)
        assert success.reason_code is AuthReasonCode.SUCCESS
        assert published(client, "much") == NOT_AUTHORIZED
        assert published(client, "little") == 0x10


@pytest.mark.parametrize("end", ENDED)
def test_a_login_that_is_worth_nothing_by_its_last_step_is_refused(
    broker: Running, registry: SqlRegistry, end: Change, caplog: pytest.LogCaptureFixture
) -> None:
    with raw(broker) as client:
        last = begin(client)
        followed(broker, registry, end)
        client.send(last)
        refused = answer(client)
        assert int(refused.reason_code) == NOT_AUTHORIZED
        assert refused.reason_str == "user name or password is wrong"
        assert client.ends()
    assert not list(broker.server.core.sessions)
    eventually(lambda: "while it logged in" in caplog.text)


@pytest.mark.parametrize("lessen", LESSENED)
def test_a_login_has_the_rights_of_its_last_step(
    broker: Running, registry: SqlRegistry, lessen: Change
) -> None:
    with raw(broker) as client:
        last = begin(client)
        followed(broker, registry, lessen)
        client.send(last)
        assert int(answer(client).reason_code) == 0
        assert published(client, "much") == NOT_AUTHORIZED


@pytest.mark.parametrize("lessen", LESSENED)
def test_a_login_with_a_will_that_is_not_allowed_by_its_last_step_is_refused(
    broker: Running, registry: SqlRegistry, lessen: Change
) -> None:
    with raw(broker) as client:
        last = begin(client, will=Will("much", payload=b""))
        followed(broker, registry, lessen)
        client.send(last)
        assert int(answer(client).reason_code) == NOT_AUTHORIZED


@pytest.mark.parametrize("change", [remove, give_a_lesser_role])
def test_who_leaves_before_a_change_was_seen_leaves_no_will_that_the_change_forbids(
    broker: Running, registry: SqlRegistry, change: Change
) -> None:
    """By the time that it is seen there is no connection that could be looked up."""
    lasting: dict[str, Any] = {"session_expiry_interval": 600}
    with connected(broker, name="watcher") as watcher:
        assert subscribed(watcher, "much") < 0x80
        with raw(broker) as client:
            will = Will("much", payload=b"", will_delay_interval=2)
            client.send(begin(client, will=will, **lasting))
            assert int(answer(client).reason_code) == 0
            change(registry)
        time.sleep(2.5)
        watcher.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            watcher.next()
    left = [session.client_id for session in broker.server.core.sessions]
    assert ("d1" in left) == (change is give_a_lesser_role)


def test_who_proves_itself_by_a_new_secret_while_it_is_looked_up_is_not_judged_by_the_old(
    broker: Running, registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    standings = SqlRegistry.standings
    asked, proves = threading.Event(), threading.Event()

    def slow(self: SqlRegistry, names: Sequence[str]) -> Mapping[str, Standing]:
        found = standings(self, names)
        if threading.current_thread().name.startswith("directory"):
            asked.set()
            assert proves.wait(10)
        return found

    with proved(broker) as client:
        monkeypatch.setattr(SqlRegistry, "standings", slow)
        give_a_lesser_role(registry)
        assert asked.wait(SECOND)
        take_the_secret(registry)
        client.send(begin_again(client))
        assert isinstance(client.next(), AuthPacket)
        proves.set()
        time.sleep(SECOND)
        assert published(client, "little") == 0x10
        assert published(client, "much") == NOT_AUTHORIZED
