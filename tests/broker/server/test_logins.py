"""Each way to prove who you are, over real sockets and the registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from mqtt5 import (
    AuthPacket,
    AuthReasonCode,
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
)

from mqtt.codec import ProtocolVersion, encode
from mqtt.scram import METHOD, ScramClient
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.logging_in import (
    AGAIN,
    CONTINUE,
    answer,
    auth,
    begin,
    connack,
    house,
    registry,
    token,
    told,
)
from tests.broker.server.raw_client import raw

__all__ = ["house", "registry"]


def test_a_password(house: Callable[..., Running]) -> None:
    broker = house()
    assert connack(broker, "d1", username="d1", password=b"right") == 0
    assert connack(broker, "d1", username="d1", password=b"wrong") == 0x86
    assert connack(broker, "d1", username="nobody", password=b"right") == 0x86
    assert connack(broker, "d2", username="d1", password=b"right") == 0x85
    assert connack(broker, "d1", username="d1") == 0x86
    assert connack(broker, "d1") == 0x86


def test_scram_and_both_sides_know_each_other(house: Callable[..., Running]) -> None:
    broker = house()
    with raw(broker) as client:
        one, final = begin(client, "scram")
        client.send(auth(CONTINUE, final))
        connack = answer(client)
        assert int(connack.reason_code) == 0
        assert connack.authentication_method == METHOD
        assert connack.authentication_data is not None
        one.verify(connack.authentication_data)
        # And again, while connected.
        again = ScramClient("scram", "secret", nonce="xyz")
        client.send(auth(AGAIN, again.first()))
        challenge = client.next()
        assert isinstance(challenge, AuthPacket)
        assert challenge.authentication_data is not None
        client.send(PingReqPacket())
        assert isinstance(client.next(), PingRespPacket)
        client.send(auth(CONTINUE, again.answer(challenge.authentication_data)))
        success = client.next()
        assert isinstance(success, AuthPacket)
        assert success.reason_code is AuthReasonCode.SUCCESS
        assert success.authentication_data is not None
        again.verify(success.authentication_data)


@pytest.mark.parametrize("name", ["scram", "nobody", "d1"])
def test_scram_by_a_wrong_password_or_name_ends_with_the_proof(
    house: Callable[..., Running], name: str
) -> None:
    broker = house()
    with raw(broker) as client:
        _, final = begin(client, name, "wrong")
        client.send(auth(CONTINUE, final))
        refused = answer(client)
        assert int(refused.reason_code) == 0x87
        assert refused.reason_str == "user name or password is wrong"
        assert client.ends()


def test_a_re_authentication_by_a_wrong_password_ends_the_connection(
    house: Callable[..., Running],
) -> None:
    broker = house()
    with raw(broker) as client:
        _, final = begin(client, "scram")
        client.send(auth(CONTINUE, final))
        answer(client)
        again = ScramClient("scram", "wrong", nonce="xyz")
        client.send(auth(AGAIN, again.first()))
        challenge = client.next()
        assert isinstance(challenge, AuthPacket)
        assert challenge.authentication_data is not None
        client.send(auth(CONTINUE, again.answer(challenge.authentication_data)))
        goodbye = client.next()
        assert isinstance(goodbye, DisconnectPacket)
        assert int(goodbye.reason_code) == 0x87


@pytest.mark.parametrize("protocol", list(ProtocolVersion))
@pytest.mark.parametrize(
    "client_id", ["signing", "projects/p/locations/l/registries/r/devices/signing"]
)
def test_a_token_with_the_client_identifiers_of_iot_core(
    house: Callable[..., Running], protocol: ProtocolVersion, client_id: str
) -> None:
    with raw(house()) as client:
        client.decoder.protocol = protocol
        packet = ConnectPacket(client_id, username="unused", password=token(), clean_start=True)
        client.socket.sendall(encode(packet, protocol))
        assert int(answer(client).reason_code) == 0


def test_other_tokens_are_refused(house: Callable[..., Running]) -> None:
    broker = house()
    for client_id, given in (
        ("signing", token(aud="them")),
        ("signing", token(exp=time.time() + 100_000)),
        ("gone", token()),
        ("nobody", token()),
        ("d1", token()),
    ):
        assert connack(broker, client_id, username="unused", password=given) == 0x86


def test_the_log_alone_says_why_a_login_was_refused(
    house: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    broker = house(failed_logins_per_device=100, failed_logins_per_address=100)
    now = time.time()
    for client_id, options, why in (
        ("signing", {"password": token(aud="them")}, "its token's aud is none of tokens.audiences"),
        ("signing", {"password": token(iat=now - 900, exp=now - 600)}, "its token has expired"),
        ("signing", {"password": token(exp=now + 100_000)}, "its token is for more than 24 hours"),
        ("gone", {"password": token()}, "'gone' is blocked"),
        ("nobody", {"password": token()}, "nobody is registered under its client identifier or"),
        ("d1", {"password": token()}, "'d1' has no ES256 key that holds now"),
        ("d1", {"username": "d1", "password": b"wr0ng"}, "the password of 'd1' is wrong"),
        ("d1", {"username": "s3cret", "password": b"x"}, "nobody is registered under its user"),
        ("d1", {"username": "gone", "password": b"x"}, "'gone' is blocked"),
        ("d1", {"username": "signing", "password": b"x"}, "'signing' has no password that holds"),
        ("d1", {"username": "d1"}, "it gives a user name and no password"),
        ("d1", {}, "it gives no credentials"),
    ):
        caplog.clear()
        with raw(broker) as client:
            client.send(ConnectPacket(client_id, **options))
            packet = answer(client)
        assert int(packet.reason_code) == 0x86
        assert packet.reason_str == "user name or password is wrong"
        eventually(lambda: "CONNECT refused" in caplog.text)
        assert why in caplog.text
        for secret in ("wr0ng", "s3cret", "eyJ"):
            assert secret not in caplog.text


def test_the_log_alone_says_why_an_exchange_proved_nothing(
    house: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    broker = house()
    for name, why in (
        ("scram", "the password of 'scram' is wrong"),
        ("gone", "'gone' is blocked"),
        ("nobody", "nobody is registered under its user name"),
    ):
        with raw(broker) as client:
            _, final = begin(client, name, "wrong")
            client.send(auth(CONTINUE, final))
            assert answer(client).reason_str == "user name or password is wrong"
        eventually(partial(told, caplog, why))


def test_a_connection_ends_with_its_token(house: Callable[..., Running]) -> None:
    broker = house()
    with raw(broker) as client:
        now = time.time()
        # Of the skew a second is left.
        short = token(iat=now - 100, exp=now - 59)
        client.send(ConnectPacket("signing", username="unused", password=short))
        assert int(answer(client).reason_code) == 0
        goodbye = client.next()
        assert isinstance(goodbye, DisconnectPacket)
        assert int(goodbye.reason_code) == 0xA0
        assert 0.5 < time.time() - now < 5
