"""This project's client and broker together: four ways to log in, over each kind of listener."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.config import ClientCertificates, Listener, ListenerType
from mqtt.client import (
    BrokerAddress,
    ConnectionSettings,
    Message,
    Publisher,
    TlsFiles,
    TokenSigner,
)
from mqtt.codec import ProtocolVersion
from mqtt.errors import ConnectionRefused
from mqtt.scram import ScramKeys
from tests.broker.auth.directory import CHEAP, public_pem
from tests.broker.auth.issuing import Issuer
from tests.broker.server.conftest import Running
from tests.harness.certificates import Authority

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
CA = Issuer("devices")
WAYS = ("password", "scram", "token", "certificate")
CLOUD = "projects/p/locations/l/registries/r/devices/token"


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


class House:
    """A broker with a listener of each type, and a device for each way, named after it."""

    def __init__(self, folder: Path, start: Callable[..., Running]) -> None:
        self.folder = folder
        self.authority = Authority(folder, "servers")
        own = self.authority.sign("127.0.0.1")
        files = {
            "certificate_file": Path(own.certificate),
            "key_file": Path(own.key),
            "client_certificates": ClientCertificates.OPTIONAL,
        }
        kinds = list(ListenerType)
        listeners = tuple(
            Listener(type=kind, port=0, **(files if kind.has_tls else {}))  # type: ignore[arg-type]  # as above
            for kind in kinds
        )
        registry = folder / "four.yaml"
        registry.write_text(yaml.safe_dump(self._registry()))
        broker = start(registry_file=registry, listeners=listeners, token_audiences=("us",))
        self.addresses = dict(zip(kinds, map(BrokerAddress.parse, broker.server.urls), strict=True))

    def _registry(self) -> dict[str, Any]:
        keys = ScramKeys.of("secret", salt=b"0123456789abcdef", iterations=4_096)
        scram = {
            "type": "scram",
            "iterations": keys.iterations,
            "salt": text(keys.salt),
            "stored_key": text(keys.stored_key),
            "server_key": text(keys.server_key),
        }
        public = {"type": "public_key", "algorithm": "ES256", "pem": public_pem(KEY)}
        return {
            "version": 1,
            "devices": {
                "password": {"password_hash": CHEAP.hash("secret")},
                "scram": {"credentials": [scram]},
                "token": {"credentials": [public]},
                "certificate": {"credentials": []},
            },
            "authorities": {"site": {"pem": CA.pem}},
        }

    def settings(
        self, way: str, kind: ListenerType, protocol: ProtocolVersion = V5, **changes: Any
    ) -> ConnectionSettings:
        certificate, key = CA.issue("certificate").files(self.folder, "client")
        of_way: dict[str, Any] = {
            "password": {"username": "password", "password": lambda: b"secret"},
            "scram": {"username": "scram", "password": lambda: b"secret", "scram": True},
            "token": {
                "client_id": CLOUD,
                "username": "unused",
                "password": TokenSigner(lambda: KEY_PEM, audience="us"),
            },
            "certificate": {
                "tls": TlsFiles(
                    ca_file=self.authority.file, certificate_file=certificate, key_file=key
                )
            },
        }
        defaults = {
            "addresses": (self.addresses[kind],),
            "client_id": way,
            "protocol": protocol,
            "tls": TlsFiles(ca_file=self.authority.file),
        }
        return ConnectionSettings(**(defaults | of_way[way] | changes))


@pytest.fixture
def house(tmp_path: Path, start: Callable[..., Running]) -> House:
    return House(tmp_path, start)


def publish(settings: ConnectionSettings, device: str) -> None:
    publisher = Publisher(settings)
    try:
        publisher.wait_ready(10)
        message = Message(f"devices/{device}/telemetry/x", b"1")
        # Taken, though nobody has subscribed, which only 5.0 can tell.
        (code,) = publisher.publish([message], timeout_seconds=10)
        assert code in (0x00, 0x10)
    finally:
        publisher.close()


def test_every_way_over_every_listener_and_version(house: House) -> None:
    for kind in ListenerType:
        for way in WAYS:
            for protocol in (V5, V311):
                if way == "certificate" and not kind.has_tls:
                    continue
                if way == "scram" and protocol is V311:
                    continue
                publish(house.settings(way, kind, protocol), way)


@pytest.mark.parametrize("kind", [ListenerType.TLS, ListenerType.WSS])
def test_a_device_of_another_name_can_t_be_had_by_any_way(house: House, kind: ListenerType) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "password": {"password": lambda: b"wrong"},
        "scram": {"password": lambda: b"wrong"},
        "token": {"client_id": "password"},
        "certificate": {"client_id": "password"},
    }
    for way, changes in wrong.items():
        publisher = Publisher(house.settings(way, kind, **changes))
        try:
            with pytest.raises(ConnectionRefused):
                publisher.wait_ready(10)
        finally:
            publisher.close()
