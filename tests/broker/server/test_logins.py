"""Each way to prove who you are, over real sockets and the registry, and what guessing costs."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from mqtt5 import (
    AuthPacket,
    AuthReasonCode,
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
)

from broker.auth.passwords import PasswordAuthenticator
from broker.config import Listener
from broker.core.limits import Limits
from broker.errors import ConfigError
from mqtt.codec import ProtocolVersion, encode
from mqtt.scram import METHOD, ScramClient, ScramKeys
from tests.broker.auth.directory import CHEAP, public_pem
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.test_server import Raw, raw

KEY = ec.generate_private_key(ec.SECP256R1())
SALT = b"0123456789abcdef"
CONTINUE, AGAIN = AuthReasonCode.CONTINUE_AUTHENTICATION, AuthReasonCode.RE_AUTHENTICATE


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    keys = ScramKeys.of("secret", salt=SALT, iterations=4_096)
    scram = {
        "type": "scram",
        "iterations": keys.iterations,
        "salt": text(keys.salt),
        "stored_key": text(keys.stored_key),
        "server_key": text(keys.server_key),
    }
    public = {"type": "public_key", "algorithm": "ES256", "pem": public_pem(KEY)}
    devices = {
        "d1": {"password_hash": CHEAP.hash("right")},
        "scram": {"credentials": [scram]},
        "signing": {"credentials": [public]},
        "gone": {"blocked": True, "credentials": [public]},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "devices": devices}))
    return path


@pytest.fixture
def house(start: Callable[..., Running], registry: Path) -> Callable[..., Running]:
    def start_one(**limits: Any) -> Running:
        return start(registry_file=registry, token_audiences=("us",), limits=Limits(**limits))

    return start_one


def answer(client: Raw) -> ConnAckPacket:
    packet = client.next()
    assert isinstance(packet, ConnAckPacket)
    return packet


def connack(broker: Running, client_id: str, **options: Any) -> int:
    with raw(broker) as client:
        client.send(ConnectPacket(client_id, **options))
        return int(answer(client).reason_code)


def token(**claims: Any) -> bytes:
    now = time.time()
    content = {"aud": "us", "iat": now, "exp": now + 60} | claims
    return jwt.encode(content, KEY, algorithm="ES256").encode()


def auth(code: AuthReasonCode, data: bytes) -> AuthPacket:
    return AuthPacket(reason_code=code, authentication_method=METHOD, authentication_data=data)


def begin(client: Raw, name: str, password: str = "secret") -> tuple[ScramClient, bytes]:
    """CONNECT up to the challenge; returns what answers it."""
    one = ScramClient(name, password, nonce="abc")
    client.send(
        ConnectPacket(
            name,
            clean_start=True,
            authentication_method=METHOD,
            authentication_data=one.first(),
        )
    )
    challenge = client.next()
    assert isinstance(challenge, AuthPacket)
    assert challenge.reason_code is CONTINUE
    assert challenge.authentication_data is not None
    return one, one.answer(challenge.authentication_data)


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


def told(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


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


def test_after_too_many_failures_even_the_right_password_must_wait_at_that_address(
    house: Callable[..., Running],
) -> None:
    broker = house(failed_logins_per_device=3, failed_logins_seconds=3)
    for _ in range(3):
        assert connack(broker, "d1", username="d1", password=b"wrong") == 0x86
    assert connack(broker, "d1", username="d1", password=b"right") == 0x89
    # Others behind the same address go on.
    assert connack(broker, "signing", username="unused", password=token()) == 0
    time.sleep(1.2)
    assert connack(broker, "d1", username="d1", password=b"right") == 0


def test_names_that_do_not_exist_are_refused_after_as_many_failures(
    house: Callable[..., Running],
) -> None:
    broker = house(failed_logins_per_device=2)
    answers = {
        name: [connack(broker, "x", username=name, password=b"wrong") for _ in range(3)]
        for name in ("d1", "nobody")
    }
    assert answers == {"d1": [0x86, 0x86, 0x89], "nobody": [0x86, 0x86, 0x89]}


def test_scram_failures_count_too(house: Callable[..., Running]) -> None:
    broker = house(failed_logins_per_device=1)
    with raw(broker) as client:
        _, final = begin(client, "scram", "wrong")
        client.send(auth(CONTINUE, final))
        assert int(answer(client).reason_code) == 0x87
    with raw(broker) as client:
        one = ScramClient("scram", "secret", nonce="abc")
        client.send(
            ConnectPacket("scram", authentication_method=METHOD, authentication_data=one.first())
        )
        assert int(answer(client).reason_code) == 0x89


def test_an_address_that_guesses_names_is_refused_but_for_those_who_were_let_in_before(
    house: Callable[..., Running],
) -> None:
    broker = house(failed_logins_per_address=5)
    assert connack(broker, "d1", username="d1", password=b"right") == 0
    for number in range(5):
        assert connack(broker, "x", username=f"n{number}", password=b"guess") == 0x86
    assert connack(broker, "x", username="n5", password=b"guess") == 0x89
    assert connack(broker, "d1", username="d1", password=b"right") == 0
    # A signature can't be guessed: nobody pays for his neighbours.
    assert connack(broker, "signing", username="unused", password=token()) == 0


def test_tokens_that_fail_shut_nobody_else_out(house: Callable[..., Running]) -> None:
    broker = house(failed_logins_per_address=5)
    for number in range(5):
        assert connack(broker, f"n{number}", username="unused", password=token()) == 0x86
    assert connack(broker, "d1", username="d1", password=b"right") == 0


def test_logins_beyond_the_queue_are_told_to_come_later(
    house: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = house(pending_authentications=1)
    verify = PasswordAuthenticator.verify

    def slowly(self: PasswordAuthenticator, *arguments: Any) -> Any:
        time.sleep(1.5)
        return verify(self, *arguments)

    monkeypatch.setattr(PasswordAuthenticator, "verify", slowly)
    with raw(broker) as one, raw(broker) as two, raw(broker) as three, raw(broker) as four:
        for number, client in enumerate((one, two, three, four)):
            client.send(ConnectPacket("x", username=f"n{number}", password=b"guess"))
        assert int(answer(four).reason_code) == 0x89
        # A token does not wait for passwords.
        began = time.monotonic()
        assert connack(broker, "signing", username="unused", password=token()) == 0
        assert time.monotonic() - began < 1.2
        for client in (one, two, three):
            assert int(answer(client).reason_code) == 0x86


def guests(start: Callable[..., Running], tmp_path: Path, **entry: Any) -> Running:
    """A broker at which clients without credentials are the service ``guest``."""
    guest = {"role": "observer", "client_id_prefix": "guest-", "credentials": []} | entry
    path = tmp_path / "guests.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "devices": {"d1": {"password_hash": CHEAP.hash("right")}},
                "services": {"guest": guest},
            }
        )
    )
    return start(registry_file=path, listeners=(Listener(port=0, anonymous="guest"),))


def test_clients_without_credentials_are_the_service_that_the_listener_names(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    broker = guests(start, tmp_path)
    assert connack(broker, "guest-1") == 0
    assert connack(broker, "") == 0
    # They have its client identifiers, and nobody else's name.
    assert connack(broker, "d1") == 0x85
    assert connack(broker, "guest-1", username="guest") == 0x86
    assert connack(broker, "guest-1", username="guest", password=b"") == 0x86
    assert connack(broker, "guest-1", password=b"wrong") == 0x86


def test_where_that_service_is_blocked_or_missing_they_are_nobody(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    assert connack(guests(start, tmp_path, blocked=True), "guest-1") == 0x86
    nobody = start(listeners=(Listener(port=0, anonymous="guest"),))
    assert connack(nobody, "guest-1") == 0x86


def test_guests_go_when_their_service_is_blocked(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    broker = guests(start, tmp_path)
    with raw(broker) as client:
        client.send(ConnectPacket("guest-1"))
        assert int(answer(client).reason_code) == 0
        path = tmp_path / "guests.yaml"
        path.write_text(path.read_text().replace("guest:\n", "guest:\n    blocked: true\n"))
        goodbye = client.next()
        assert isinstance(goodbye, DisconnectPacket)


def test_brokers_that_share_a_key_challenge_an_unknown_name_alike(
    start: Callable[..., Running], registry: Path, tmp_path: Path
) -> None:
    key = tmp_path / "decoys.key"
    key.write_bytes(bytes(range(32)))

    def salt(**settings: Any) -> bytes:
        with raw(start(registry_file=registry, **settings)) as client:
            one = ScramClient("nobody", "x", nonce="abc")
            client.send(
                ConnectPacket("x", authentication_method=METHOD, authentication_data=one.first())
            )
            challenge = client.next()
            assert isinstance(challenge, AuthPacket)
            assert challenge.authentication_data is not None
            return challenge.authentication_data.split(b",")[1]

    assert salt(scram_decoy_key_file=key) == salt(scram_decoy_key_file=key)
    assert salt() != salt()
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="holds 5 bytes; it must hold 16 random bytes"):
        salt(scram_decoy_key_file=key)
    with pytest.raises(ConfigError, match="cannot be read"):
        salt(scram_decoy_key_file=tmp_path / "missing")
