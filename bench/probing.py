"""Devices that try what they may do, and a client that wants to be served: a process of its own.

What is measured must not wait for the process that holds ten thousand connections, and sees them
end at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import mqtt5
from mqtt5 import ConnectPacket, DisconnectPacket, PingReqPacket, PublishPacket, QoS

_PROBE_SECONDS = 0.05
_PING_SECONDS = 0.002
_LONGEST_SECONDS = 30.0


class Device(asyncio.Protocol):
    """One device; what it awaits is the next packet of any type.

    ``gone_at``: when it heard that its connection ends.
    """

    def __init__(self) -> None:
        self.gone_at: float | None = None
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
            if isinstance(packet, DisconnectPacket):
                self._gone()
            elif self._awaited is not None and not self._awaited.done():
                self._awaited.set_result(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()

    def _gone(self) -> None:
        if self.gone_at is None:
            self.gone_at = time.monotonic()
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(ConnectionError("the broker ended the connection"))

    async def ask(self, *packets: mqtt5.Packet) -> mqtt5.Packet:
        """Sends these, and returns the first answer. Raises ConnectionError."""
        assert self._transport is not None
        if self.gone_at is not None:
            raise ConnectionError("the broker has ended the connection")
        self._awaited = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(packet.write() for packet in packets))
        return await self._awaited

    def close(self) -> None:
        """Leaves at once."""
        assert self._transport is not None
        self._transport.abort()


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it. ``last_allowed``: by the monotonic clock, of each device in order."""

    last_allowed: Sequence[float]
    longest_ping_seconds: float


class Prober:
    """The other process, which has connected and tries already."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def end(self) -> Probed:
        """Waits until nobody may do it any more, and returns what was seen.

        Raises:
          TimeoutError: somebody still may.
        """
        self._pipe.send("end")
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Probed)
        return result


@contextmanager
def prober(
    port: int, *, names: Sequence[str], served: str, password: str, topic: str
) -> Iterator[Prober]:
    """Devices ``names`` publish to ``topic``/NAME all the time, and ``served`` sends PINGREQs."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    arguments = (theirs, port, tuple(names), served, password, topic)
    process = context.Process(target=_run, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        assert pipe.recv() == "ready"
        yield Prober(pipe)
    finally:
        pipe.close()
        process.join(_LONGEST_SECONDS)
        process.kill()


def _run(
    pipe: Connection, port: int, names: tuple[str, ...], served: str, password: str, topic: str
) -> None:
    try:
        pipe.send(asyncio.run(_probe(pipe, port, names, served, password, topic)))
    except (TimeoutError, ConnectionError, AssertionError) as error:
        pipe.send(error)


async def _probe(
    pipe: Connection, port: int, names: tuple[str, ...], served: str, password: str, topic: str
) -> Probed:
    devices = [await connected(port, name, password) for name in names]
    ping = asyncio.ensure_future(_longest_ping(await connected(port, served, password)))
    probes = [
        asyncio.ensure_future(_last_allowed(device, f"{topic}/{name}"))
        for device, name in zip(devices, names, strict=True)
    ]
    await asyncio.sleep(0.5)
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    last = await asyncio.gather(*probes)
    ping.cancel()
    return Probed(last_allowed=last, longest_ping_seconds=await ping)


async def connected(port: int, name: str, password: str) -> Device:
    """A device that has logged in."""
    loop = asyncio.get_running_loop()
    _, device = await loop.create_connection(Device, "127.0.0.1", port)
    answer = await device.ask(ConnectPacket(name, username=name, password=password.encode()))
    assert isinstance(answer, mqtt5.ConnAckPacket), answer
    assert int(answer.reason_code) == 0, answer
    return device


async def _last_allowed(device: Device, topic: str) -> float:
    """When a publish was refused first, or not answered any more: the time of asking."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        asked = time.monotonic()
        packet = PublishPacket(topic, b"", qos=QoS.AT_LEAST_ONCE, packet_id=1)
        try:
            answer = await device.ask(packet)
        except ConnectionError:
            return asked
        assert isinstance(answer, mqtt5.PubAckPacket), answer
        if int(answer.reason_code) >= 0x80:
            return asked
        await asyncio.sleep(_PROBE_SECONDS * random.uniform(0.5, 1.5))
    raise TimeoutError(f"the change was not in effect after {_LONGEST_SECONDS} s")


async def _longest_ping(device: Device) -> float:
    """How long the slowest answer took, until this is cancelled."""
    longest = 0.0
    try:
        while True:
            asked = time.monotonic()
            await device.ask(PingReqPacket())
            longest = max(longest, time.monotonic() - asked)
            await asyncio.sleep(_PING_SECONDS)
    except asyncio.CancelledError:
        return longest
