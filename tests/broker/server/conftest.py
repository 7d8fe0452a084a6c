"""A real server on a port of the system's choosing, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from broker.config import BrokerConfig, Listener, ListenerType
from broker.core.limits import Limits
from broker.registry import Service, generate
from broker.server import Server

T = TypeVar("T")

DEVICES = [f"d{number}" for number in range(1, 60)]
SERVICES = (
    Service(name="tele", role="telemetry-pipeline", client_id_prefix="tele-"),
    Service(name="cmd", role="command-pipeline", client_id_prefix="cmd-"),
    Service(name="all", role="observer", client_id_prefix="all-"),
)


def eventually(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Waits until the condition holds, and fails if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@dataclass
class Running:
    """A server, its port, and the passwords of its users."""

    server: Server
    loop: asyncio.AbstractEventLoop
    passwords: dict[str, str]

    @property
    def port(self) -> int:
        port = urlsplit(self.server.urls[0]).port
        assert port is not None
        return port

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers; their configuration's fields are the keywords."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started: list[Running] = []

    def start_one(**settings: Any) -> Running:
        registry = tmp_path / f"registry{len(started)}.yaml"
        passwords = generate(registry, devices=DEVICES, services=SERVICES)
        config = replace(
            BrokerConfig(listeners=(Listener(port=0),), registry_file=registry), **settings
        )
        server = asyncio.run_coroutine_threadsafe(Server.start(config), loop).result(20)
        started.append(Running(server, loop, passwords))
        return started[-1]

    try:
        yield start_one
    finally:
        try:
            for running in started:
                running.call(running.server.stop())
        finally:
            # Else the thread would outlive the tests.
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


@pytest.fixture
def broker(start: Callable[..., Running]) -> Running:
    return start()


@pytest.fixture
def served(start: Callable[..., Running]) -> Callable[..., Running]:
    """Starts a server with a WebSocket listener."""

    def start_one(limits: Limits | None = None, **listener: Any) -> Running:
        options: dict[str, Any] = {"type": ListenerType.WS, "port": 0, **listener}
        return start(listeners=(Listener(**options),), limits=limits or Limits())

    return start_one
