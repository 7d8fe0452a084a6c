"""Clients without credentials, where a listener lets them be a service."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from broker.config import Listener
from broker.config_file import read_config
from docs.broker_page import PAGE
from tests.broker.auth.directory import CHEAP
from tests.broker.server.conftest import Running
from tests.broker.server.logging_in import answer, connack
from tests.broker.server.raw_client import raw


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
    assert connack(broker, "", clean_start=True) == 0
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


def test_where_credentials_are_ignored_everyone_is_a_guest(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    guests(start, tmp_path)
    listener = Listener(port=0, anonymous="guest", ignore_credentials=True)
    broker = start(registry_file=tmp_path / "guests.yaml", listeners=(listener,))
    for given in ({}, {"username": "x"}, {"username": "d1", "password": b"wrong"}):
        assert connack(broker, "guest-1", **given) == 0
    # Nobody is more than a guest, by right credentials neither.
    assert connack(broker, "d1", username="d1", password=b"right") == 0x85


def test_the_open_broker_of_the_page_takes_every_client(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## For trying out clients")[2]
    settings, registry = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:2]
    (tmp_path / "registry.yaml").write_text(registry)
    (tmp_path / "broker.yaml").write_text(settings)
    config, problems = read_config(tmp_path / "broker.yaml")
    assert config is not None, problems
    listeners = tuple(replace(each, port=0) for each in config.listeners)
    broker = start(registry_file=config.registry_file, listeners=listeners, limits=config.limits)
    with raw(broker) as client:
        client.send(ConnectPacket("any thing", username="any", password=b"one"))
        assert int(answer(client).reason_code) == 0
        client.send(SubscribePacket(1, [TopicFilter("#"), TopicFilter("$SYS/#")]))
        codes = client.next()
        assert isinstance(codes, SubAckPacket)
        assert [int(code) for code in codes.reason_codes] == [2, 2]
