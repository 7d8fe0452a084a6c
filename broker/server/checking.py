"""Everything that can be known before a start, looked at in full: ``mqttbeam broker check``.

What ``Server.start`` does one after the other and ends at the first complaint of is done here
for all of it, by the same functions, and nothing is kept or changed. What a broker holds that
answers at the configuration's administration socket is taken for free: it is what would start anew,
or be told to reload. It is another's if it has neither the store nor an address of this one.

What was looked at is named by a noun, so that its line is true however it ended.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from broker.auth.certificates import read_revocation_list
from broker.auth.identity import Authority, Directory
from broker.config import BrokerConfig, Listener, StoreConfig
from broker.config_file import read_config
from broker.core.limits import Limits
from broker.core.memory import CONNECTION_BYTES, SESSION_BYTES
from broker.errors import AddressTaken, AdministrationError, BrokerError, ListenError
from broker.file_rights import obstacle
from broker.registry.opening import count_registered, open_registry
from broker.server.addresses import listen_for_a_moment
from broker.server.asking import ask, is_answered
from broker.server.decoys import decoy_key
from broker.server.memory_limit import available, with_memory
from broker.server.open_files import too_few
from broker.server.tls import tls_context
from broker.store import examine, schema
from schemas.finding import Finding, failed, found, warned

EXPIRES_SOON_DAYS = 30
"""A certificate that ends sooner is warned of."""

LIST_ENDS_SOON = datetime.timedelta(days=2)
"""A revocation list that ends sooner is warned of; many are made for a week."""

FEWEST_CLIENTS = 100
"""A broker with memory for fewer, and for fewer than it may have connections, is a mistake."""

ANSWER_SECONDS = 5.0
"""How long a running broker may take to say which it is."""

_OTHERS, _EVERYONE = 0o077, 0o007

_ADD_SOMEBODY = "mqttbeam devices add meter-7"


def check(path: Path, now: datetime.datetime) -> list[Finding]:
    """Looks at a configuration and all that it names; ``now`` is aware of its time zone."""
    config, problems = read_config(path)
    findings = [
        failed(str(path), "the configuration", problem.removeprefix(f"{path}: "))
        for problem in problems
    ]
    if config is None:
        return findings
    if not problems:
        findings.append(found(str(path), "the configuration"))
    running = _running(config)
    store = [] if _is_told(path, problems, "store") else [*_store(config.store, running)]
    listeners = [*_listeners(config, running)]
    is_own = any(
        running is not None and each.words == _held_by(running) for each in (*store, *listeners)
    )
    return [
        *findings,
        *([] if _is_told(path, problems, "registry") else _registry(config, now)),
        *_decoys(config),
        *store,
        *listeners,
        *_certificates(config, now),
        *_administration(config, running, is_own=is_own),
        *_open_files(config),
        *_memory(config),
    ]


def _is_told(path: Path, problems: list[str], section: str) -> bool:
    """Whether something of a section is wrong: it is there, and was not read."""
    return any(each.startswith((f"{path}: {section}:", f"{path}: {section}.")) for each in problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The broker that answers at the administration socket."""

    process: int
    store: str | None


def _running(config: BrokerConfig) -> _Running | None:
    if config.administration_socket is None:
        return None
    try:
        (status,) = ask(config.administration_socket, "status", seconds=ANSWER_SECONDS)
    except AdministrationError:
        return None
    return _Running(process=status["process"], store=status["store"])


def _registry(config: BrokerConfig, now: datetime.datetime) -> Iterator[Finding]:
    file, url = config.registry_file, config.registry_url
    name = config.registry_name
    if name is None:
        yield warned(
            "registry", "the setting", "none is: nobody can connect; give `registry: {file: …}`"
        )
        return
    try:
        count = count_registered(file=file, url=url)
    except BrokerError as error:
        for line in str(error).splitlines():
            yield failed(name, "the registry", line.removeprefix(f"{file}: "))
        return
    if count is None:
        words = "is not there yet and will be made, with nobody in it: nobody can connect"
        yield warned(name, "the registry", words, _ADD_SOMEBODY)
    else:
        if count:
            yield found(name, "the registry", f"{count} devices and services")
        else:
            words = "nobody is in it: nobody can connect"
            yield warned(name, "the registry", words, _ADD_SOMEBODY)
        database = None if url is None or url.get_backend_name() != "sqlite" else url.database
        prevented = obstacle(Path(database)) if database else None
        if prevented is not None:
            yield warned(
                name,
                "writing it",
                f"{prevented}; connects, disconnects and last-seen times can't be recorded",
            )
        with closing(open_registry(file=file, url=url)) as registry:
            yield from _anonymous(config, name, registry)
            yield from _revocation_lists(
                name, registry.authorities(), now, is_database=url is not None
            )


def _decoys(config: BrokerConfig) -> Iterator[Finding]:
    file = config.scram_decoy_key_file
    if file is None:
        return
    try:
        decoy_key(file)
    except BrokerError as error:
        yield failed(str(file), "the key", str(error).removeprefix(f"{file}: "))
    else:
        yield found(str(file), "the key")


def _anonymous(config: BrokerConfig, name: str, registry: Directory) -> Iterator[Finding]:
    """Whether the services are there that listeners take clients without credentials for."""
    wanted = dict.fromkeys(each.anonymous for each in config.listeners if each.anonymous)
    for service in wanted:
        identity = registry.find(service)
        if identity is None or identity.blocked:
            yield warned(
                name,
                f"service {service!r}",
                "it is blocked or not there: a listener's anonymous clients are refused",
            )
        else:
            yield found(name, f"service {service!r}")


def _revocation_lists(
    name: str, authorities: Sequence[Authority], now: datetime.datetime, *, is_database: bool
) -> Iterator[Finding]:
    """Whether the lists hold: by one that is out of date nobody of its authority gets in."""
    for authority in authorities:
        if authority.revocation_list is None:
            continue
        command = f"mqttbeam devices authorities set {authority.id} --revocation-list ca.crl"
        renewal = command + " --registry URL" if is_database else None
        looked_at = f"revocation list of authority {authority.id!r}"
        try:
            issuer = x509.load_pem_x509_certificate(authority.pem.encode())
            ends = read_revocation_list(issuer, authority.revocation_list).next_update_utc
        except ValueError as error:
            words = f"it can't be used ({error}): all certificates of this authority are refused"
            yield failed(name, looked_at, words, renewal)
            continue
        if ends is None:
            yield found(name, looked_at, "without an end")
        elif ends <= now:
            yield failed(
                name,
                looked_at,
                f"it is out of date since {ends:%Y-%m-%d %H:%M} UTC: all certificates of this"
                " authority are refused; give its new list",
                renewal,
            )
        elif ends - now < LIST_ENDS_SOON:
            yield warned(
                name,
                looked_at,
                f"it ends at {ends:%Y-%m-%d %H:%M} UTC, and then all certificates of this"
                " authority are refused; give its new list",
                renewal,
            )
        else:
            yield found(name, looked_at, f"until {ends:%Y-%m-%d %H:%M} UTC")


def _store(config: StoreConfig | None, running: _Running | None) -> Iterator[Finding]:
    if config is None:
        yield warned(
            "store",
            "the setting",
            "none is: what is acknowledged is in memory alone; give `store: {file: broker.db}`",
        )
        return
    file = config.file
    name = str(file)
    prevented = obstacle(file)
    if not file.exists():
        if prevented is None:
            yield found(name, "opening it", "is not there yet and will be made")
        else:
            yield failed(name, "opening it", prevented)
        return
    if running is not None and running.store is not None and file.samefile(running.store):
        yield found(name, "opening it", _held_by(running))
        return
    try:
        held = examine(file)
    except BrokerError as error:
        yield failed(name, "opening it", str(error))
        return
    if 0 < held.version < schema.VERSION:
        yield failed(
            name,
            "its version",
            f"version {held.version} is older than {schema.VERSION}",
            f"mqttbeam broker upgrade {name}",
        )
    elif prevented is not None:
        yield failed(name, "writing it", prevented)
    elif not held.version:
        yield found(name, "opening it", "is empty; a new store is made in it")
    else:
        yield found(name, "opening it", str(held))
    if file.stat().st_mode & _OTHERS:
        yield warned(
            name, "who may read it", "others may read what devices say", f"chmod 600 {name}"
        )


def _listeners(config: BrokerConfig, running: _Running | None) -> Iterator[Finding]:
    addresses = [(each.name, each.host, each.port) for each in config.listeners]
    if config.health is not None:
        host, port = config.health.host, config.health.port
        addresses.append((f"health {host}:{port}", host, port))
    # All at once, as they will be: two may be the same.
    with ExitStack() as held:
        for name, host, port in addresses:
            try:
                listen_for_a_moment(host, port, held)
            except AddressTaken as error:
                if running is not None and error.process == running.process:
                    yield found(name, "listening", _held_by(running))
                else:
                    yield failed(name, "listening", str(error))
            except ListenError as error:
                yield failed(name, "listening", str(error))
            else:
                yield found(name, "listening")


def _held_by(running: _Running) -> str:
    return f"by the broker that runs already, process {running.process}"


def _administration(
    config: BrokerConfig, running: _Running | None, *, is_own: bool
) -> Iterator[Finding]:
    """``is_own``: whether ``running`` holds the store or an address of this configuration."""
    path = config.administration_socket
    if path is None:
        return
    asked = "listening"
    if running is not None and is_own:
        yield found(str(path), asked, _held_by(running))
    elif running is not None:
        yield failed(
            str(path),
            asked,
            f"another broker listens there, process {running.process}, which has neither the store"
            " nor an address of this configuration; name another",
        )
    elif is_answered(path):
        yield failed(str(path), asked, "somebody else listens there; name another")
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        yield failed(str(path), asked, f"its folder {path.parent} is missing or can't be written")
    elif path.exists() and not path.is_socket():
        yield failed(str(path), asked, "there is a file of this name, which is no socket")
    else:
        yield found(str(path), asked)


def _open_files(config: BrokerConfig) -> Iterator[Finding]:
    few = too_few(config.limits.connections)
    if few is None:
        yield found("open files", "how many limits.connections needs")
    else:
        yield warned("open files", "how many limits.connections needs", few)


def _memory(config: BrokerConfig) -> Iterator[Finding]:
    """Whether what clients may cost fits the machine, and them."""
    limits, there = config.limits, available()
    given = with_memory(config).limits.memory_bytes
    assert given is not None
    clients = given // (CONNECTION_BYTES + SESSION_BYTES)
    asked = "what limits.memory_bytes lets clients cost"
    if clients < min(FEWEST_CLIENTS, limits.connections):
        yield failed(
            "memory", asked, f"{given} bytes are enough for {clients} clients alone; raise it"
        )
    elif given > there:
        yield warned(
            "memory",
            asked,
            f"{given} bytes are more than the {there} that this machine or container has: the"
            " system would end the broker before; lower it, or leave it out for half of that",
        )
    else:
        yield found("memory", asked, f"{given} bytes")
    own = Limits()
    is_said = (limits.memory_bytes, limits.queued_bytes) != (own.memory_bytes, own.queued_bytes)
    # Where neither is said a small machine alone is no mistake of anybody's.
    if is_said and limits.queued_bytes > given:
        yield warned(
            "memory",
            "what limits.queued_bytes lets wait",
            f"{limits.queued_bytes} bytes are more than the {given} that clients may cost in all:"
            " what waits would keep new clients out; lower it",
        )


def _certificates(config: BrokerConfig, now: datetime.datetime) -> Iterator[Finding]:
    for listener in config.listeners:
        if listener.type.has_tls:
            yield from _certificate(listener.name, listener, now)


def _certificate(name: str, listener: Listener, now: datetime.datetime) -> Iterator[Finding]:
    try:
        tls_context(listener)
    except BrokerError as error:
        yield failed(name, "its certificate and key", str(error))
        return
    file, key = listener.certificate_file, listener.key_file
    assert file is not None
    assert key is not None
    # The first is the listener's own, those behind it lead to its CA.
    for certificate in x509.load_pem_x509_certificates(file.read_bytes()):
        subject = certificate.subject.rfc4514_string() or "without a subject"
        ends = certificate.not_valid_after_utc
        asked = f"validity of certificate {subject}"
        days = (ends - now).days
        if ends <= now:
            yield failed(str(file), asked, f"it has expired at {ends:%Y-%m-%d %H:%M} UTC; renew it")
        elif certificate.not_valid_before_utc > now:
            begins = certificate.not_valid_before_utc
            yield failed(
                str(file), asked, f"it begins at {begins:%Y-%m-%d %H:%M} UTC; is the clock right?"
            )
        elif days < EXPIRES_SOON_DAYS:
            yield warned(str(file), asked, f"it expires in {days} days; renew it")
        else:
            yield found(str(file), asked, f"until {ends:%Y-%m-%d}")
    if key.stat().st_mode & _EVERYONE:
        yield warned(str(key), "who may read it", "everyone may read it", f"chmod 640 {key}")
