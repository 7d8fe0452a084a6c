"""Devices as their makers write them: on paho-mqtt."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from schemas.times import format_time
from tests.harness.brokers import Broker
from tests.harness.taps import Tap
from tests.harness.waiting import wait_until

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5

_IN_FLIGHT = 500


class Device:
    """A device that publishes and takes commands; a context manager.

    ``commands`` counts the command ids that arrived (MQTT 5's user property, else the payload).
    """

    def __init__(
        self,
        broker: Broker,
        device_id: str,
        *,
        protocol: MQTTProtocolVersion = V5,
        user: str | None = None,
        subscribe: Sequence[str] = (),
    ) -> None:
        self.device_id = device_id
        self.commands: Counter[str] = Counter()
        self.messages: list[paho.MQTTMessage] = []
        self.acknowledged: set[int] = set()
        self._protocol = protocol
        self._subscribe = subscribe
        self._granted = threading.Event()
        self._broker = broker
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            device_id,
            protocol=protocol,
            clean_session=True if protocol is V311 else None,
        )
        user = user or device_id
        if user in broker.passwords:
            self.client.username_pw_set(user, broker.passwords[user])
        self.client.max_inflight_messages_set(_IN_FLIGHT)
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._on_subscribe
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_message

    def __enter__(self) -> Self:
        self.client.connect(self._broker.host, self._broker.port, keepalive=60)
        self.client.loop_start()
        if not self._granted.wait(30):
            raise AssertionError(f"{self.device_id} was not let in")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(
        self,
        payload: bytes,
        *,
        message_id: str = "",
        topic: str = "",
        properties: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Publishes telemetry at QoS 1 without waiting; returns paho's number of it."""
        options: dict[str, Any] = {}
        if self._protocol is V5:
            mqtt5: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
            mqtt5.ContentType = "application/json"
            mqtt5.UserProperty = [
                ("event-time", format_time(datetime.now(UTC))),
                *([("message-id", message_id)] if message_id else []),
                *properties,
            ]
            options["properties"] = mqtt5
        topic = topic or f"devices/{self.device_id}/telemetry/env"
        return self.client.publish(topic, payload, 1, **options).mid

    def wait_until_acknowledged(self, numbers: Sequence[int], *, seconds: float = 60) -> None:
        wanted = set(numbers)
        wait_until(
            lambda: wanted <= self.acknowledged,
            seconds=seconds,
            what=lambda: f"PUBACK for {len(wanted - self.acknowledged)} messages",
        )

    def _connected(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            return
        if self._subscribe:
            client.subscribe([(item, 1) for item in self._subscribe])
        else:
            self._granted.set()

    def _on_subscribe(self, client: Any, data: Any, mid: int, codes: Any, properties: Any) -> None:
        assert not any(code.is_failure for code in codes), codes
        self._granted.set()

    def _on_publish(self, client: Any, data: Any, mid: int, code: Any, properties: Any) -> None:
        assert not code.is_failure, code
        self.acknowledged.add(mid)

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        given = getattr(message.properties, "UserProperty", [])
        command_id = dict(given).get("command-id") or message.payload.decode(errors="replace")
        self.messages.append(message)
        self.commands[command_id] += 1


def observer(broker: Broker) -> Device:
    """Takes the commands to all devices, of which it is none."""
    return Device(broker, "observer-1", user="observer", subscribe=["devices/+/commands/#"])


def wait_until_subscribed(device: Device, tap: Tap, *, seconds: float = 60) -> None:
    """Sends a first message, with payload and id ``probe``, until one comes through.

    At its first start a pipeline has no session at the broker, and what is published before it
    has subscribed goes nowhere.
    """

    def came_through() -> bool:
        if not tap.seen:
            device.publish(b"probe", message_id="probe")
        return bool(tap.seen)

    wait_until(came_through, seconds=seconds, what="the first message", poll_seconds=0.1)


class Traffic:
    """Publishes numbered messages from a thread at a steady rate, as far as it is allowed to.

    Args:
      send: called with each number.
      total: messages in all.
      rate: messages a second.
    """

    def __init__(self, send: Callable[[range], None], *, total: int, rate: float) -> None:
        self.sent = 0
        self._send = send
        self._total = total
        self._rate = rate
        self._allowed = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(30)

    def allow(self, number: int) -> None:
        """Lets it go on until so many are sent."""
        with self._changed:
            self._allowed = min(number, self._total)
            self._changed.notify()

    def wait(self, *, seconds: float) -> None:
        """Waits until everything allowed is sent."""
        wait_until(
            lambda: self._error or self.sent >= self._allowed, seconds=seconds, what="the traffic"
        )
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while self.sent >= self._allowed and not self._stopped:
                        self._changed.wait()
                    if self._stopped:
                        return
                    count = min(max(1, int(self._rate / 50)), self._allowed - self.sent)
                started = time.monotonic()
                self._send(range(self.sent, self.sent + count))
                self.sent += count
                pause = count / self._rate - (time.monotonic() - started)
                if pause > 0:
                    time.sleep(pause)
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            self._error = error
