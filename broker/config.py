"""The broker's configuration file, read and checked whole before anything starts.

::

    listeners:                          # default: one of type tcp on 127.0.0.1:1883
      - {type: tcp, host: 127.0.0.1, port: 1883}
      - {type: tls, host: 127.0.0.1, port: 8883, certificate_file: c.pem, key_file: k.pem}
        client_certificates: optional     # none (default), optional or required; tls and wss
        proxy_protocol: {from: [10.0.0.0/8], common_name: "{name}"}     # version 2, from these
        anonymous: guest                  # the service that clients without credentials are
      - {type: ws, host: 127.0.0.1, port: 8083, path: /mqtt, allowed_origins: [https://a.example]}
      - {type: wss, host: 127.0.0.1, port: 8084, certificate_file: c.pem, key_file: k.pem}
    registry: {file: registry.yaml}     # or {url: sqlite:///registry.db}; see registry_url for
                                        # PostgreSQL. Without it nobody can connect
    tokens: {audiences: [my-project]}   # what a JSON Web Token may be for (aud); default: nothing
    store: {file: broker.db}            # without it nothing outlives the process
    administration: {socket: broker.sock}  # for `mqttbeam broker status` and the like; its owner's
    health: {host: 127.0.0.1, port: 8080}  # /healthz, /readyz, /metrics; without it: none
    events: {topic: $SYS/events/%name}  # connects and disconnects; also rows of a database
    limits:                             # every one of broker.core.limits.Limits
      receive_maximum: 5000
      service_queue: {messages: 1000000, bytes: 1073741824}
      queue_full: drop_newest
    system_topics_seconds: 10           # how often $SYS/# tells the broker's figures; 0: never
    shutdown_seconds: 5                 # how long clients may take to read their last bytes
    log: {level: info, format: text}    # debug, info, warning or error; text or json

``ws`` and ``wss`` are MQTT over WebSocket; the ports above are the defaults of each type. A browser
says from which site it comes (Origin), and so does paho: who says so is refused unless the site
is among ``allowed_origins``, of which there are none by default; ``["*"]`` allows all. The address
that the client has connected to is no site, and passes; a name may have been made to lead here, and
must be listed.

Paths of files are taken from the file's folder. Port 0 lets the system choose; the ready line says
which.
"""

from __future__ import annotations

import enum
import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.auth.site import is_loopback
from broker.core.limits import Limits, QueueFull, QueueLimits
from broker.errors import ConfigError
from broker.store import Synchronous
from broker.yaml_file import Section
from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

LONGEST_COMMIT_DELAY_MS = 1_000.0
LONGEST_SOCKET_PATH_BYTES = 103
"""What every system takes for the name of a Unix domain socket."""


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

_PORTS = {
    ListenerType.TCP: 1883,
    ListenerType.TLS: 8883,
    ListenerType.WS: 8083,
    ListenerType.WSS: 8084,
}
_SECURED = {ListenerType.TCP: ListenerType.TLS, ListenerType.WS: ListenerType.WSS}
_DEFAULT_PATH = "/mqtt"
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
    """

    type: ListenerType = ListenerType.TCP
    host: str = "127.0.0.1"
    port: int = 1883
    certificate_file: Path | None = None
    key_file: Path | None = None
    path: str = _DEFAULT_PATH
    allowed_origins: tuple[str, ...] = ()
    client_certificates: ClientCertificates = ClientCertificates.NONE
    proxies: tuple[Network, ...] = ()
    proxy_common_name: str | None = None
    anonymous: str | None = None
    anonymous_beyond_loopback: bool = False

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
      file: the SQLite file; SQLite puts two more beside it (``-wal``, ``-shm``).
      synchronous: ``full`` (the default): what is acknowledged survives the loss of power;
        ``normal``: it survives the death of the process, and the last moments before a loss of
        power may be gone though they were acknowledged. Commits then wait for no disk.
      commit_delay_ms: how long everything that arrives is gathered for one commit: fewer commits,
        and every answer later by as much. 0 gathers what came in one turn of the event loop.
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
        nothing is.
      keep_days: how long rows stay.
    """

    topic: str | None = "$SYS/events/%name"
    keep_days: float = 30.0

    def __post_init__(self) -> None:
        if self.topic is not None:
            try:
                check_topic_name(self.topic)
            except TopicError as problem:
                raise ValueError(f"topic is {self.topic!r}: {problem}") from problem
        if not 0 < self.keep_days < math.inf:
            raise ValueError(f"keep_days is {self.keep_days}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Everything that a server is started with.

    Attributes:
      registry_file: the registry as a YAML file; without it or a URL nobody can connect.
      registry_url: the registry in a database.
      token_audiences: what a JSON Web Token may be for (``aud``).
      administration_socket: Unix domain socket for ``mqttbeam broker status`` and the like; only
        the broker's user can open it.
      system_topics_seconds: how often ``$SYS/broker/…`` tells the broker's figures; 0: never.
      shutdown_seconds: how long clients may take to read their last bytes.
      log_level: the least of what goes to the log on standard error.
      log_format: ``text`` for people, ``json`` for programs.
    """

    listeners: tuple[Listener, ...] = (Listener(),)
    registry_file: Path | None = None
    registry_url: URL | None = None
    token_audiences: tuple[str, ...] = ()
    store: StoreConfig | None = None
    administration_socket: Path | None = None
    health: HealthConfig | None = None
    events: EventsConfig = field(default_factory=EventsConfig)
    limits: Limits = field(default_factory=Limits)
    system_topics_seconds: float = 10.0
    shutdown_seconds: float = 5.0
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.TEXT

    def __post_init__(self) -> None:
        if not self.listeners:
            raise ValueError("listeners is empty; give at least one")
        if not 0 <= self.system_topics_seconds < math.inf:
            raise ValueError(
                f"system_topics_seconds is {self.system_topics_seconds}; it must be 0, for never,"
                " or more"
            )
        if not 0 < self.shutdown_seconds < math.inf:
            raise ValueError(f"shutdown_seconds is {self.shutdown_seconds}; it must be above 0")


def load_config(path: Path) -> BrokerConfig:
    """Reads a configuration file.

    Raises:
      ConfigError: naming the file, the key and what would be right, one line for each problem.
    """
    config, problems = read_config(path)
    if config is None or problems:
        raise ConfigError("\n".join(problems))
    return config


def read_config(path: Path) -> tuple[BrokerConfig | None, list[str]]:
    """Reads a configuration file as far as it is right, for whoever looks at all of it.

    Returns what is right, the rest by default, and what is wrong, each naming file and key. None
    where nothing is left to go by.
    """
    try:
        top = Section.load(path, ConfigError)
    except ConfigError as error:
        return None, [str(error)]
    return _config(top, path.parent), top.complaints


def _config(top: Section, folder: Path) -> BrokerConfig | None:
    defaults = BrokerConfig()
    attempt = top.attempt
    listeners = attempt(lambda: _listeners(top, folder), None)
    has_store = "store" in top
    no_registry: tuple[Path | None, URL | None] = (None, None)
    registry_file, registry_url = attempt(
        lambda: _registry(top.section("registry"), folder), no_registry
    )
    token_audiences = attempt(
        lambda: _token_audiences(top.section("tokens")), defaults.token_audiences
    )
    store_section = attempt(lambda: top.section("store"), None)
    store = None
    if has_store and store_section is not None:
        store = attempt(lambda: _store(store_section, folder), None)
    administration = attempt(
        lambda: _administration_socket(top.section("administration"), folder), None
    )
    has_health = "health" in top
    health_section = attempt(lambda: top.section("health"), None)
    health = None
    if has_health and health_section is not None:
        health = attempt(lambda: _health(health_section), None)
    events = attempt(lambda: _events(top.section("events")), defaults.events)
    limits = attempt(lambda: _limits(top.section("limits")), defaults.limits)
    seconds = {
        name: attempt(partial(_seconds, top, name, default), default)
        for name, default in (
            ("system_topics_seconds", defaults.system_topics_seconds),
            ("shutdown_seconds", defaults.shutdown_seconds),
        )
    }
    log = attempt(lambda: _log(top.section("log")), (defaults.log_level, defaults.log_format))
    attempt(top.finish, None)
    if listeners is None:
        return None
    return BrokerConfig(
        listeners=listeners,
        registry_file=registry_file,
        registry_url=registry_url,
        token_audiences=token_audiences,
        store=store,
        administration_socket=administration,
        health=health,
        events=events,
        limits=limits,
        **seconds,
        log_level=log[0],
        log_format=log[1],
    )


def _listeners(top: Section, folder: Path) -> tuple[Listener, ...] | None:
    """Those that are right; None where none is."""
    if "listeners" not in top:
        top.sections("listeners")
        return BrokerConfig().listeners
    entries = top.sections("listeners")
    top.build("listeners", lambda: BrokerConfig(listeners=(Listener(),) * len(entries)))
    read = [_listener(entry, folder) for entry in entries]
    return tuple(listener for listener in read if listener is not None) or None


def _log(entry: Section) -> tuple[LogLevel, LogFormat]:
    level = _choice(entry, "level", LogLevel, LogLevel.INFO)
    form = _choice(entry, "format", LogFormat, LogFormat.TEXT)
    entry.finish()
    return level, form


def _registry(entry: Section, folder: Path) -> tuple[Path | None, URL | None]:
    file = entry.take_path("file", folder)
    text = entry.take_optional("url", str)
    entry.finish()
    if text is None:
        return file, None
    if file is not None:
        raise entry.fail("url", "stands beside file; a broker has one registry")
    # Imported only where there is one: it takes a third of a second.
    from broker.registry.registry_url import registry_url

    return None, entry.build("url", lambda: registry_url(text, folder=folder))


def _administration_socket(entry: Section, folder: Path) -> Path | None:
    path = entry.take_path("socket", folder)
    entry.finish()
    if path is not None and len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        raise entry.fail(
            "socket", f"is {str(path)!r}; it has at most {LONGEST_SOCKET_PATH_BYTES} bytes"
        )
    return path


def _token_audiences(entry: Section) -> tuple[str, ...]:
    audiences = tuple(entry.texts("audiences"))
    entry.finish()
    return audiences


def _health(entry: Section) -> HealthConfig:
    host = entry.take("host", str, HealthConfig().host)
    port = entry.take("port", int, HealthConfig().port)
    entry.finish()
    entry.build("host", lambda: HealthConfig(host=host))
    return entry.build("port", lambda: HealthConfig(host=host, port=port))


def _events(entry: Section) -> EventsConfig:
    defaults = EventsConfig()
    topic = entry.take_optional("topic", str) if "topic" in entry else defaults.topic
    keep_days = entry.take("keep_days", float, defaults.keep_days)
    entry.finish()
    entry.build("topic", lambda: EventsConfig(topic=topic))
    return entry.build("keep_days", lambda: EventsConfig(topic=topic, keep_days=keep_days))


def _seconds(top: Section, name: str, default: float) -> float:
    seconds = top.take(name, float, default)
    checked = {name: seconds}
    top.build(name, lambda: BrokerConfig(**checked))  # type: ignore[arg-type]  # of its fields
    return seconds


def _listener(entry: Section, folder: Path) -> Listener | None:
    """One listener; None where something is wrong with it, all of which has been told."""
    told = len(entry.complaints)
    kind = entry.attempt(lambda: _choice(entry, "type", ListenerType, ListenerType.TCP), None)
    if kind is not None:
        for key in ("path", "allowed_origins"):
            entry.attempt(partial(_websocket_only, entry, key, kind), None)
    readers: dict[str, Callable[[], Any]] = {
        "host": lambda: entry.take("host", str, "127.0.0.1"),
        "port": lambda: entry.take("port", int, _PORTS[kind or ListenerType.TCP]),
        "certificate_file": lambda: entry.take_path("certificate_file", folder),
        "key_file": lambda: entry.take_path("key_file", folder),
        "client_certificates": lambda: _choice(
            entry, "client_certificates", ClientCertificates, ClientCertificates.NONE
        ),
        "path": lambda: entry.take("path", str, _DEFAULT_PATH),
        "allowed_origins": lambda: tuple(entry.texts("allowed_origins")),
        "anonymous": lambda: entry.take_optional("anonymous", str),
        "anonymous_beyond_loopback": lambda: entry.take("anonymous_beyond_loopback", bool, False),
    }
    given = {key: entry.attempt(read, None) for key, read in readers.items()}
    nobody: tuple[tuple[Network, ...], str | None] = ((), None)
    proxies, common_name = entry.attempt(lambda: _proxy_protocol(entry), nobody)
    entry.attempt(entry.finish, None)
    # One by one, so that the error names the key; what holds of several together is below.
    for key in ("host", "port", "path", "allowed_origins"):
        if given[key] is not None:
            entry.attempt(partial(_checked, entry, key, {key: given[key]}), None)
    proxied: dict[str, Any] = {"proxies": proxies, "proxy_common_name": common_name}
    entry.attempt(partial(_checked, entry, "proxy_protocol", proxied), None)
    if len(entry.complaints) > told:
        return None
    return entry.attempt(partial(_checked, entry, "type", {"type": kind, **given, **proxied}), None)


def _checked(entry: Section, key: str, settings: dict[str, Any]) -> Listener:
    """The listener that these settings are, or a complaint about ``key``."""
    return entry.build(key, lambda: Listener(**settings))


def _websocket_only(entry: Section, key: str, kind: ListenerType) -> None:
    if key in entry and not kind.has_websocket:
        raise entry.fail(key, f"is for types ws and wss; this one is {kind.value}")


def _proxy_protocol(listener: Section) -> tuple[tuple[Network, ...], str | None]:
    given = "proxy_protocol" in listener
    entry = listener.section("proxy_protocol")
    texts = entry.texts("from")
    common_name = entry.take_optional("common_name", str)
    entry.finish()
    if given and not texts:
        raise entry.fail("from", "is missing; it must be a list of addresses or networks")
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise entry.fail(
                f"from[{index}]", f"{error}; it must be one such as 10.0.0.5 or 10.0.0.0/8"
            ) from error
    return tuple(networks), common_name


def _store(entry: Section, folder: Path) -> StoreConfig:
    file = entry.take_path("file", folder)
    if file is None:
        raise entry.fail("file", "is missing; it must be a path, such as broker.db")
    synchronous = _choice(entry, "synchronous", Synchronous, Synchronous.FULL)
    delay = entry.take("commit_delay_ms", float, 0.0)
    entry.finish()
    return entry.build(
        "commit_delay_ms",
        lambda: StoreConfig(file=file, synchronous=synchronous, commit_delay_ms=delay),
    )


def _limits(entry: Section) -> Limits:
    given: dict[str, Any] = {}
    nothing: dict[str, Any] = {}
    for item in fields(Limits):
        # One by one, so that the error names the key, and each is told.
        given |= entry.attempt(partial(_limit, entry, item.name), nothing)
    entry.attempt(entry.finish, None)
    return Limits(**given)


def _limit(entry: Section, name: str) -> dict[str, Any]:
    """One limit as a keyword of ``Limits``, or none where the file has none."""
    default = getattr(Limits(), name)
    if name not in entry:
        entry.take_optional(name, object)
        return {}
    value: Any
    if isinstance(default, QueueLimits):
        value = _queue(entry, name, default)
    elif isinstance(default, QueueFull):
        value = _choice(entry, name, QueueFull, default)
    elif default is None:
        value = entry.take_optional(name, str if name == "response_information" else int)
    else:
        value = entry.take(name, type(default))
    entry.build(name, lambda: Limits(**{name: value}))
    return {name: value}


def _queue(limits: Section, key: str, default: QueueLimits) -> QueueLimits:
    entry = limits.section(key)
    messages = entry.take("messages", int, default.messages)
    size = entry.take("bytes", int, default.bytes)
    entry.finish()
    return limits.build(key, lambda: QueueLimits(messages=messages, bytes=size))


def _choice(entry: Section, key: str, kind: type[Any], default: Any) -> Any:
    text = entry.take(key, str, default.value)
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(item.value for item in kind)
        raise entry.fail(key, f"is {text!r}; it must be one of: {known}") from None
