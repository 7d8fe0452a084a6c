from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
    SubAckReasonCode,
)

from localcloud.endpoints import free_ports
from mqtt.client import BrokerAddress, Subscriber
from mqtt.errors import (
    BrokerUnreachable,
    ClientBroken,
    ConnectionLost,
    ConnectionRefused,
    CredentialMissing,
    SessionTakenOver,
)
from tests.harness.waiting import wait_until
from tests.mqtt.client.conftest import Subscribe
from tests.mqtt.client.scripted_broker import V311, ScriptedBroker

ONE_ATTEMPT = {"backoff_initial_seconds": 30, "backoff_maximum_seconds": 30}


def refuse(scripted: ScriptedBroker, code: ConnAckReasonCode) -> None:
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    peer.send(ConnAckPacket(reason_code=code))


@pytest.mark.parametrize(
    ("code", "words", "permanent"),
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "wrong user name or password", True),
        (ConnAckReasonCode.NOT_AUTHORIZED, "may not connect", True),
        (ConnAckReasonCode.CLIENT_ID_NOT_VALID, "does not accept this client identifier", True),
        (ConnAckReasonCode.BANNED, "banned", True),
        (ConnAckReasonCode.SERVER_BUSY, "busy", False),
        (ConnAckReasonCode.QUOTA_EXCEEDED, "quota exceeded", False),
    ],
)
def test_a_refusal_says_who_was_refused_and_why(
    scripted: ScriptedBroker,
    subscribe: Subscribe,
    code: ConnAckReasonCode,
    words: str,
    permanent: bool,
) -> None:
    subscriber = subscribe(scripted.settings(username="someone", **ONE_ATTEMPT))
    refuse(scripted, code)
    with pytest.raises(ConnectionRefused, match=rf"'client' \(user someone\): .*{words}") as told:
        subscriber.wait_ready(5 if permanent else 0.5)
    assert told.value.permanent is permanent
    assert told.value.reason_code == code


def test_of_several_addresses_each_that_was_tried_is_named(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    silent = [f"mqtt://127.0.0.1:{port}" for port in free_ports(2)]
    settings = replace(
        scripted.settings(backoff_initial_seconds=0.01, backoff_maximum_seconds=0.01),
        addresses=tuple(BrokerAddress.parse(each) for each in silent),
    )
    with pytest.raises(BrokerUnreachable) as told:
        subscribe(settings).wait_ready(0.5)
    assert str(told.value).startswith("none of 2 addresses took the connection: ")
    assert all(str(told.value).count(f"no connection to {each}: ") == 1 for each in silent)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "wrong user name or password"),
        (ConnAckReasonCode.NOT_AUTHORIZED, "may not connect"),
        (ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "does not speak this protocol version"),
    ],
)
def test_a_refusal_by_3_1_1_reads_the_same(
    scripted: ScriptedBroker, subscribe: Subscribe, code: ConnAckReasonCode, words: str
) -> None:
    subscriber = subscribe(scripted.settings(protocol=V311))
    refuse(scripted, code)
    with pytest.raises(ConnectionRefused, match=words):
        subscriber.wait_ready(5)


def test_a_takeover_is_counted_said_and_answered_with_a_pause(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(backoff_maximum_seconds=1.0))
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
    wait_until(lambda: subscriber.counters["takeovers"] == 1, seconds=5, what="a take-over")
    lost = time.monotonic()
    assert isinstance(subscriber.link.error, SessionTakenOver)
    assert "'client'" in str(subscriber.link.error)
    subscriber.take(1, 0)
    scripted.subscribed()
    # Half of the longest pause at least, where the shortest is a hundredth of it.
    assert time.monotonic() - lost > 0.4


@pytest.mark.parametrize(("stable_seconds", "expected"), [(10.0, [1, 2, 3]), (1e-9, [0, 0, 0])])
def test_take_overs_count_until_the_connection_was_held_once(
    scripted: ScriptedBroker, subscribe: Subscribe, stable_seconds: float, expected: list[int]
) -> None:
    subscriber = subscribe(scripted.settings(stable_seconds=stable_seconds))
    counts: list[int] = []
    for _ in range(3):
        peer, _ = scripted.subscribed()
        subscriber.wait_ready(5)
        if stable_seconds < 1:
            wait_until(lambda: subscriber.link._held, seconds=5, what="a connection that is held")
        peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
        wait_until(
            lambda: subscriber.counters["takeovers"] == len(counts) + 1,
            seconds=5,
            what="a take-over",
        )
        counts.append(subscriber.link.usurped)
        subscriber.take(1, 0)
    assert counts == expected


def test_a_connection_that_nobody_reads_from_does_not_fight_whoever_took_it(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    assert subscriber.take(1, 0) is None
    peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
    wait_until(lambda: subscriber.counters["takeovers"] == 1, seconds=5, what="a take-over")
    # Pauses are of a hundredth of a second here.
    assert scripted.connections(seconds=0.5) == 0
    # A shard that came back to this process.
    reader = threading.Thread(target=subscriber.take, args=(1, 5.0))
    reader.start()
    peer, _ = scripted.subscribed()
    peer.publish(("a/b", b"x"))
    reader.join(5)
    assert not reader.is_alive()


def test_connections_that_do_not_last_are_taken_for_a_second_client(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    for _ in range(3):
        peer, _ = scripted.subscribed()
        peer.close()
    wait_until(lambda: subscriber.counters["takeovers"] == 1, seconds=5, what="a suspicion")
    assert "3 connections in a row" in str(subscriber.link.error)
    assert "does another client connect as 'client'?" in str(subscriber.link.error)


def test_connections_that_last_are_not(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    subscriber = subscribe(scripted.settings(stable_seconds=1e-9))
    for _ in range(4):
        peer, _ = scripted.subscribed()
        peer.close()
    scripted.subscribed()
    assert subscriber.counters["takeovers"] == 0


def test_the_next_address_is_tried_and_the_one_that_worked_is_kept(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    with ScriptedBroker() as gone:
        dead = gone.address
    subscriber = subscribe(scripted.settings(addresses=(dead, scripted.address)))
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    assert subscriber.counters["failures"] == 1
    peer.close()
    scripted.subscribed()
    wait_until(lambda: subscriber.counters["connects"] == 2, seconds=5, what="a reconnect")
    assert subscriber.counters["failures"] == 1


def test_a_silent_connection_is_pinged(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    subscriber = subscribe(scripted.settings(keep_alive_seconds=1))
    peer, _ = scripted.subscribed()
    for _ in range(2):
        peer.expect(PingReqPacket, seconds=2)
        peer.send(PingRespPacket())
    assert subscriber.counters["losses"] == 0


def test_the_keep_alive_that_the_broker_asks_for_counts(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscribe(scripted.settings(keep_alive_seconds=600))
    peer, _ = scripted.subscribed(server_keep_alive=1)
    peer.expect(PingReqPacket, seconds=2)


def test_a_broker_that_does_not_answer_a_ping_is_left(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(keep_alive_seconds=1))
    peer, _ = scripted.subscribed()
    peer.expect(PingReqPacket, seconds=2)
    scripted.subscribed()
    wait_until(lambda: subscriber.counters["losses"] == 1, seconds=5, what="a loss")


def test_a_broker_that_does_not_answer_connect_is_told(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(connect_timeout_seconds=0.2))
    with pytest.raises(BrokerUnreachable, match=r"did not answer CONNECT within 0.2 s"):
        subscriber.wait_ready(0.5)


def test_a_peer_that_speaks_something_else_is_told(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(**ONE_ATTEMPT))
    peer = scripted.accept()
    # A TLS port: its alert "handshake failure".
    peer.socket.sendall(bytes.fromhex("15 03 03 00 02 02 28"))
    with pytest.raises(BrokerUnreachable, match="check that port, scheme and TLS belong together"):
        subscriber.wait_ready(1)


def test_no_broker_at_all_is_told_with_the_address(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    settings = scripted.settings()
    scripted.close()
    subscriber = subscribe(settings)
    with pytest.raises(BrokerUnreachable, match=rf"{settings.addresses[0]}.*refused.*is the"):
        subscriber.wait_ready(0.3)


def test_the_pauses_between_attempts_grow(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    settings = scripted.settings(backoff_initial_seconds=0.01, backoff_maximum_seconds=60)
    scripted.close()
    subscriber = subscribe(settings)
    with pytest.raises(BrokerUnreachable):
        subscriber.wait_ready(0.6)
    # 0.01, 0.017, 0.029 … reach 0.6 s in eight steps, or a few more as each is cut by chance.
    assert 3 <= subscriber.counters["failures"] <= 14


def test_a_packet_larger_than_allowed_ends_the_connection_with_its_reason(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(maximum_packet_bytes=1_000))
    peer, connect = scripted.welcome()
    assert connect.max_packet_size == 1_000
    peer.next()
    peer.send(PublishPacket("a", bytes(2_000)))
    assert peer.expect(DisconnectPacket).reason_code == DisconnectReasonCode.PACKET_TOO_LARGE
    wait_until(lambda: subscriber.link.error, seconds=5, what="an error")
    assert "at most 1000 are taken" in str(subscriber.link.error)


def test_a_disconnect_of_the_broker_is_told_in_its_words(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.send(
        DisconnectPacket(
            reason_code=DisconnectReasonCode.SERVER_SHUTTING_DOWN, reason_str="maintenance"
        )
    )
    wait_until(lambda: subscriber.link.error, seconds=5, what="an error")
    assert isinstance(subscriber.link.error, ConnectionLost)
    assert "maintenance (0x8b)" in str(subscriber.link.error)


def test_a_password_is_read_at_every_connect(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    passwords = iter([b"first", b"second"])
    subscribe(scripted.settings(username="someone", password=lambda: next(passwords)))
    peer, connect = scripted.welcome()
    assert connect.password == b"first"
    peer.close()
    assert scripted.welcome()[1].password == b"second"


def test_a_password_that_cant_be_read_is_told_and_tried_again(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    there: list[bytes] = []

    def read() -> bytes:
        if not there:
            raise RuntimeError("the vault is sealed")
        return there[0]

    subscriber = subscribe(scripted.settings(username="someone", password=read))
    with pytest.raises(CredentialMissing, match="the vault is sealed"):
        subscriber.wait_ready(0.2)
    there.append(b"open")
    while True:
        try:
            peer = scripted.accept()
            connect = peer.expect(ConnectPacket)
            break
        except EOFError:
            continue  # an attempt that never got as far as its password
    assert connect.password == b"open"


def test_a_defect_reaches_whoever_waits(
    scripted: ScriptedBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(self: Subscriber, packets: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("threading.excepthook", lambda args: None)
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    monkeypatch.setattr(Subscriber, "received", defect)
    peer.send(PublishPacket("a", b""))
    wait_until(lambda: subscriber.link.broken, seconds=5, what="the end of the thread")
    with pytest.raises(ClientBroken, match="a defect"):
        subscriber.check_started()


def test_closing_while_it_tries_to_connect_is_quiet(
    scripted: ScriptedBroker, subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber = subscribe(scripted.settings())
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    scripted.close()
    subscriber.close()
    assert caplog.records == []


def test_a_refused_filter_is_tried_again_with_pauses(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    scripted.subscribed([SubAckReasonCode.NOT_AUTHORIZED])
    scripted.subscribed()
    wait_until(lambda: subscriber.link.ready, seconds=5, what="ready")
