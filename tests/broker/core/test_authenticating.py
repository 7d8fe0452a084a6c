"""MQTT 5.0, section 4.12: the order of an exchange, whatever its method, at CONNECT and again."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import (
    AuthPacket,
    AuthReasonCode,
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
)

from broker.auth.principal import Principal, Rights, Rules
from broker.core.actions import Authenticate
from mqtt import topics
from tests.broker.core.harness import V311, Client, House, device, login, service
from tests.harness.conformance import conforms

SUCCESS, CONTINUE, AGAIN = (
    AuthReasonCode.SUCCESS,
    AuthReasonCode.CONTINUE_AUTHENTICATION,
    AuthReasonCode.RE_AUTHENTICATE,
)


def auth(code: AuthReasonCode, data: bytes = b"", method: str | None = "TEST") -> AuthPacket:
    return AuthPacket(reason_code=code, authentication_method=method, authentication_data=data)


class Exchange:
    """A house whose logins the test answers, and a client that has sent its CONNECT."""

    def __init__(self, client_id: str = "c", **connect: Any) -> None:
        self.house = House(connect_timeout_seconds=10)
        self.house.answer_logins = False
        self.client = self.house.open()
        options = {"authentication_method": "TEST", "authentication_data": b"first"} | connect
        self.client.send(ConnectPacket(client_id, clean_start=True, **options))

    def asked(self) -> Authenticate:
        return self.house.logins.pop(0)

    def challenge(self, data: bytes = b"?") -> None:
        self.house.core.admitting.challenged(self.client.connection, data, self.house.now)
        self.house.settle()

    def decide(
        self, who: Principal | None, *, until: float | None = None, data: bytes | None = None
    ) -> None:
        self.house.core.admitting.authenticated(
            self.client.connection, login(who), self.house.now, until=until, data=data
        )
        self.house.settle()

    def connected(self, who: Principal | None = None, **options: Any) -> Client:
        self.asked()
        self.decide(who or service(), **options)
        assert int(self.client.one(ConnAckPacket).reason_code) == 0
        return self.client

    def said_goodbye(self) -> int:
        assert self.client.closed
        return int(self.client.one(DisconnectPacket).reason_code)

    def refused(self) -> int:
        assert self.client.closed
        return int(self.client.one(ConnAckPacket).reason_code)


@conforms(v5="4.12.0-1")
def test_mqtt_4_12_0_1_a_method_that_is_not_known_is_refused_with_0x8c() -> None:
    exchange = Exchange(authentication_method="KERBEROS")
    assert exchange.refused() == 0x8C
    assert exchange.house.logins == []


def test_authentication_data_without_a_method_is_a_protocol_error() -> None:
    assert Exchange(authentication_method=None).refused() == 0x82


@conforms(v5="4.12.0-2 4.12.0-3 4.12.0-5 3.15.2-1 3.2.0-1")
def test_mqtt_4_12_0_2_and_3_an_exchange_goes_to_and_fro_until_connack() -> None:
    exchange = Exchange()
    first = exchange.asked()
    assert (first.method, first.data, first.begins) == ("TEST", b"first", True)
    for step in (b"1", b"2"):
        exchange.challenge(step)
        assert exchange.client.one(AuthPacket) == auth(CONTINUE, step)
        exchange.client.send(auth(CONTINUE, b"answer " + step))
        answer = exchange.asked()
        assert (answer.method, answer.data, answer.begins) == ("TEST", b"answer " + step, False)
        assert len(exchange.house.core.sessions) == 0
    exchange.decide(service(), data=b"signed")
    connack = exchange.client.one(ConnAckPacket)
    # [MQTT-4.12.0-5]
    assert (connack.authentication_method, connack.authentication_data) == ("TEST", b"signed")
    exchange.client.send(PingReqPacket())
    exchange.client.one(PingRespPacket)


@conforms(v5="4.12.0-4")
def test_mqtt_4_12_0_4_who_proves_nothing_is_refused_and_touches_no_session() -> None:
    exchange = Exchange()
    house = exchange.house
    exchange.connected()
    second = house.open()
    second.send(ConnectPacket("c", authentication_method="TEST", clean_start=True))
    house.core.admitting.authenticated(second.connection, None, house.now)
    house.settle()
    answer = second.one(ConnAckPacket)
    assert int(answer.reason_code) == 0x87
    assert answer.reason_str == "user name or password is wrong"
    assert exchange.client.closed is None


@conforms(v5="4.12.0-6")
def test_mqtt_4_12_0_7_without_a_method_connack_has_none() -> None:
    exchange = Exchange(authentication_method=None, authentication_data=None)
    exchange.asked()
    exchange.decide(service())
    assert exchange.client.one(ConnAckPacket).authentication_method is None


@pytest.mark.parametrize(
    "packet",
    [
        # [MQTT-3.1.2-30]
        pytest.param(PingReqPacket(), id="another packet"),
        pytest.param(PublishPacket("t", b""), id="a message"),
        # [MQTT-4.12.0-5]
        pytest.param(auth(CONTINUE, method="OTHER"), id="another method"),
        pytest.param(auth(CONTINUE, method=None), id="no method"),
        # [MQTT-4.12.0-3]
        pytest.param(auth(AGAIN), id="a new beginning"),
        pytest.param(auth(SUCCESS), id="what servers say"),
        pytest.param(DisconnectPacket(), id="the end"),
    ],
)
@conforms(v5="3.1.2-30 4.12.0-3")
def test_before_connack_a_challenge_is_answered_by_auth_and_by_nothing_else(
    packet: Packet,
) -> None:
    exchange = Exchange()
    exchange.asked()
    exchange.challenge()
    exchange.client.take(AuthPacket)
    exchange.client.send(packet)
    assert exchange.refused() == 0x82
    assert exchange.house.logins == []


def test_what_is_sent_before_the_challenge_is_looked_at_behind_it() -> None:
    exchange = Exchange()
    exchange.asked()
    exchange.client.send(PingReqPacket())
    assert exchange.client.closed is None
    exchange.challenge()
    assert exchange.refused() == 0x82


def test_a_client_that_does_not_answer_a_challenge_is_closed_in_time() -> None:
    exchange = Exchange()
    exchange.asked()
    exchange.house.wait(60)
    assert exchange.client.closed is None, "the time of the shell is not the client's"
    exchange.challenge()
    exchange.house.wait(9.9)
    assert exchange.client.closed is None
    exchange.house.wait(0.2)
    assert exchange.client.closed == "no AUTH within 10 s"
    assert exchange.house.core.counters.connect_timeouts == 1
    assert exchange.house.notices[-1].endswith(": closed, no AUTH within 10 s")
    exchange.decide(service())
    assert len(exchange.house.core.sessions) == 0


def test_what_is_sent_before_connack_is_bounded() -> None:
    exchange = Exchange(authentication_method=None, authentication_data=None)
    exchange.client.send_bytes(PingReqPacket().write() * 1_000)
    assert exchange.client.closed is None
    exchange.client.send(PingReqPacket())
    assert exchange.refused() == 0x82
    assert exchange.client.connection.held == []


def test_auth_is_no_larger_than_the_client_takes() -> None:
    exchange = Exchange(max_packet_size=30)
    exchange.asked()
    exchange.challenge(b"x" * 40)
    assert exchange.client.take(AuthPacket) == []
    assert exchange.refused() == 0x87


@conforms(v5="4.12.1-1 3.15.2-1")
def test_mqtt_4_12_1_1_a_client_proves_itself_again_while_messages_go_on() -> None:
    exchange = Exchange()
    client = exchange.connected()
    client.subscribe("t")
    client.send(auth(AGAIN, b"again"))
    asked = exchange.asked()
    assert (asked.method, asked.data, asked.begins) == ("TEST", b"again", True)
    exchange.challenge()
    assert client.one(AuthPacket).reason_code is CONTINUE
    client.publish("t", b"between")
    assert client.payloads() == [b"between"]
    client.send(auth(CONTINUE, b"proof"))
    assert exchange.asked().begins is False
    exchange.decide(service(), data=b"signed")
    assert client.one(AuthPacket) == auth(SUCCESS, b"signed")
    # And once more.
    client.send(auth(AGAIN))
    exchange.decide(service())
    assert client.one(AuthPacket).reason_code is SUCCESS


@pytest.mark.parametrize(
    ("who", "words"),
    [(None, "could not prove again"), (service("other"), "'other', who is somebody else")],
)
@conforms(v5="4.12.1-2")
def test_mqtt_4_12_1_2_who_fails_to_prove_itself_again_is_disconnected(
    who: Principal | None, words: str
) -> None:
    exchange = Exchange()
    client = exchange.connected()
    client.send(auth(AGAIN))
    exchange.decide(who)
    assert client.closed is not None
    assert words in client.closed
    assert exchange.said_goodbye() == 0x87


@pytest.mark.parametrize(
    "packet",
    [auth(AGAIN, method="OTHER"), auth(AGAIN, method=None), auth(CONTINUE), auth(SUCCESS)],
)
def test_auth_out_of_its_turn_is_a_protocol_error(packet: AuthPacket) -> None:
    exchange = Exchange()
    exchange.connected().send(packet)
    assert exchange.said_goodbye() == 0x82
    assert exchange.house.logins == []


def test_a_second_re_authentication_within_the_first_is_a_protocol_error() -> None:
    exchange = Exchange()
    client = exchange.connected()
    client.send(auth(AGAIN))
    client.send(auth(AGAIN))
    assert exchange.said_goodbye() == 0x82
    exchange.decide(service())
    assert exchange.client.inbox == []


@conforms(v5="4.12.0-7")
def test_mqtt_4_12_0_6_auth_without_a_method_in_connect_is_a_protocol_error() -> None:
    client = House().connect()
    client.send(auth(AGAIN))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82


def test_a_re_authentication_that_stalls_ends_the_connection() -> None:
    exchange = Exchange()
    client = exchange.connected()
    client.send(auth(AGAIN))
    exchange.challenge()
    client.take(AuthPacket)
    exchange.house.wait(10.1)
    assert exchange.said_goodbye() == 0x87


def test_a_re_authentication_that_must_wait_ends_the_connection_with_0x89() -> None:
    exchange = Exchange()
    client = exchange.connected()
    client.send(auth(AGAIN))
    exchange.house.core.admitting.postponed(client.connection, exchange.house.now, "busy")
    exchange.house.settle()
    assert exchange.said_goodbye() == 0x89


def test_the_password_is_let_go_of_once_it_was_right() -> None:
    exchange = Exchange(authentication_method=None, authentication_data=None, password=b"secret")
    assert exchange.client.connection.connect is not None
    assert exchange.connected().connection.connect is None


def test_rights_are_those_that_were_proved_last() -> None:
    exchange = Exchange()
    client = exchange.connected()
    assert client.subscribe("t", "u") == [1, 1]
    client.publish("t", qos=0)
    assert len(client.take(PublishPacket)) == 1
    less = Rules(allow=(topics.TopicFilter("u"),))
    client.send(auth(AGAIN))
    exchange.decide(service(rights=Rights(publish=less, subscribe=less)))
    client.take(AuthPacket)
    client.publish("u", b"allowed")
    client.publish("t", b"not any more")
    assert client.payloads() == [b"allowed"]
    assert exchange.house.core.sessions.get("c") is not None
    session = exchange.house.core.sessions.get("c")
    assert session is not None
    assert list(session.subscriptions) == ["u"]


@pytest.mark.parametrize("method", ["TEST", None])
def test_a_connection_is_closed_when_its_login_ends(method: str | None) -> None:
    exchange = Exchange(authentication_method=method, authentication_data=b"x" if method else None)
    client = exchange.connected(until=exchange.house.now + 60)
    exchange.house.wait(59.9)
    assert client.closed is None
    exchange.house.wait(0.2)
    assert exchange.said_goodbye() == 0xA0


def test_a_login_that_is_renewed_in_time_goes_on() -> None:
    exchange = Exchange()
    client = exchange.connected(until=exchange.house.now + 60)
    exchange.house.wait(50)
    client.send(auth(AGAIN))
    exchange.decide(service(), until=exchange.house.now + 60)
    exchange.house.wait(59)
    assert client.closed is None
    exchange.house.wait(2)
    client.take(AuthPacket)
    assert exchange.said_goodbye() == 0xA0


@pytest.mark.parametrize("protocol", [V311, None])
def test_a_device_with_its_identifier_of_iot_core_is_the_device(protocol: Any) -> None:
    house = House()
    house.principals["d1"] = device("d1")
    first = house.connect("d1", username="d1")
    path = "projects/p/locations/l/registries/r/devices/"
    options = {} if protocol is None else {"protocol": protocol}
    second = house.connect(path + "d1", username="d1", **options)
    assert first.closed == "another connection uses the client identifier"
    assert second.connection.client_id == "d1"
    assert [session.client_id for session in house.core.sessions] == ["d1"]
    for other in (path + "d2", "x/" + path + "d1", path + "d1/d1", "devices/d1"):
        client = house.open()
        client.send(ConnectPacket(other, username="d1", clean_start=True))
        assert int(client.one(ConnAckPacket).reason_code) == 0x85
