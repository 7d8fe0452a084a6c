"""By the system calls of a broker: a message is synced before its acknowledgement is sent.

``kill -9`` can't show it, for what the process has written the system has. And messages leave to
subscribers before, by design (``broker/core/actions.py``): only the publisher's acknowledgement
waits. Nobody who is connected takes these messages, so each of them must be stored.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    PubAckPacket,
    PublishPacket,
    PubRecPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from mqtt.codec import Decoder, ProtocolVersion
from tests.broker.server.raw_client import Raw
from tests.harness.brokers import Broker, start_own
from tests.harness.conformance import conforms
from tests.harness.processes import Processes
from tests.harness.system_calls import Call, Tracer

BURSTS, BURST = 12, 5
MESSAGES = BURSTS * BURST
SYNCS = ("fsync", "fdatasync")
SENDS = ("sendto", "sendmsg", "write", "writev")
WRITES = ("pwrite64", "pwritev", "write", "writev")


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a broker did for one publisher; ``port``: the publisher's end of its connection."""

    calls: Sequence[Call]
    port: int
    wal: str

    def acknowledgements(self) -> dict[int, Call]:
        """The calls that sent PUBACK or PUBREC, by packet identifier."""
        decoder = Decoder(protocol=ProtocolVersion.V5)
        sent: dict[int, Call] = {}
        for call in self.calls:
            if call.name in SENDS and call.target.endswith(f":{self.port}]"):
                for packet in decoder.feed(call.data[: call.result]):
                    if isinstance(packet, PubAckPacket | PubRecPacket):
                        assert int(packet.reason_code) == 0
                        sent.setdefault(packet.packet_id, call)
        return sent

    def written(self, payload: bytes) -> Call | None:
        """The first write of a message to the log of the store's file."""
        for call in self.calls:
            if call.name in WRITES and call.target == self.wal and _half(payload) in call.data:
                return call
        return None

    def syncs(self) -> dict[int, Call | None]:
        """By packet identifier, the sync of that log that a message went to the disk by before its
        acknowledgement was sent.
        """
        syncs = [
            call
            for call in self.calls
            if call.name in SYNCS and call.target == self.wal and call.result == 0
        ]
        found: dict[int, Call | None] = {}
        for packet_id, sent in self.acknowledgements().items():
            written = self.written(payload_of(packet_id))
            assert written is not None
            between = (
                each for each in syncs if written.ended < each.began and each.ended < sent.began
            )
            found[packet_id] = next(between, None)
        return found


def payload_of(packet_id: int) -> bytes:
    return b"<message %03d>" % packet_id * 2


def _half(payload: bytes) -> bytes:
    # Once at least it stands whole on one of the pages that it lies across.
    return payload[: len(payload) // 2]


@contextmanager
def client(broker: Broker, name: str) -> Iterator[Raw]:
    connect = ConnectPacket(
        f"{name}-0",
        username=name,
        password=broker.passwords[name].encode(),
        clean_start=False,
        session_expiry_interval=3_600,
    )
    with socket.create_connection((broker.host, broker.port)) as sock:
        raw = Raw(sock)
        raw.send(connect)
        assert isinstance(raw.next(), ConnAckPacket)
        yield raw


def traced(folder: Path, *, qos: QoS, synchronous: str) -> Traced:
    """What a broker does that takes bursts of messages for somebody who is away, and ends."""
    tracer = Tracer(folder / "trace", calls=sorted({*SYNCS, *SENDS, *WRITES}))
    with Processes(folder) as processes:
        broker = start_own(
            processes,
            folder,
            devices=(),
            settings=f"store: {{file: broker.db, synchronous: {synchronous}}}\n",
            wrapper=tracer.wrapper,
        )
        port, acknowledged = publish_all(broker, qos)
    assert broker.process is not None
    found = Traced(
        calls=tracer.calls(broker.process.pid), port=port, wal=str(folder / "broker.db-wal")
    )
    assert list(found.acknowledgements()) == acknowledged == list(range(1, 1 + MESSAGES))
    return found


def publish_all(broker: Broker, qos: QoS) -> tuple[int, list[int]]:
    """Returns the publisher's port and the packet identifiers that were acknowledged, in order.

    The next burst is sent when the first message of the one before is acknowledged: so there are
    several turns, and messages come while others are being committed.
    """
    with client(broker, "observer") as reader:
        reader.send(SubscribePacket(1, [TopicFilter("devices/#", max_qos=qos)]))
        assert isinstance(reader.next(), SubAckPacket)
    with client(broker, "commands") as writer:
        port = writer.socket.getsockname()[1]
        acknowledged: list[int] = []

        def acknowledge_until(packet_id: int) -> None:
            while packet_id not in acknowledged:
                packet = writer.next()
                assert isinstance(packet, PubAckPacket | PubRecPacket)
                acknowledged.append(packet.packet_id)

        for first in range(1, MESSAGES, BURST):
            for packet_id in range(first, first + BURST):
                payload = payload_of(packet_id)
                writer.send(
                    PublishPacket("devices/d1/commands", payload, qos=qos, packet_id=packet_id)
                )
            acknowledge_until(first)
        acknowledge_until(MESSAGES)
    return port, acknowledged


@conforms(v5="4.3.2-4 4.3.3-8")
@pytest.mark.parametrize("qos", [QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE], ids=["PUBACK", "PUBREC"])
def test_each_message_is_synced_to_the_disk_before_its_acknowledgement_is_sent(
    tmp_path: Path, qos: QoS
) -> None:
    syncs = traced(tmp_path, qos=qos, synchronous="full").syncs()
    assert [packet_id for packet_id, sync in syncs.items() if sync is None] == []
    assert len({sync.began for sync in syncs.values() if sync}) >= BURSTS


@pytest.mark.parametrize("qos", [QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE], ids=["PUBACK", "PUBREC"])
def test_the_same_look_finds_no_sync_where_the_broker_was_asked_not_to_wait_for_the_disk(
    tmp_path: Path, qos: QoS
) -> None:
    syncs = traced(tmp_path, qos=qos, synchronous="normal").syncs()
    assert list(syncs.values()) == [None] * MESSAGES
