"""What a broker is configured by: frozen values, checked when they are built.

``broker.config_file`` reads them from a file. The ``Attributes`` of each are the settings' page,
docs/broker.md.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from broker.auth.site import is_loopback
from broker.core.limits import Limits
from broker.store import Synchronous
from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

LONGEST_COMMIT_DELAY_MS = 1_000.0
LONGEST_KEEP_DAYS = 36_500.0
"""Rows that are older than a calendar reaches back can't be asked for."""
SHORTEST_SYSTEM_TOPICS_SECONDS, LONGEST_SYSTEM_TOPICS_SECONDS = 0.05, 86_400.0
"""Oftener, making the figures would be most of what a broker does."""
LONGEST_SHUTDOWN_SECONDS = 3_600.0


class LogLevel(enum.Enum):
    """The least of what goes to the log on standard error."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.Enum):
    """How a line of the log is written: ``text`` for people, ``json`` for programs."""

    TEXT = "text"
    JSON = "json"


class ListenerType(enum.Enum):
    """What a listener speaks below MQTT."""

    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"

    @property
    def has_tls(self) -> bool:
        """Whether it needs a certificate."""
        return self in (ListenerType.TLS, ListenerType.WSS)

    @property
    def has_websocket(self) -> bool:
        """Whether it has a path."""
        return self in (ListenerType.WS, ListenerType.WSS)


class ClientCertificates(enum.Enum):
    """Whether a TLS listener asks its clients for a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {
    ListenerType.TCP: 1883,
    ListenerType.TLS: 8883,
    ListenerType.WS: 8083,
    ListenerType.WSS: 8084,
}
_SECURED = {ListenerType.TCP: ListenerType.TLS, ListenerType.WS: ListenerType.WSS}
DEFAULT_PATH = "/mqtt"
_PATH = re.compile(r"/[!-\"$->@-~]*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[!-\"$-.0->@-~]+")


def _is_name(host: str) -> bool:
    """Whether a host can be looked up at all: what can't would end the start by a defect."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return "\0" not in host


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address to listen on.

    Attributes:
      type, host, port: what is spoken there, and where; the port is by default the one of the type.
      certificate_file, key_file: PEM, of TLS alone; the first holds the chain. SIGHUP reads both
        anew.
      client_certificates: whether TLS asks for one. Whose it is, the registry says.
      path, allowed_origins: of WebSocket alone; see below.
      proxies: networks of those who must say by PROXY protocol, version 2, whom they speak for;
        nobody else may connect then. Without any, everybody speaks for himself.
      proxy_common_name: where in the common name of a certificate that a proxy has verified the
        name of the device is (``{name}``). None: a proxy proves nothing.
      anonymous: the name of the registry's service that clients are which give no credentials.
        None: they are nobody.
      anonymous_beyond_loopback: that is meant, though others than this machine may connect.
      ignore_credentials: user name, password and certificate are not looked at: whoever connects is
        the service of ``anonymous``. For trying out clients.
    """

    type: ListenerType = ListenerType.TCP
    host: str = "127.0.0.1"
    port: int = 1883
    certificate_file: Path | None = None
    key_file: Path | None = None
    path: str = DEFAULT_PATH
    allowed_origins: tuple[str, ...] = ()
    client_certificates: ClientCertificates = ClientCertificates.NONE
    proxies: tuple[Network, ...] = ()
    proxy_common_name: str | None = None
    anonymous: str | None = None
    anonymous_beyond_loopback: bool = False
    ignore_credentials: bool = False

    @property
    def name(self) -> str:
        """What logs and figures call it, such as ``tls 0.0.0.0:8883``."""
        return f"{self.type.value} {self.host}:{self.port}"

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("host is empty; 127.0.0.1 is this machine alone")
        if not _is_name(self.host):
            raise ValueError(
                f"host is {self.host!r}; it must be an address, or a name of parts with 1 to 63"
                " characters each"
            )
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}; it must be 0 to 65535")
        name = self.type.value
        files = (self.certificate_file, self.key_file)
        if self.type.has_tls and None in files:
            raise ValueError(f"type {name} needs certificate_file and key_file")
        if not self.type.has_tls and files != (None, None):
            raise ValueError(
                f"type {name} takes no certificate_file and no key_file; use type"
                f" {_SECURED[self.type].value}"
            )
        if self.client_certificates is not ClientCertificates.NONE and not self.type.has_tls:
            raise ValueError(
                f"type {name} has no client_certificates; use type {_SECURED[self.type].value}"
            )
        if self.proxy_common_name is not None and not self.proxies:
            raise ValueError("proxy_protocol has a common_name and nobody in `from`")
        if self.proxy_common_name is not None and self.proxy_common_name.count("{name}") != 1:
            raise ValueError(
                f"proxy_protocol.common_name is {self.proxy_common_name!r}; it must have '{{name}}'"
                " once"
            )
        is_reachable = not is_loopback(self.host) or bool(self.proxies)
        if self.anonymous is not None and is_reachable and not self.anonymous_beyond_loopback:
            raise ValueError(
                "anonymous clients may come from other machines here; if that is meant, say"
                " `anonymous_beyond_loopback: true` too"
            )
        if self.ignore_credentials and self.anonymous is None:
            raise ValueError(
                "`ignore_credentials: true` makes everyone the service that `anonymous` names; name"
                " one"
            )
        if not _PATH.fullmatch(self.path):
            raise ValueError(f"path is {self.path!r}; it must be one such as /mqtt")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin) and self.allowed_origins != ("*",):
                raise ValueError(
                    f"allowed_origins has {origin!r}; it must be a site such as"
                    " https://app.example, with its port if it has one, or '*' alone"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where sessions, queued and retained messages and wills outlive the process.

    Attributes:
      file: the SQLite file; SQLite puts its log beside it (``-wal``).
      synchronous: ``full`` (the default): what is acknowledged survives the loss of power;
        ``normal``: it survives the death of the process, and the last moments before a loss of
        power may be gone though they were acknowledged. Commits then wait for no disk.
      commit_delay_ms: how long everything that arrives is gathered for one commit: fewer commits,
        and every acknowledgement later by as much, though no message at QoS 0 and 1. 0 gathers what
        came in one turn of the event loop, and while the commit before was made; commits begin a
        millisecond or more after the one before.
    """

    file: Path
    synchronous: Synchronous = Synchronous.FULL
    commit_delay_ms: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.commit_delay_ms <= LONGEST_COMMIT_DELAY_MS:
            raise ValueError(
                f"commit_delay_ms is {self.commit_delay_ms}; it must be 0 to"
                f" {LONGEST_COMMIT_DELAY_MS:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """Where probes and Prometheus are answered, in plain HTTP and to whoever asks.

    Attributes:
      host, port: of ``/healthz``, ``/readyz`` and ``/metrics``.
    """

    host: str = "127.0.0.1"
    port: int = 8080

    def __post_init__(self) -> None:
        # The same rules.
        Listener(host=self.host, port=self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Connects and disconnects as messages, and as rows where the registry is a database.

    Attributes:
      topic: what they are published to, with ``%name`` for the device's or service's name; none:
        nothing is. Not below ``$SYS/broker``, where the broker's figures are.
      keep_days: how long rows stay; above 0, at most 36500.
    """

    topic: str | None = "$SYS/events/%name"
    keep_days: float = 30.0

    def __post_init__(self) -> None:
        if self.topic is not None:
            try:
                check_topic_name(self.topic)
            except TopicError as problem:
                raise ValueError(f"topic is {self.topic!r}: {problem}") from problem
            if self.topic.split("/")[:2] == ["$SYS", "broker"]:
                raise ValueError(
                    f"topic is {self.topic!r}: the broker's own figures are below $SYS/broker;"
                    " give another, such as $SYS/events/%name"
                )
        if not 0 < self.keep_days <= LONGEST_KEEP_DAYS:
            raise ValueError(
                f"keep_days is {self.keep_days}; it must be above 0, and at most"
                f" {LONGEST_KEEP_DAYS:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Everything that a server is started with.

    Attributes:
      registry_file: the registry as a YAML file; without it or a URL nobody can connect.
      registry_url: the registry in a database.
      token_audiences: what a JSON Web Token may be for (``aud``).
      scram_decoy_key_file: random bytes, by which names that nobody has get their SCRAM challenge.
        Brokers behind one load balancer should share them: else who asks two of them, or one
        before and after a restart, learns that there is no such name. None: new ones at each start.
      administration_socket: Unix domain socket for ``mqttbeam broker status`` and the like; only
        the broker's user can open it.
      system_topics_seconds: how often ``$SYS/broker/…`` tells the broker's figures, 0.05 to 86400;
        0: never.
      shutdown_seconds: how long clients may take to read their last bytes; above 0, at most 3600.
      log_level: the least of what goes to the log on standard error.
      log_format: ``text`` for people, ``json`` for programs.
    """

    listeners: tuple[Listener, ...] = (Listener(),)
    registry_file: Path | None = None
    registry_url: URL | None = None
    token_audiences: tuple[str, ...] = ()
    scram_decoy_key_file: Path | None = None
    store: StoreConfig | None = None
    administration_socket: Path | None = None
    health: HealthConfig | None = None
    events: EventsConfig = field(default_factory=EventsConfig)
    limits: Limits = field(default_factory=Limits)
    system_topics_seconds: float = 10.0
    shutdown_seconds: float = 5.0
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.TEXT

    @property
    def registry_name(self) -> str | None:
        """The registry's file or URL, without a password; None: none is configured."""
        if self.registry_url is not None:
            return self.registry_url.render_as_string(hide_password=True)
        return None if self.registry_file is None else str(self.registry_file)

    def __post_init__(self) -> None:
        if not self.listeners:
            raise ValueError("listeners is empty; give at least one")
        shortest, longest = SHORTEST_SYSTEM_TOPICS_SECONDS, LONGEST_SYSTEM_TOPICS_SECONDS
        if self.system_topics_seconds and not shortest <= self.system_topics_seconds <= longest:
            raise ValueError(
                f"system_topics_seconds is {self.system_topics_seconds}; it must be 0, for never,"
                f" or {shortest:g} to {longest:g}"
            )
        if not 0 < self.shutdown_seconds <= LONGEST_SHUTDOWN_SECONDS:
            raise ValueError(
                f"shutdown_seconds is {self.shutdown_seconds}; it must be above 0, and at most"
                f" {LONGEST_SHUTDOWN_SECONDS:g}"
            )
