"""PROXY protocol, version 2: headers byte by byte, and who may send them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.server.proxy_protocol import (
    SIGNATURE,
    Proxied,
    ProxyProtocolError,
    crc32c,
    read_header,
)


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def header(body: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def tcp4(extensions: bytes = b"", host: bytes = bytes((192, 0, 2, 7))) -> bytes:
    return header(host + bytes((10, 0, 0, 1)) + struct.pack(">HH", 50_000, 1_883) + extensions)


def tls(common_name: bytes, *, flags: int = 0x07, verified: int = 0) -> bytes:
    inner = extension(0x21, b"TLSv1.3") + extension(0x22, common_name)
    return extension(0x20, struct.pack(">BI", flags, verified) + inner)


def summed(data: bytes) -> bytes:
    """A header whose last extension is its checksum."""
    whole = data + extension(0x03, bytes(4))
    length = struct.pack(">H", len(whole) - 16)
    whole = whole[:14] + length + whole[16:]
    return whole[:-4] + crc32c(whole).to_bytes(4, "big")


def test_an_ipv4_client() -> None:
    data = tcp4()
    assert read_header(data + b"\x10CONNECT") == Proxied(
        source=("192.0.2.7", 50_000), common_name=None, size=len(data)
    )


def test_an_ipv6_client() -> None:
    body = bytes.fromhex("20010db8" + "00" * 11 + "01") + bytes(16) + struct.pack(">HH", 1, 2)
    found = read_header(header(body, family=0x21))
    assert found is not None
    assert found.source == ("2001:db8::1", 1)


def test_the_proxy_itself() -> None:
    assert read_header(header(b"whatever", command=0x20, family=0)) == Proxied(
        source=None, common_name=None, size=24
    )


def test_the_common_name_of_a_certificate_that_was_verified() -> None:
    found = read_header(tcp4(extension(0x02, b"host") + tls(b"d1") + extension(0xE0, b"x")))
    assert found is not None
    assert found.common_name == "d1"


@pytest.mark.parametrize(
    "extensions", [tls(b"d1", verified=1), tls(b"d1", flags=0x01), tls(b"d1", flags=0)]
)
def test_a_certificate_that_was_not_verified_has_no_name(extensions: bytes) -> None:
    found = read_header(tcp4(extensions))
    assert found is not None
    assert found.common_name is None


def test_a_checksum_is_looked_at() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    right = summed(tcp4(tls(b"d1")))
    found = read_header(right)
    assert found is not None
    assert found.common_name == "d1"
    with pytest.raises(ProxyProtocolError, match="checksum"):
        read_header(right.replace(b"d1", b"d2"))


@pytest.mark.parametrize("data", [tcp4(tls(b"d1")), summed(tcp4())])
def test_a_header_may_come_in_pieces(data: bytes) -> None:
    for size in range(len(data)):
        assert read_header(data[:size]) is None
    assert read_header(data) is not None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "no header"),
        (b"\x10", "no header"),
        (SIGNATURE[:-1] + b"X", "no header"),
        (header(b"", command=0x11), "command 0x11"),
        (header(b"", command=0x22), "command 0x22"),
        (header(bytes(12), family=0x12), "family 0x12"),
        (header(bytes(216), family=0x31), "family 0x31"),
        (header(bytes(12), family=0x00), "family 0x00"),
        (header(bytes(11)), "hold no two addresses"),
        (header(bytes(12), family=0x21), "hold no two addresses"),
        (header(bytes(4_097)), "4097 bytes"),
        (tcp4(b"\x02\x00"), "cut off"),
        (tcp4(b"\x02\x00\x05abc"), "cut off"),
        (tcp4(extension(0x20, b"\x07\x00")), "cut off"),
        (tcp4(tls(b"\xff")), "UTF-8"),
        (tcp4(extension(0x03, b"abc")), "checksum"),
    ],
)
def test_anything_else_is_no_header(data: bytes, complaint: str) -> None:
    with pytest.raises(ProxyProtocolError, match=complaint):
        read_header(data)


@given(st.binary(max_size=200), st.sampled_from([0x00, 0x11, 0x21]))
def test_whatever_stands_in_a_header_it_is_read_or_refused(body: bytes, family: int) -> None:
    data = header(body, family=family)
    try:
        found = read_header(data)
    except ProxyProtocolError:
        return
    assert found is not None
    assert found.size == len(data)
