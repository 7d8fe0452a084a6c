"""How the server closes: what it said last is read, however much the client was still sending."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from mqtt5 import (
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
)

from broker.core.limits import Limits
from broker.server import client as client_module
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, raw

RECEIVE_MAXIMUM = 10


def overrun(client: Raw) -> None:
    """Publishes one QoS 2 message more than may be unacknowledged."""
    for number in range(1, RECEIVE_MAXIMUM + 2):
        client.send(
            PublishPacket(
                "devices/d1/state", b"x", qos=QoS.EXACTLY_ONCE, packet_id=number, retain=False
            )
        )


def test_a_client_that_goes_on_sending_still_reads_why_it_was_disconnected(
    start: Callable[..., Running],
) -> None:
    broker = start(limits=Limits(receive_maximum=RECEIVE_MAXIMUM))
    with raw(broker) as client:
        client.login(broker, "d1", "d1")
        overrun(client)
        eventually(lambda: not broker.server.core.connections)
        for number in range(1, RECEIVE_MAXIMUM + 1):
            # Each would be answered with a reset, were the socket closed already.
            client.send(PubRelPacket(number))
            time.sleep(0.002)
        answers = [client.next() for _ in range(RECEIVE_MAXIMUM + 1)]
        goodbye = answers.pop()
        assert all(isinstance(answer, PubRecPacket) for answer in answers)
        assert isinstance(goodbye, DisconnectPacket)
        assert int(goodbye.reason_code) == 0x93
        assert client.next() is None


def test_a_client_that_never_closes_is_closed_all_the_same(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LINGER_SECONDS", 0.05)
    broker = start(limits=Limits(receive_maximum=RECEIVE_MAXIMUM))
    with raw(broker) as client:
        client.login(broker, "d1", "d1")
        overrun(client)
        eventually(lambda: not broker.server.core.connections)

        def is_reset() -> bool:
            try:
                client.send(PubRelPacket(1))
            except ConnectionError:
                return True
            return False

        eventually(is_reset)


def test_who_was_told_to_go_and_stays_gives_its_place_to_who_comes(
    start: Callable[..., Running],
) -> None:
    broker = start(limits=Limits(connections=2, connect_timeout_seconds=1))
    with raw(broker) as stays, raw(broker) as silent:
        stays.login(broker, "d1", "d1")
        assert silent.next() is None, "that is our end, and its own is still open"
        with raw(broker) as comes:
            comes.login(broker, "d2", "d2")
            with raw(broker) as another:
                assert another.ends(), "there is nobody left to give way"
            stays.send(PingReqPacket())
            assert isinstance(stays.next(), PingRespPacket)
            assert broker.server.core.counters.connections_over_limit == 1


def test_the_system_looks_whether_a_silent_client_is_still_there(
    start: Callable[..., Running],
) -> None:
    broker = start()
    with raw(broker) as client:
        client.login(broker, "d1", "d1")
        (connection,) = broker.server.core.connections
        protocol = connection.transport
        assert isinstance(protocol, client_module.ClientProtocol)
        assert protocol._transport is not None
        accepted = protocol._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
