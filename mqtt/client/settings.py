"""What a connection needs to know: addresses, TLS, credentials, limits. Checked when built."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mqtt.codec import LARGEST_PACKET_BYTES, ProtocolVersion

_SCHEMES = {
    "mqtt": (False, 1883),
    "tcp": (False, 1883),
    "mqtts": (True, 8883),
    "ssl": (True, 8883),
    "ws": (False, 80),
    "wss": (True, 443),
}
_WEBSOCKET_PATH = "/mqtt"

SecretReader = Callable[[], bytes]
"""Fetches a secret when a connection is made, so that a rotated one is picked up."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens; ``path`` is that of its WebSocket, None where it has none."""

    host: str
    port: int
    tls: bool
    path: str | None = None

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Reads ``mqtt://host[:1883]`` (or ``tcp``), ``mqtts://host[:8883]`` (or ``ssl``),
        ``ws://host[:80][/mqtt]`` and ``wss://host[:443][/mqtt]``.

        Raises:
          ValueError: another scheme, no host, credentials in the URL, a path where none belongs.
        """
        if "@" in url:
            raise ValueError(
                "broker: no user name or password in the address, which is shown in logs and job"
                " graphs; they have options of their own"
            )
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError(f"broker {url!r}: must be SCHEME://HOST[:PORT]; {error}") from error
        if parts.scheme not in _SCHEMES:
            raise ValueError(
                f"broker {url!r}: the scheme must be mqtt:// or tcp:// (plain), mqtts:// or ssl://"
                " (TLS), ws:// or wss:// (WebSocket), as in mqtts://broker.example.com:8883"
            )
        over_websocket = parts.scheme.startswith("ws")
        has_path = parts.path not in ("", "/") and not over_websocket
        if not parts.hostname or has_path or parts.query or parts.fragment:
            more = "[/PATH]" if over_websocket else ""
            raise ValueError(f"broker {url!r}: must be SCHEME://HOST[:PORT]{more} and nothing more")
        tls, default_port = _SCHEMES[parts.scheme]
        try:
            port = default_port if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port:
            raise ValueError(f"broker {url!r}: the port must be 1 to 65535")
        path = (parts.path or _WEBSOCKET_PATH) if over_websocket else None
        return cls(parts.hostname, port, tls, path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "mqtt" if self.path is None else "ws"
        return f"{scheme}{'s' if self.tls else ''}://{host}:{self.port}{self.path or ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """Certificates for ``mqtts``: paths of PEM files.

    ``ca_file``: what the broker's certificate is checked against; None: the system's authorities.
    ``certificate_file`` and ``key_file``: our client certificate, both or neither.
    """

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a client certificate needs its key and a key its certificate")

    def context(self) -> ssl.SSLContext:
        """Returns the context for a connection. Raises OSError or ssl.SSLError for a bad file."""
        context = ssl.create_default_context(cafile=self.ca_file)
        # Python 3.13 began to ask for extensions that private authorities often leave out, such as
        # the key identifiers; a broker must not be lost by going to a newer Python.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """One MQTT connection.

    Attributes:
      addresses: tried in turn, from the one that last worked.
      client_id: must be the same after a restart wherever a session is to be found again.
      protocol: the version spoken.
      username: sent in CONNECT, None for none.
      password: read at every connect; None for none. Never part of a repr. A ``TokenSigner`` is
        one that gives a new token each time.
      scram: prove by SCRAM-SHA-256 that we know the password, instead of sending it, and have the
        broker prove the same. MQTT 5.0 only.
      scram_again_seconds: how often a connection that stands proves the same again, with the
        password as it is then: a rotated one takes the other's place before that ends, and nothing
        is sent twice for it. None: never. The broker must know re-authentication (4.12.1).
      tls: for addresses with TLS.
      clean_start: whether a session left at the broker is thrown away.
      session_expiry_seconds: how long the broker keeps the session without us; on 3.1.1 any
        value but 0 means clean session off, for good.
      keep_alive_seconds: the longest silence; a broker that does not answer a ping within half
        of it counts as gone.
      receive_maximum: QoS 1 messages that the broker may send ahead of our acknowledgements.
      maximum_packet_bytes: a larger packet from the broker ends the connection.
      connect_timeout_seconds: for TCP, TLS, CONNECT and its answer together, an address.
      backoff_initial_seconds, backoff_maximum_seconds: pauses between attempts grow from one to
        the other.
      stable_seconds: a connection that lived this long resets the pauses.
    """

    addresses: tuple[BrokerAddress, ...]
    client_id: str
    protocol: ProtocolVersion = ProtocolVersion.V5
    username: str | None = None
    password: SecretReader | None = field(default=None, repr=False)
    scram: bool = False
    scram_again_seconds: float | None = None
    tls: TlsFiles = TlsFiles()
    clean_start: bool = False
    session_expiry_seconds: int = 0
    keep_alive_seconds: int = 30
    receive_maximum: int = 65_535
    maximum_packet_bytes: int = LARGEST_PACKET_BYTES
    connect_timeout_seconds: float = 10.0
    backoff_initial_seconds: float = 0.1
    backoff_maximum_seconds: float = 30.0
    stable_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ValueError("addresses: at least one broker address is needed")
        if not self.client_id:
            raise ValueError("client_id: must not be empty")
        if len(self.client_id.encode()) > 65_535:
            raise ValueError("client_id: at most 65,535 bytes")
        _check_range("keep_alive_seconds", self.keep_alive_seconds, 1, 65_535)
        _check_range("receive_maximum", self.receive_maximum, 1, 65_535)
        _check_range("session_expiry_seconds", self.session_expiry_seconds, 0, 0xFFFFFFFF)
        _check_range("maximum_packet_bytes", self.maximum_packet_bytes, 64, LARGEST_PACKET_BYTES)
        for name in (
            "connect_timeout_seconds",
            "backoff_initial_seconds",
            "backoff_maximum_seconds",
            "stable_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be more than 0, got {getattr(self, name)}")
        v311 = self.protocol is ProtocolVersion.V311
        if v311 and self.password is not None and self.username is None:
            # [MQTT-3.1.2-22]
            raise ValueError("password: MQTT 3.1.1 takes one only together with a username")
        if self.scram and (v311 or self.password is None or not self.username):
            raise ValueError("scram: needs a username and a password, and MQTT 5.0")
        again = self.scram_again_seconds
        if again is not None and (again <= 0 or not self.scram):
            raise ValueError("scram_again_seconds: must be more than 0, and needs scram")

    def replace(self, **changes: object) -> ConnectionSettings:
        """Returns a copy with the given fields changed, checked anew."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # any field's type


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: must be {low} to {high}, got {value}")
