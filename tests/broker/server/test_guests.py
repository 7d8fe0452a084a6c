"""Clients without credentials, where a listener lets them be a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
)

from broker.config import Listener
from tests.broker.auth.directory import CHEAP
from tests.broker.server.conftest import Running
from tests.broker.server.logging_in import answer, connack
from tests.broker.server.test_server import raw


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
