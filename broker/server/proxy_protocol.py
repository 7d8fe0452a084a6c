"""PROXY protocol, version 2: what a proxy says of a client before the client says anything.

::

    12 bytes   signature                            (specification, section 2.2)
     1 byte    version 2, and LOCAL or PROXY
     1 byte    address family and transport
     2 bytes   length of what follows
               addresses, then type-length-value extensions

The text of version 1 is not read: it can't carry a certificate's name.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEAD_BYTES = 16
MAXIMUM_BYTES = 4_096
"""Of addresses and extensions; proxies send a few hundred."""

_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 4, _TCP6: 16}

_CRC32C = 0x03
_SSL = 0x20
_SSL_COMMON_NAME = 0x22
_BY_CERTIFICATE = 0x02 | 0x04  # on this connection, or on an earlier one of its session


class ProxyProtocolError(ValueError):
    """What came is no header of version 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """What a header says.

    ``source``: the client's address and port; None where the proxy speaks for itself (a health
    check). ``common_name``: of the client's certificate, which the proxy has verified. ``size``:
    bytes of the header.
    """

    source: tuple[str, int] | None
    common_name: str | None
    size: int


def read_header(data: bytes) -> Proxied | None:
    """Reads the header that ``data`` begins with; None while it is not all there.

    Raises:
      ProxyProtocolError: it is none.
    """
    if not data.startswith(SIGNATURE[: len(data)]):
        raise ProxyProtocolError("no header of the PROXY protocol, version 2")
    if len(data) < HEAD_BYTES:
        return None
    command, family, length = struct.unpack_from(">BBH", data, len(SIGNATURE))
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"version and command {command:#04x}; 0x20 and 0x21 are known")
    if length > MAXIMUM_BYTES:
        raise ProxyProtocolError(f"a header of {length} bytes; at most {MAXIMUM_BYTES} are taken")
    size = HEAD_BYTES + length
    if len(data) < size:
        return None
    header = data[:size]
    if command == _LOCAL:
        # Section 2.2: whatever follows is to be passed over.
        return Proxied(source=None, common_name=None, size=size)
    if family not in _ADDRESS_BYTES:
        raise ProxyProtocolError(f"address family {family:#04x}; TCP over IPv4 and IPv6 are known")
    width = _ADDRESS_BYTES[family]
    addresses = 2 * width + 4
    if length < addresses:
        raise ProxyProtocolError(f"{length} bytes hold no two addresses of {width} bytes")
    host = str(ipaddress.ip_address(header[HEAD_BYTES : HEAD_BYTES + width]))
    port = int.from_bytes(header[HEAD_BYTES + 2 * width :][:2], "big")
    common_name = None
    for kind, start, value in _extensions(header, HEAD_BYTES + addresses):
        if kind == _CRC32C:
            _check_sum(header, start, value)
        elif kind == _SSL:
            common_name = _common_name(value)
    return Proxied(source=(host, port), common_name=common_name, size=size)


def _extensions(data: bytes, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, place and value of each extension from ``start`` on (section 2.2.*)."""
    while start < len(data):
        if len(data) - start < 3:
            raise ProxyProtocolError("an extension is cut off")
        kind, length = struct.unpack_from(">BH", data, start)
        start += 3
        value = data[start : start + length]
        if len(value) < length:
            raise ProxyProtocolError("an extension is cut off")
        yield kind, start, value
        start += length


def _check_sum(header: bytes, start: int, value: bytes) -> None:
    """Section 2.2.3: the sum is that of the header with the sum itself as zeros."""
    zeroed = header[:start] + bytes(len(value)) + header[start + len(value) :]
    if len(value) != 4 or int.from_bytes(value, "big") != crc32c(zeroed):
        raise ProxyProtocolError("the header's checksum is wrong")


def _common_name(value: bytes) -> str | None:
    """Section 2.2.6: only of a certificate that the client gave and that was verified."""
    if len(value) < 5:
        raise ProxyProtocolError("the extension on TLS is cut off")
    flags, verified = struct.unpack_from(">BI", value)
    names = [text for kind, _, text in _extensions(value, 5) if kind == _SSL_COMMON_NAME]
    if not flags & _BY_CERTIFICATE or verified != 0 or len(names) != 1:
        return None
    try:
        return names[0].decode()
    except UnicodeDecodeError as error:
        raise ProxyProtocolError("the certificate's common name is no UTF-8") from error


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4), bit by bit: headers are short."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
