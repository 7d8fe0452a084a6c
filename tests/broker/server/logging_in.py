"""A broker whose registry has each kind of credential, and clients that log in to it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
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
)

from broker.core.limits import Limits
from mqtt.scram import METHOD, ScramClient, ScramKeys
from tests.broker.auth.directory import CHEAP, public_pem
from tests.broker.server.conftest import Running
from tests.broker.server.raw_client import Raw, raw

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


def told(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text
