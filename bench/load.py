"""The load: device telemetry over MQTT, commands over Pub/Sub, each in a process of its own.

Run by the measurements as ``python -m bench.load KIND …`` so that the generator shares no
interpreter with what is measured; BENCH_PASSWORD is the broker's. Bare commands go over MQTT, as
our pipeline would publish them, and messages as devices would that know no properties: they show
what a broker can carry.
The last line on standard output is a JSON object with
``published`` (accepted by the broker or by Pub/Sub) and ``seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice

import mqtt5

from bench.processes import BenchError
from bench.pubsub import MESSAGES_A_REQUEST, PubSub
from bench.session import Session
from mqtt.codec import ProtocolVersion
from mqtt.codec import encode as encode_packet

PAYLOAD_BYTES = 200
DEVICES = 100
WINDOW = 6000
"""Messages sent and not yet acknowledged: enough to keep the broker busy all the time."""

_HEAD = b'{"message_id":"%012d","event_time":%017.6f,"temperature":21.375,"note":"'
_TAIL = b'"}'
_NUMBER = slice(15, 27)
_EVENT_TIME = slice(42, 59)
_PACKETS_A_WRITE = 100
_ACK_WAIT_SECONDS = 30.0
_ACKS_SECONDS = 0.002
"""PUBACKs of so long are read at once: the broker is to have the cores."""


def payload(number: int, event_time: float) -> bytes:
    """200 bytes of JSON: a reading numbered ``number``, made at ``event_time`` (of the epoch)."""
    head = _HEAD % (number, event_time)
    return head + b"." * (PAYLOAD_BYTES - len(head) - len(_TAIL)) + _TAIL


def number_of(data: bytes) -> int:
    """The number that ``payload`` put in."""
    return int(data[_NUMBER])


def event_time_of(data: bytes) -> float:
    """The time that ``payload`` put in, seconds of the epoch."""
    return float(data[_EVENT_TIME])


def device_of(number: int) -> str:
    """The device that sends, or is sent, message ``number``."""
    return f"d{number % DEVICES:03d}"


class Publisher:
    """One MQTT connection that publishes for all devices, QoS 1, in a window of ``window``.

    The messages carry a hundred topics.
    """

    def __init__(self, session: Session, *, window: int = WINDOW) -> None:
        self._session = session
        self._socket = session.socket
        self._window = window
        self._rest = session.rest
        self.sent = 0
        self.acknowledged = 0

    def has_room(self, count: int) -> bool:
        """Whether the window lets so many packets pass now."""
        return self.sent + count - self.acknowledged <= self._window

    def send(self, packets: bytes, count: int) -> None:
        """Sends ``count`` encoded packets as soon as the window lets them pass."""
        while not self.has_room(count):
            time.sleep(_ACKS_SECONDS)
            self.collect(_ACK_WAIT_SECONDS)
        self._socket.sendall(packets)
        self.sent += count

    def fileno(self) -> int:
        """The socket's, for ``select``."""
        return self._socket.fileno()

    def collect(self, seconds: float) -> None:
        """Counts the PUBACKs that arrive, waiting at most ``seconds`` for the first.

        Raises:
          BenchError: the broker hung up, refused a message, or was silent for 30 s.
        """
        readable, _, _ = select.select([self._socket], [], [], seconds)
        if not readable:
            if seconds >= _ACK_WAIT_SECONDS:
                raise BenchError(f"no PUBACK for {seconds:g} s after {self.acknowledged}")
            return
        data = self._socket.recv(262144)
        if not data:
            raise BenchError(f"the broker hung up after {self.acknowledged} messages")
        data = self._rest + data
        at = 0
        while at + 2 <= len(data) and at + 2 + data[at + 1] <= len(data):
            length = data[at + 1]
            if data[at] == 0x40:
                if length > 2 and data[at + 4] >= 0x80:
                    raise BenchError(f"the broker refused a message: 0x{data[at + 4]:02x}")
                self.acknowledged += 1
            at += 2 + length
        self._rest = data[at:]

    def settle(self) -> None:
        """Waits until every message is acknowledged."""
        while self.acknowledged < self.sent:
            self.collect(_ACK_WAIT_SECONDS)

    def close(self) -> None:
        """Leaves the broker."""
        self._session.close()


Encode = Callable[[int, float], bytes]
"""PUBLISH of a number and an event time; its packet identifier follows from the number."""


def telemetry(number: int, event_time: float, *, properties: bool = False) -> bytes:
    """What a device sends, with MQTT 5 properties or without."""
    return mqtt5.PublishPacket(
        f"devices/{device_of(number)}/telemetry/env",
        payload(number, event_time),
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=number % 65535 + 1,
        content_type="application/json" if properties else None,
        user_properties=[
            ("message-id", f"bench-{number:012d}"),
            ("event-time", _rfc3339(event_time)),
        ]
        if properties
        else None,
    ).write()


def bare_command(number: int, event_time: float) -> bytes:
    """What our pipeline sends for a command of ``publish_commands``."""
    device = device_of(number)
    return mqtt5.PublishPacket(
        f"devices/{device}/commands/set",
        payload(number, event_time),
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=number % 65535 + 1,
        response_topic=f"devices/{device}/responses/{number}",
        user_properties=[("command-id", str(number))],
    ).write()


def bare_message(number: int, event_time: float, *, protocol: ProtocolVersion) -> bytes:
    """What a device sends that knows no properties, in either version."""
    packet = mqtt5.PublishPacket(
        f"devices/{device_of(number)}/telemetry/env",
        payload(number, event_time),
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=number % 65535 + 1,
    )
    return encode_packet(packet, protocol)


def _rfc3339(moment: float) -> str:
    whole, fraction = divmod(moment, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int(fraction * 1000):03d}Z"


def flood(publishers: Sequence[Publisher], encode: Encode, numbers: range) -> None:
    """Publishes as fast as the broker acknowledges, the publishers in turn but for those whose
    window is full; everything is encoded before the first.
    """
    now = time.time()
    size = max(1, _PACKETS_A_WRITE // len(publishers))
    writes = [
        (b"".join(encode(number, now) for number in part), len(part))
        for part in _parts(numbers, size)
    ]
    in_turn = cycle(publishers)
    for packets, count in writes:
        _next_with_room(in_turn, publishers, count).send(packets, count)
    for publisher in publishers:
        publisher.settle()


def _next_with_room(
    in_turn: Iterator[Publisher], publishers: Sequence[Publisher], count: int
) -> Publisher:
    """Waits for acknowledgements to any of them where nobody has room: a wait for one alone would
    leave the broker idle that is measured.
    """
    while True:
        for publisher in islice(in_turn, len(publishers)):
            if publisher.has_room(count):
                return publisher
        time.sleep(_ACKS_SECONDS)
        readable, _, _ = select.select(publishers, [], [], _ACK_WAIT_SECONDS)
        if not readable:
            raise BenchError(f"no PUBACK for {_ACK_WAIT_SECONDS:g} s")
        for publisher in readable:
            publisher.collect(0)


def pace(publisher: Publisher, encode: Encode, numbers: range, rate: float) -> None:
    """Publishes ``rate`` messages a second, each stamped with the time just before it is sent."""
    begin = time.monotonic()
    for position, number in enumerate(numbers):
        due = begin + position / rate
        while (wait := due - time.monotonic()) > 0:
            publisher.collect(wait)
        publisher.send(encode(number, time.time()), 1)
    publisher.settle()


def publish_commands(pubsub: PubSub, topic: str, numbers: range) -> None:
    """Publishes commands with ``deviceId`` and ``commandName``, 500 a request."""
    for part in _parts(numbers, MESSAGES_A_REQUEST // 2):
        now = time.time()
        pubsub.publish(
            topic,
            [
                (payload(number, now), {"deviceId": device_of(number), "commandName": "set"})
                for number in part
            ],
        )


def _parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(numbers), size):
        yield numbers[begin : begin + size]


def main() -> None:
    """Publishes ``--count`` messages, numbered from ``--first``."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    kinds = parser.add_subparsers(dest="kind", required=True)
    devices = kinds.add_parser("telemetry")
    devices.add_argument("--rate", type=float, help="messages a second; default: flat out")
    devices.add_argument("--device-properties", action="store_true")
    bare = kinds.add_parser("bare-commands")
    bare.set_defaults(rate=None)
    messages = kinds.add_parser("messages")
    messages.add_argument("--rate", type=float, help="messages a second; default: flat out")
    messages.add_argument("--connections", type=int, default=1)
    messages.add_argument("--protocol", type=int, default=ProtocolVersion.V5, help="4 or 5")
    for over_mqtt in (devices, bare, messages):
        over_mqtt.add_argument("--port", type=int, required=True)
    commands = kinds.add_parser("commands")
    commands.add_argument("--address", required=True)
    commands.add_argument("--topic", required=True)
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.count)
    begin = time.monotonic()
    if options.kind == "commands":
        with PubSub(options.address) as pubsub:
            publish_commands(pubsub, options.topic, numbers)
    else:
        _publish(options, numbers)
    print(json.dumps({"published": len(numbers), "seconds": time.monotonic() - begin}))


def _publish(options: argparse.Namespace, numbers: range) -> None:
    protocol, connections = ProtocolVersion.V5, 1
    encode: Encode = bare_command
    if options.kind == "telemetry":
        encode = partial(telemetry, properties=options.device_properties)
    elif options.kind == "messages":
        protocol, connections = ProtocolVersion(options.protocol), options.connections
        encode = partial(bare_message, protocol=protocol)
    publishers = [
        Publisher(
            Session(
                options.port,
                f"publisher-{place}",
                password=os.environ["BENCH_PASSWORD"],
                protocol=protocol,
            ),
            window=WINDOW // connections,
        )
        for place in range(connections)
    ]
    if options.rate:
        pace(publishers[0], encode, numbers, options.rate)
    else:
        flood(publishers, encode, numbers)
    for publisher in publishers:
        publisher.close()


if __name__ == "__main__":
    main()
