"""One device's MQTT 5 connection, on paho-mqtt driven by an asyncio loop: no thread a device.

Delivery: QoS 1. A reading is counted when its PUBACK comes; until then it is kept, and sent
again after a reconnect (clean start off, a session that outlives the connection). At most
`WINDOW` messages are in flight, or what the broker's receive maximum allows, and at most
`WAITING` wait behind them; a device that is further behind takes no new readings.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from random import uniform
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from localcloud.devices.errors import BrokerRefused
from localcloud.devices.reading import CONTENT_TYPE, SCHEMA_ID, Reading
from schemas.layout import DEFAULT
from schemas.messages import (
    COMMAND_ID_PROPERTY,
    EVENT_TIME_PROPERTY,
    MESSAGE_ID_PROPERTY,
    SCHEMA_ID_PROPERTY,
)

WINDOW = 100
WAITING = 10_000
KEEP_ALIVE_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5.0
SESSION_EXPIRY_SECONDS = 3600
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# A PUBACK's word for it; the message is accepted, and kept for nobody [MQTT-5 3.4.2.1].
_NO_MATCHING_SUBSCRIBERS = 0x10
# Bad user name or password, not authorized, banned, client identifier not valid [MQTT-5 3.2.2.2].
_FOR_GOOD = frozenset({0x85, 0x86, 0x87, 0x8A})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A reading on its way, with the id it is counted by."""

    message_id: str
    reading: Reading


class DeviceConnection:
    """Keeps one device connected until it is stopped, and tells what came of each message.

    `on_acknowledged` gets each message once, and whether anyone subscribes to it; `on_rejected`
    a message that the broker refused, with the reason; `on_command` the device's id and the
    command's (its topic where it brings none), as often as it arrives. All are called in the
    loop's thread.
    """

    def __init__(
        self,
        *,
        device_id: str,
        password: str,
        host: str,
        port: int,
        executor: Executor,
        on_acknowledged: Callable[[Outgoing, bool], None],
        on_rejected: Callable[[Outgoing, str], None],
        on_command: Callable[[str, str], None],
    ) -> None:
        self.device_id = device_id
        self.connects = 0
        self._host, self._port = host, port
        self._executor = executor
        self._on_acknowledged, self._on_rejected = on_acknowledged, on_rejected
        self._on_command = on_command
        self._topic = DEFAULT.telemetry_topic(device_id)
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._window = WINDOW
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._refused: BrokerRefused | None = None
        self._client = self._make_client(password)

    @property
    def outstanding(self) -> int:
        """How many messages have no PUBACK yet."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Whether it is too far behind to take another reading."""
        return len(self._waiting) >= WAITING

    @property
    def is_connected(self) -> bool:
        """Whether it is connected and subscribed to its commands."""
        return self._ready.is_set()

    def publish(self, outgoing: Outgoing) -> None:
        """Send a message, or keep it until it can be sent."""
        self._waiting.append(outgoing)
        self._send_waiting()

    async def run(self) -> None:
        """Stay connected until cancelled; raises BrokerRefused if that can't be."""
        pause = FIRST_PAUSE_SECONDS
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                self._lost.clear()
                connect = partial(
                    self._client.connect,
                    self._host,
                    self._port,
                    KEEP_ALIVE_SECONDS,
                    clean_start=False,
                    properties=_connect_properties(),
                )
                try:
                    await self._loop.run_in_executor(self._executor, connect)
                    await self._lost.wait()
                except OSError:
                    pass  # the broker is away: the pause below, and once more
                if self._refused is not None:
                    raise self._refused
                if self._ready.is_set():
                    self._ready.clear()
                    pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(uniform(pause / 2, pause))  # noqa: S311 - jitter
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            ticking.cancel()

    async def close(self, *, timeout_seconds: float) -> None:
        """Say DISCONNECT and wait until it is sent; `run` must have been cancelled."""
        self._ready.clear()
        if not self._client.is_connected():
            return
        self._lost.clear()
        self._client.disconnect()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._lost.wait()
        except TimeoutError:
            pass  # the broker finds out by itself

    def _make_client(self, password: str) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.device_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.username_pw_set(self.device_id, password)
        client.connect_timeout = CONNECT_TIMEOUT_SECONDS
        # The window is kept here: paho's own looks through all waiting messages at each PUBACK.
        client.max_inflight_messages_set(0)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._received
        client.on_socket_open = self._socket_opened
        client.on_socket_close = self._socket_closing
        client.on_socket_register_write = self._socket_wants_write
        return client

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._client.loop_misc()

    def _send_waiting(self) -> None:
        while self._ready.is_set() and self._waiting and len(self._in_flight) < self._window:
            outgoing = self._waiting.popleft()
            info = self._client.publish(
                self._topic,
                outgoing.reading.payload,
                qos=1,
                properties=_publish_properties(outgoing),
            )
            # paho keeps it from here on, also where the connection is just going.
            self._in_flight[info.mid] = outgoing

    # What paho calls.

    def _connected(
        self, client: paho.Client, _: object, flags: object, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            if reason.value in _FOR_GOOD:
                self._refused = BrokerRefused(
                    f"the broker at {self._host}:{self._port} refused device "
                    f"{self.device_id}: {reason}"
                )
            return
        self.connects += 1
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        client.subscribe(DEFAULT.command_filter(self.device_id), options=SubscribeOptions(qos=1))

    def _subscribed(
        self, client: paho.Client, _: object, mid: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        if reasons[0].is_failure:
            self._refused = BrokerRefused(
                f"the broker refused device {self.device_id} its own commands "
                f"({DEFAULT.command_filter(self.device_id)}): {reasons[0]}"
            )
            self._lost.set()
            return
        self._ready.set()
        self._send_waiting()

    def _disconnected(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._lost.set)

    def _published(
        self, client: paho.Client, _: object, mid: int, reason: ReasonCode, properties: Any
    ) -> None:
        outgoing = self._in_flight.pop(mid)
        if reason.is_failure:
            self._on_rejected(outgoing, str(reason))
        else:
            self._on_acknowledged(outgoing, reason.value != _NO_MATCHING_SUBSCRIBERS)
        self._send_waiting()

    def _received(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        pairs = getattr(message.properties, "UserProperty", [])
        command_id = next((value for name, value in pairs if name == COMMAND_ID_PROPERTY), None)
        self._on_command(self.device_id, command_id or message.topic)

    # The socket in the loop. paho calls these from `connect`, which runs in another thread, too.

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(call, *arguments)
        else:
            self._loop.call_soon_threadsafe(call, *arguments)

    def _socket_opened(self, client: paho.Client, _: object, socket: Any) -> None:
        self._soon(self._loop.add_reader, socket, client.loop_read)

    def _socket_closing(self, client: paho.Client, _: object, socket: Any) -> None:
        # At once, not soon: the number of a closed socket may belong to another one by then.
        self._loop.remove_reader(socket)
        self._loop.remove_writer(socket)

    def _socket_wants_write(self, client: paho.Client, _: object, socket: Any) -> None:
        self._soon(self._flush, socket)

    def _flush(self, socket: Any) -> None:
        # It may have been closed, and replaced, since this call was asked for or by it.
        if self._owns(socket):
            self._client.loop_write()
        if not self._owns(socket):
            return
        if self._client.want_write():
            self._loop.add_writer(socket, self._flush, socket)
        else:
            self._loop.remove_writer(socket)

    def _owns(self, socket: object) -> bool:
        return self._client.socket() is socket


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.SessionExpiryInterval = SESSION_EXPIRY_SECONDS
    return properties


def _publish_properties(outgoing: Outgoing) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own
    properties.ContentType = CONTENT_TYPE
    properties.UserProperty = [
        (MESSAGE_ID_PROPERTY, outgoing.message_id),
        (EVENT_TIME_PROPERTY, outgoing.reading.event_time),
        (SCHEMA_ID_PROPERTY, SCHEMA_ID),
    ]
    return properties
