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
    scram: {decoy_key_file: decoys.key}  # for brokers that share a load balancer
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

import ipaddress
import os
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.config import (
    DEFAULT_PATH,
    DEFAULT_PORTS,
    BrokerConfig,
    ClientCertificates,
    EventsConfig,
    HealthConfig,
    Listener,
    ListenerType,
    LogFormat,
    LogLevel,
    Network,
    StoreConfig,
)
from broker.core.limits import Limits, QueueFull, QueueLimits
from broker.errors import ConfigError
from broker.store import Synchronous
from broker.yaml_file import Section

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_MAY_BE_NONE = frozenset(item.name for item in fields(Limits) if "None" in str(item.type))

LONGEST_SOCKET_PATH_BYTES = 103
"""What every system takes for the name of a Unix domain socket."""


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
    decoy_key_file = attempt(lambda: _decoy_key_file(top.section("scram"), folder), None)
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
        scram_decoy_key_file=decoy_key_file,
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


def _decoy_key_file(entry: Section, folder: Path) -> Path | None:
    file = entry.take_path("decoy_key_file", folder)
    entry.finish()
    return file


def _health(entry: Section) -> HealthConfig:
    host = entry.take("host", str, HealthConfig().host)
    port = entry.take("port", int, HealthConfig().port)
    entry.finish()
    entry.build("host", lambda: HealthConfig(host=host))
    return entry.build("port", lambda: HealthConfig(host=host, port=port))


def _events(entry: Section) -> EventsConfig:
    defaults = EventsConfig()
    is_given = "topic" in entry
    topic = entry.take_optional("topic", str)
    if not is_given:
        topic = defaults.topic
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
        "port": lambda: entry.take("port", int, DEFAULT_PORTS[kind or ListenerType.TCP]),
        "certificate_file": lambda: entry.take_path("certificate_file", folder),
        "key_file": lambda: entry.take_path("key_file", folder),
        "client_certificates": lambda: _choice(
            entry, "client_certificates", ClientCertificates, ClientCertificates.NONE
        ),
        "path": lambda: entry.take("path", str, DEFAULT_PATH),
        "allowed_origins": lambda: tuple(entry.texts("allowed_origins")),
        "anonymous": lambda: entry.take_optional("anonymous", str),
        "anonymous_beyond_loopback": lambda: entry.take("anonymous_beyond_loopback", bool, False),
        "ignore_credentials": lambda: entry.take("ignore_credentials", bool, False),
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
    whole: dict[str, Any] = {"type": kind, **given, **proxied}
    nobody_comes = {"anonymous": None, "ignore_credentials": False}
    known = entry.attempt(partial(_checked, entry, "type", whole | nobody_comes), None)
    return known and entry.attempt(partial(_checked, entry, "anonymous", whole), None)


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
    elif isinstance(default, tuple):
        value = tuple(entry.texts(name))
    elif name in _MAY_BE_NONE:
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
    # Not only text: YAML 1.1 reads `off` and `no` as False.
    value = entry.take(key, object, default.value)
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(item.value for item in kind)
        raise entry.fail(key, f"is {value!r}; it must be one of: {known}") from None
