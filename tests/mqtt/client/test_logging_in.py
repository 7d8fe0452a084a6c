"""How our client proves who it is, and whether it notices a broker that can't."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from mqtt5 import (
    AuthPacket,
    AuthReasonCode,
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
)

from mqtt.client import TokenSigner
from mqtt.errors import BrokerNotProved, BrokerUnreachable, ConnectionRefused, CredentialMissing
from mqtt.scram import METHOD, ScramKeys, ScramServer, client_first, decoy_keys
from tests.harness.waiting import wait_until
from tests.mqtt.client.conftest import Connect
from tests.mqtt.client.scripted_broker import V311, Peer, ScriptedBroker

KEYS = ScramKeys.of("secret", salt=b"0123456789abcdef", iterations=4_096)
SCRAM: dict[str, Any] = {"username": "tele", "password": lambda: b"secret", "scram": True}
CONTINUE = AuthReasonCode.CONTINUE_AUTHENTICATION


def auth(data: bytes, code: AuthReasonCode = CONTINUE, method: str = METHOD) -> AuthPacket:
    return AuthPacket(reason_code=code, authentication_method=method, authentication_data=data)


def challenged(broker: ScriptedBroker, keys: ScramKeys = KEYS) -> tuple[Peer, ScramServer]:
    """Takes CONNECT and sends the challenge."""
    peer = broker.accept()
    connect = peer.expect(ConnectPacket)
    assert (connect.authentication_method, connect.username, connect.password) == (
        METHOD,
        None,
        None,
    )
    assert connect.authentication_data is not None
    first = client_first(connect.authentication_data)
    assert first.name == "tele"
    server = ScramServer(first, keys, nonce="xyz")
    peer.send(auth(server.challenge()))
    return peer, server


def proof(peer: Peer) -> bytes:
    packet = peer.expect(AuthPacket)
    assert (packet.reason_code, packet.authentication_method) == (CONTINUE, METHOD)
    assert packet.authentication_data is not None
    return packet.authentication_data


def test_scram_proves_both_sides(scripted: ScriptedBroker, publish: Connect) -> None:
    publisher = publish(scripted.settings(**SCRAM))
    peer, server = challenged(scripted)
    signed = server.finish(proof(peer))
    assert signed is not None
    peer.send(ConnAckPacket(authentication_method=METHOD, authentication_data=signed))
    publisher.wait_ready(5)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="no signature"),
        pytest.param({"authentication_method": METHOD}, id="an empty one"),
        pytest.param(
            {"authentication_method": METHOD, "authentication_data": b"v=AAAA"}, id="a wrong one"
        ),
        pytest.param(
            {"authentication_method": "OTHER", "authentication_data": b"v=AAAA"}, id="another's"
        ),
    ],
)
def test_a_broker_that_does_not_know_the_password_is_left(
    scripted: ScriptedBroker, publish: Connect, answer: dict[str, Any]
) -> None:
    publisher = publish(scripted.settings(**SCRAM))
    peer, _ = challenged(scripted, decoy_keys("tele", secret=b"x"))
    proof(peer)
    peer.send(ConnAckPacket(**answer))
    with pytest.raises(BrokerNotProved, match="is it the right broker") as told:
        publisher.wait_ready(5)
    assert told.value.permanent
    with pytest.raises(EOFError):
        peer.next()


def test_a_broker_that_skips_the_exchange_is_left(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings(**SCRAM))
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    peer.send(ConnAckPacket())
    with pytest.raises(BrokerNotProved, match="not of SCRAM"):
        publisher.wait_ready(5)


@pytest.mark.parametrize(
    "packet",
    [
        auth(b"r=abc,s=AAAA,i=4096"),
        auth(b"x"),
        auth(b"x", method="OTHER"),
        auth(b"x", AuthReasonCode.SUCCESS),
    ],
)
def test_a_challenge_that_is_none_is_told(
    scripted: ScriptedBroker, publish: Connect, packet: AuthPacket
) -> None:
    publisher = publish(scripted.settings(**SCRAM))
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    peer.send(packet)
    with pytest.raises(BrokerNotProved):
        publisher.wait_ready(5)


def test_a_broker_that_knows_no_scram_refuses(scripted: ScriptedBroker, publish: Connect) -> None:
    publisher = publish(scripted.settings(**SCRAM))
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    peer.send(ConnAckPacket(reason_code=ConnAckReasonCode.BAD_AUTHENTICATION_METHOD))
    with pytest.raises(ConnectionRefused, match="does not accept this authentication method"):
        publisher.wait_ready(5)


def test_auth_that_nobody_asked_for_is_no_answer(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings())
    peer = scripted.accept()
    peer.expect(ConnectPacket)
    peer.send(auth(b"x"))
    with pytest.raises(BrokerUnreachable, match="answered CONNECT with AuthPacket"):
        publisher.wait_ready(0.5)


@pytest.mark.parametrize("password", [b"\xff", "\U0001f600".encode()])
def test_a_password_that_scram_can_t_have_is_told_and_not_repeated(
    scripted: ScriptedBroker, publish: Connect, password: bytes
) -> None:
    publisher = publish(scripted.settings(**SCRAM | {"password": lambda: password}))
    with pytest.raises(CredentialMissing, match="SCRAM") as told:
        publisher.wait_ready(0.5)
    assert password.decode(errors="replace") not in str(told.value)


@pytest.mark.parametrize("changes", [{"username": None}, {"password": None}, {"protocol": V311}])
def test_scram_needs_name_password_and_mqtt_5(
    scripted: ScriptedBroker, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"scram: needs|password: MQTT"):
        scripted.settings(**SCRAM | changes)


def proved(broker: ScriptedBroker) -> Peer:
    """A client has logged in by SCRAM, and the broker has proved itself."""
    peer, server = challenged(broker)
    signed = server.finish(proof(peer))
    peer.send(ConnAckPacket(authentication_method=METHOD, authentication_data=signed))
    return peer


def challenged_again(peer: Peer, keys: ScramKeys = KEYS) -> ScramServer:
    packet = peer.expect(AuthPacket)
    assert packet.reason_code is AuthReasonCode.RE_AUTHENTICATE
    assert packet.authentication_method == METHOD
    assert packet.authentication_data is not None
    server = ScramServer(client_first(packet.authentication_data), keys, nonce="again")
    peer.send(auth(server.challenge()))
    return server


def test_a_connection_that_stands_proves_again_with_the_password_as_it_is_then(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    passwords = iter([b"secret", b"other", b"third"])
    settings = SCRAM | {"password": passwords.__next__, "scram_again_seconds": 0.1}
    publisher = publish(scripted.settings(**settings))
    peer = proved(scripted)
    publisher.wait_ready(5)
    for password in ("other", "third"):
        keys = ScramKeys.of(password, salt=b"fedcba9876543210", iterations=4_096)
        server = challenged_again(peer, keys)
        signed = server.finish(proof(peer))
        assert signed is not None
        peer.send(auth(signed, AuthReasonCode.SUCCESS))
    assert publisher.counters["losses"] == 0


@pytest.mark.parametrize("signature", [b"", b"v=AAAA"])
def test_a_broker_that_can_t_prove_again_that_it_is_the_one_is_left(
    scripted: ScriptedBroker, publish: Connect, signature: bytes
) -> None:
    publisher = publish(scripted.settings(**SCRAM, scram_again_seconds=0.1))
    peer = proved(scripted)
    publisher.wait_ready(5)
    challenged_again(peer)
    proof(peer)
    peer.send(auth(signature, AuthReasonCode.SUCCESS))
    with pytest.raises(EOFError):
        peer.next()
    wait_until(
        lambda: isinstance(publisher.link.error, BrokerNotProved), seconds=5, what="the reason"
    )


def test_a_broker_that_does_not_answer_is_left(scripted: ScriptedBroker, publish: Connect) -> None:
    settings = scripted.settings(**SCRAM, scram_again_seconds=0.1, connect_timeout_seconds=0.5)
    publisher = publish(settings)
    peer = proved(scripted)
    publisher.wait_ready(5)
    assert peer.expect(AuthPacket).reason_code is AuthReasonCode.RE_AUTHENTICATE
    with pytest.raises(EOFError):
        peer.next()
    wait_until(lambda: publisher.counters["losses"] == 1, seconds=5, what="the loss")


def test_a_password_that_can_t_be_read_meanwhile_leaves_the_connection_as_it_is(
    scripted: ScriptedBroker, publish: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[bytes | Exception] = [b"secret", OSError("away"), b"secret"]

    def password() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    publish(scripted.settings(**SCRAM | {"password": password, "scram_again_seconds": 0.1}))
    challenged_again(proved(scripted))
    assert "not proved again who we are: the password can't be read: away" in caplog.text


@pytest.mark.parametrize("again", [{}, {"scram_again_seconds": 60}])
def test_auth_on_a_connection_that_stands_and_asked_for_none_breaks_the_protocol(
    scripted: ScriptedBroker, publish: Connect, again: dict[str, Any]
) -> None:
    publisher = publish(scripted.settings(**SCRAM, **again))
    peer = proved(scripted)
    publisher.wait_ready(5)
    peer.send(auth(b"x", AuthReasonCode.SUCCESS))
    assert int(peer.expect(DisconnectPacket).reason_code) == 0x82


@pytest.mark.parametrize("changes", [{"scram": False}, {"scram_again_seconds": 0}])
def test_proving_again_is_of_scram_and_takes_time(
    scripted: ScriptedBroker, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="scram_again_seconds"):
        scripted.settings(**SCRAM | {"scram_again_seconds": 60} | changes)


def pem(key: Any, *, passphrase: bytes | None = None) -> bytes:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return text


RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_token_is_signed_anew_for_each_connect(
    scripted: ScriptedBroker, publish: Connect, key: Any, algorithm: str
) -> None:
    times = iter([1_000.9, 2_000.1])
    signer = TokenSigner(lambda: pem(key), audience="us", lifetime_seconds=60, clock=times.__next__)
    publish(scripted.settings(username="unused", password=signer))
    for began in (1_000, 2_000):
        peer, connect = scripted.welcome()
        assert connect.password is not None
        token = connect.password.decode()
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        claims = jwt.decode(
            token,
            key.public_key(),
            algorithms=[algorithm],
            audience="us",
            options={"verify_exp": False, "verify_iat": False},
        )
        assert claims == {"aud": "us", "iat": began, "exp": began + 60}
        peer.close()


@pytest.mark.parametrize(
    "key",
    [
        b"hunter2",
        pem(EC, passphrase=b"x"),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_a_key_that_can_t_sign_is_told_and_not_repeated(
    scripted: ScriptedBroker, publish: Connect, key: bytes
) -> None:
    publisher = publish(scripted.settings(password=TokenSigner(lambda: key, audience="us")))
    with pytest.raises(CredentialMissing, match="the key") as told:
        publisher.wait_ready(0.5)
    assert key.decode() not in str(told.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"audience": ""}, "audience"),
        ({"audience": "a", "lifetime_seconds": 0}, "lifetime_seconds"),
        ({"audience": "a", "lifetime_seconds": 86_401}, "lifetime_seconds"),
    ],
)
def test_what_no_broker_would_take_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TokenSigner(lambda: b"", **options)


def test_the_time_is_now() -> None:
    token = TokenSigner(lambda: pem(EC), audience="us")().decode()
    claims = jwt.decode(token, EC.public_key(), algorithms=["ES256"], audience="us")
    assert claims["iat"] == pytest.approx(time.time(), abs=2)
