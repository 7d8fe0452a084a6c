"""How soon a change in the registry is in effect for who is connected: ``python -m bench.changes``.

Starts the embedded broker on a registry in SQLite, connects devices that share a role, with a
subscription to their own commands each, and takes a topic from the role. Some of the devices, the
first and the last by name among them, publish there all the time: printed is when the last of them
was still allowed to, counted from the change's commit, and for how long at most a PINGREQ of
another client waited meanwhile, which is what the change holds up everybody else.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import argon2
import mqtt5
from mqtt5 import ConnectPacket, PingReqPacket, PublishPacket, QoS, SubscribePacket, TopicFilter

from bench.processes import own_broker
from broker.auth.identity import Password
from broker.auth.password_hash import PasswordHash
from broker.registry.entries import Content, Entry
from broker.registry.registry_url import registry_url
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from broker.server.open_files import allow_open_files

_CONFIG = """\
listeners: [{port: 0}]
registry: {url: "sqlite:///registry.db"}
log: {level: error}
"""
_ROLE = "meter"
_PASSWORD = "of-the-bench"
_AT_ONCE = 50
_PROBED = 50
_PROBE_SECONDS = 0.05
_PING_SECONDS = 0.002
_LONGEST_SECONDS = 30.0


class _Client(asyncio.Protocol):
    """One device; what it awaits is the next packet of a type."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._awaited: asyncio.Future[mqtt5.Packet] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        while self._got:
            try:
                packet, consumed = mqtt5.read(memoryview(bytes(self._got)))
            except IndexError:
                return
            del self._got[:consumed]
            if self._awaited is not None and not self._awaited.done():
                self._awaited.set_result(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(ConnectionError("the broker ended the connection"))

    async def ask(self, *packets: mqtt5.Packet) -> mqtt5.Packet:
        """Sends these, and returns the first answer."""
        assert self._transport is not None
        self._awaited = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(packet.write() for packet in packets))
        return await self._awaited

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()


def main() -> None:
    """Measures each round, and prints one line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="devices that share the role")
    parser.add_argument("--rounds", type=int, default=3, help="changes, one after another")
    options = parser.parse_args()
    allow_open_files(options.count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = SqlRegistry(registry_url("sqlite:///registry.db", folder=folder))
        names = [f"device-{number:06d}" for number in range(options.count)]
        registry.take_in(_content(names, options.rounds))
        with _broker(folder) as port:
            asyncio.run(_rounds(registry, names, port, options.rounds))
        registry.close()


async def _rounds(registry: SqlRegistry, names: list[str], port: int, rounds: int) -> None:
    clients = await _connected(names, port)
    probed = [*random.sample(names[2:-1], min(_PROBED, len(names) - 3)), names[0], names[-1]]
    for number in range(rounds):
        # Each round at another moment between two looks at the registry.
        await asyncio.sleep(1 + random.random() / 2)
        topic = f"bench/{number}"
        ping = asyncio.ensure_future(_longest_ping(clients[names[1]]))
        probes = [asyncio.ensure_future(_last_allowed(clients[n], n, topic)) for n in probed]
        await asyncio.sleep(0.5)
        role = _role([f"bench/{later}" for later in range(number + 1, rounds)])
        await asyncio.to_thread(registry.put_role, _ROLE, role)
        changed = time.monotonic()
        last = await asyncio.gather(*probes)
        ping.cancel()
        longest = await ping
        print(
            f"{len(names)} devices: the last right ended after {max(last) - changed:.2f} s,"
            f" the median after {sorted(last)[len(last) // 2] - changed:.2f} s;"
            f" others waited {longest * 1_000:.0f} ms at most",
            flush=True,
        )
    for client in clients.values():
        client.close()


async def _last_allowed(client: _Client, name: str, topic: str) -> float:
    """When a publish was refused first: the time of asking, by which no later one was allowed."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        asked = time.monotonic()
        packet = PublishPacket(f"{topic}/{name}", b"", qos=QoS.AT_LEAST_ONCE, packet_id=1)
        answer = await client.ask(packet)
        assert isinstance(answer, mqtt5.PubAckPacket), answer
        if int(answer.reason_code) >= 0x80:
            return asked
        await asyncio.sleep(_PROBE_SECONDS * random.uniform(0.5, 1.5))
    raise TimeoutError(f"the change was not in effect after {_LONGEST_SECONDS} s")


async def _longest_ping(client: _Client) -> float:
    """How long the slowest answer took, until this is cancelled."""
    longest = 0.0
    try:
        while True:
            asked = time.monotonic()
            await client.ask(PingReqPacket())
            longest = max(longest, time.monotonic() - asked)
            await asyncio.sleep(_PING_SECONDS)
    except asyncio.CancelledError:
        return longest


async def _connected(names: list[str], port: int) -> dict[str, _Client]:
    clients: dict[str, _Client] = {}
    loop = asyncio.get_running_loop()

    async def connect(name: str) -> None:
        _, client = await loop.create_connection(_Client, "127.0.0.1", port)
        await client.ask(ConnectPacket(name, username=name, password=_PASSWORD.encode()))
        await client.ask(SubscribePacket(1, [TopicFilter(f"devices/{name}/commands/#")]))
        clients[name] = client

    for start in range(0, len(names), _AT_ONCE):
        await asyncio.gather(*(connect(name) for name in names[start : start + _AT_ONCE]))
    return clients


def _role(topics: list[str]) -> Role:
    standard = ("devices/%device/telemetry/#", "devices/%device/state")
    return Role(
        publish=Patterns(allow=(*standard, *(f"{topic}/%device" for topic in topics))),
        subscribe=Patterns(allow=("devices/%device/commands/#", "devices/%device/config")),
        will=Patterns(allow=standard),
    )


def _content(names: list[str], rounds: int) -> Content:
    # One hash for all, of the lowest cost: logging in is not what is measured.
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    hashed = PasswordHash.of(_PASSWORD, hasher=hasher)
    entries = {
        name: Entry(name=name, role=_ROLE, credentials=(Password(id=f"{name}/1", hash=hashed),))
        for name in names
    }
    role = _role([f"bench/{number}" for number in range(rounds)])
    return Content(entries=entries, roles={_ROLE: role})


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    config = folder / "broker.yaml"
    config.write_text(_CONFIG)
    with own_broker(config) as (_, urls):
        port = urlsplit(urls[0]).port
        assert port is not None
        yield port


if __name__ == "__main__":
    main()
