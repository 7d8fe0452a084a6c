"""What guessing costs, and whom it holds up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import (
    AuthPacket,
    ConnectPacket,
)

from broker.auth.passwords import PasswordAuthenticator
from broker.errors import ConfigError
from mqtt.scram import METHOD, ScramClient
from tests.broker.server.conftest import Running
from tests.broker.server.logging_in import (
    CONTINUE,
    answer,
    auth,
    begin,
    connack,
    house,
    registry,
    token,
)
from tests.broker.server.raw_client import raw

__all__ = ["house", "registry"]


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
