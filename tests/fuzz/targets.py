"""What the fuzzer feeds: the decoder, and a whole broker's core. A crash is any exception.

Each target takes bytes and returns nothing. The first byte or two of an input choose what it is
fed to, so that a corpus entry is one file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Never

from mqtt5 import Packet

from mqtt.codec import Decoder, ProtocolVersion, encode
from mqtt.errors import ProtocolError
from tests.broker.core.harness import V5, V311, Client, House

_LARGEST = 4_096
_VERSIONS: tuple[ProtocolVersion | None, ...] = (None, V311, V5)
_CLIENTS = 4


def codec(data: bytes) -> None:
    """Bytes 1: the version, or none as before CONNECT. 2: where the stream is cut. Then the stream.

    What is read can be written, and is then read as the same; and where the stream is cut changes
    nothing.
    """
    if len(data) < 2:
        return
    version = _VERSIONS[data[0] % 3]
    stream = data[2:]
    cut = data[1] % (len(stream) + 1)
    decoder = Decoder(protocol=version, maximum_packet_bytes=_LARGEST)
    packets = _read(decoder, [stream])
    pieces = Decoder(protocol=version, maximum_packet_bytes=_LARGEST)
    assert _read(pieces, [stream[:cut], stream[cut:]]) == packets
    if decoder.protocol is None:
        return
    for packet in packets:
        again = Decoder(protocol=decoder.protocol)
        assert again.feed(encode(packet, decoder.protocol)) == [packet]


def core(data: bytes) -> None:
    """Chunks of a client's number (a byte), a length (a byte) and so many bytes from that client.

    Client 0 has sent nothing yet; 1 and 2 are connected with 5.0 and 3.1.1; 3 loses its connection
    instead and comes back. Whatever they do, a bystander's message arrives.
    """
    house = House(
        write_buffer_bytes=2_000,
        maximum_packet_bytes=_LARGEST,
        connect_packet_bytes=_LARGEST,
        retained_messages=10,
        receive_maximum=5,
    )
    clients = [_Stranger(house, V5), house.connect("c1"), house.connect("c2", V311)]
    clients.append(_resumed(house))
    clients[1].subscribe("a/#", "$share/g/#", qos=2)
    clients[2].subscribe("+/b", qos=2)
    at = 0
    while at + 2 <= len(data):
        who, size = data[at] % _CLIENTS, data[at + 1]
        chunk = data[at + 2 : at + 2 + size]
        at += 2 + size
        if who == 3:
            clients[3].drop()
            house.wait(size)
            clients[3] = _resumed(house)
            chunk = b""
        if clients[who].closed is None:
            clients[who].send_bytes(chunk)
    bystander = house.connect("c-bystander")
    bystander.subscribe("alive")
    bystander.publish("alive", b"yes")
    assert b"yes" in bystander.payloads()
    house.wait(10_000_000)
    assert not house.core.has_work


class _Stranger(Client):
    """Has sent nothing yet, and may be answered in either version, which nobody reads."""

    def deliver(self, data: bytes) -> None:
        assert data


def _resumed(house: House) -> Client:
    client = house.resume("c3", receive_max=2, topic_alias_max=2)
    client.subscribe("#", qos=2)
    return client


def _read(decoder: Decoder[Never], chunks: list[bytes]) -> list[Packet]:
    packets: list[Packet] = []
    try:
        for chunk in chunks:
            packets += decoder.feed(chunk)
    except ProtocolError as error:
        packets += error.packets
    return packets


TARGETS: dict[str, Callable[[bytes], None]] = {"codec": codec, "core": core}
