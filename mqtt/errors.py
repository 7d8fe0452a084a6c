"""Errors of the protocol package.

::

    MqttError
    ├── TopicError              a topic name or filter that MQTT does not allow
    ├── ProtocolError           the peer broke the protocol; carries the reason code to answer with
    │   ├── MalformedPacket     0x81: the bytes are no packet
    │   ├── PacketTooLarge      0x95: larger than this side allows
    │   └── UnsupportedProtocol 0x84: CONNECT asks for another protocol version
    ├── ScramError              the peer's part of a SCRAM exchange is wrong or proves nothing
    ├── ConnectError            no connection was made; ``permanent``: trying again is of no use
    │   ├── BrokerUnreachable   nothing answered at any address
    │   ├── CertificateRejected TLS could not be agreed on
    │   ├── CredentialMissing   the password or key could not be read on our side
    │   ├── BrokerNotProved     the broker did not show by SCRAM that it knows the password
    │   ├── ConnectionRefused   the broker refused CONNECT; carries its reason code
    │   ├── SubscriptionRefused the broker refused a filter; carries it and the reason code
    │   └── ClientBroken        a defect of ours ended the connection's thread
    └── ConnectionLost          the connection broke; what was unacknowledged comes again
        └── SessionTakenOver    another client connected with the same client identifier
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class MqttError(Exception):
    """Root of this package's errors."""


class TopicError(MqttError, ValueError):
    """A topic name or topic filter that the specification does not allow."""


class ProtocolError(MqttError):
    """The peer broke the protocol.

    ``reason_code`` is the MQTT 5.0 reason code for the DISCONNECT or CONNACK that answers it.
    ``packets`` are the whole packets that were read before the bad one, still to be handled.
    """

    reason_code = 0x82

    def __init__(
        self, message: str, *, reason_code: int | None = None, packets: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        if reason_code is not None:
            self.reason_code = reason_code
        self.packets = list(packets)


class MalformedPacket(ProtocolError):
    """The bytes are no packet of the negotiated protocol version."""

    reason_code = 0x81


class PacketTooLarge(ProtocolError):
    """A packet announces more bytes than this side allows."""

    reason_code = 0x95


def too_many(things: str) -> ProtocolError:
    """0x97 (4.13): more of them in one packet than this side takes."""
    return ProtocolError(f"a packet with more {things} than are taken", reason_code=0x97)


class UnsupportedProtocol(ProtocolError):
    """CONNECT asks for a protocol level that is neither 4 (3.1.1) nor 5 (5.0), or for none of MQTT.

    ``level``: of the protocol in whose form the peer would understand an answer; None for nothing
    that is known of.
    """

    reason_code = 0x84

    def __init__(self, message: str, *, level: int | None = None) -> None:
        super().__init__(message)
        self.level = level


class ScramError(MqttError):
    """The peer's message belongs to no SCRAM exchange, to another one, or proves nothing."""


class ConnectError(MqttError):
    """No connection could be made. ``permanent``: trying again will not help."""

    permanent = False


class BrokerUnreachable(ConnectError):
    """No broker address accepted a connection in the time allowed."""


class CertificateRejected(ConnectError):
    """TLS failed: our certificate or the broker's was not accepted."""

    permanent = True


class CredentialMissing(ConnectError):
    """The password could not be read; where it is kept may only be away for a while."""


class BrokerNotProved(ConnectError):
    """The broker did not prove by SCRAM that it knows the password: is it the right one?"""

    permanent = True


class ConnectionRefused(ConnectError):
    """The broker refused CONNECT. ``reason_code`` is the MQTT 5.0 code (3.1.1's are translated)."""

    # Unspecified, server unavailable, server busy, quota exceeded, rate exceeded: may pass.
    _PASSING = frozenset({0x80, 0x88, 0x89, 0x97, 0x9F})

    def __init__(self, message: str, *, reason_code: int) -> None:
        super().__init__(message)
        self.reason_code = reason_code
        self.permanent = reason_code not in self._PASSING


class SubscriptionRefused(ConnectError):
    """The broker refused a topic filter in its SUBACK."""

    permanent = True

    def __init__(self, message: str, *, topic_filter: str, reason_code: int) -> None:
        super().__init__(message)
        self.topic_filter = topic_filter
        self.reason_code = reason_code


class ClientBroken(ConnectError):
    """The thread that keeps the connection ended by an error that nobody foresaw."""

    permanent = True


class ConnectionLost(MqttError):
    """An established connection ended. ``reason_code`` and ``told``, the broker's words for it:
    from a DISCONNECT, else None and nothing.
    """

    def __init__(self, message: str, *, reason_code: int | None = None, told: str = "") -> None:
        super().__init__(message)
        self.reason_code = reason_code
        self.told = told


class SessionTakenOver(ConnectionLost):
    """DISCONNECT 0x8E: another connection uses our client identifier."""
