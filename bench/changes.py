"""How soon a change in the registry is in effect for who is connected: ``python -m bench.changes``.

Starts the embedded broker on a registry, connects devices that share a role, with a subscription to
their own commands each, and changes the registry in one go. Some of the devices, the first and the
last by name among them, publish all the time: printed is when the last of them was still allowed
to, counted from the change's commit (of a file, from when it is in its place); when the last of
those that must go was told so; and for how long at most a PINGREQ of another client waited
meanwhile, which is what the change holds up everybody else.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import argon2
from mqtt5 import SubscribePacket, TopicFilter

from bench.probing import Device, connected, prober
from bench.processes import own_broker
from broker.auth.identity import Password
from broker.auth.password_hash import PasswordHash
from broker.registry.entries import Content, Entry
from broker.registry.registry_url import registry_url
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from broker.registry.yaml_writing import content_text, write_private
from broker.server.open_files import allow_open_files

_CONFIG = """\
listeners: [{{port: 0}}]
registry: {registry}
log: {{level: warning}}
"""
_EXAMPLES = """\
examples:
  python -m bench.changes --count 9900
  python -m bench.changes --count 9900 --change blocked --rounds 5
  python -m bench.changes --count 9900 --change all
  python -m bench.changes --count 10000 --registry file --change one
"""
_ROLE, _LESS = "meter", "meter-with-less"
_PASSWORD = "of-the-bench"
_TOPIC = "bench/topic"
_AT_ONCE = 50
_PROBED = 50
_LONGEST_SECONDS = 30.0
_HASHED = PasswordHash.of(
    # Of the lowest cost: logging in is not what is measured.
    _PASSWORD,
    hasher=argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
)


class Change(enum.Enum):
    """What becomes of the devices: each time of all but one, which is served meanwhile."""

    ROLE = "role"
    RIGHTS = "rights"
    BLOCKED = "blocked"
    CREDENTIAL = "credential"
    REMOVED = "removed"
    ONE = "one"


_SAID = {
    Change.ROLE: "the role that all share allows less",
    Change.RIGHTS: "each gets another role",
    Change.BLOCKED: "all are blocked",
    Change.CREDENTIAL: "the credentials of all are replaced",
    Change.REMOVED: "all are removed",
    Change.ONE: "one is blocked",
}

Put = Callable[[Content], None]


def main() -> None:
    """Measures each round, and prints one line for each."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.changes",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=10_000, help="devices that are connected")
    parser.add_argument("--rounds", type=int, default=3, help="changes, one after another")
    parser.add_argument(
        "--registry", choices=("sqlite", "file"), default="sqlite", help="where the devices are"
    )
    kinds = "; ".join(f"{change.value}: {said}" for change, said in _SAID.items())
    parser.add_argument(
        "--change",
        choices=[*(change.value for change in Change), "all"],
        default=Change.ROLE.value,
        help=f"{kinds}; all: one kind after the other. Default: role",
    )
    options = parser.parse_args()
    chosen = list(Change) if options.change == "all" else [Change(options.change)]
    allow_open_files(options.count)
    names = [f"device-{number:06d}" for number in range(options.count)]
    with tempfile.TemporaryDirectory() as name, _registry(options.registry, Path(name)) as put:
        put(_content(names))
        with _broker(options.registry, Path(name)) as port:
            asyncio.run(_rounds(put, names, port, chosen * options.rounds))


async def _rounds(put: Put, names: list[str], port: int, changes: Sequence[Change]) -> None:
    clients: dict[str, Device] = {}
    for change in changes:
        served, *concerned = names
        if change is Change.ONE:
            concerned = random.sample(concerned, 1)
        probed = {concerned[0], concerned[-1]}
        probed |= set(random.sample(concerned, min(_PROBED, len(concerned))))
        crowd = [name for name in names if name != served and name not in probed]
        for name in names:
            if name not in crowd and name in clients:
                clients.pop(name).close()
        await _connect(clients, crowd, port)
        with prober(
            port, names=sorted(probed), served=served, password=_PASSWORD, topic=_TOPIC
        ) as probes:
            # Each round at another moment between two looks at the registry.
            await asyncio.sleep(random.random())
            await asyncio.to_thread(put, _changed(_content(names), change, concerned))
            changed = time.monotonic()
            gone = await _last_gone(clients, change, set(concerned))
            result = await asyncio.to_thread(probes.end)
        last = sorted(result.last_allowed)
        told = "" if gone is None else f" all were told after {gone - changed:.2f} s;"
        print(
            f"{len(names)} devices, {_SAID[change]}: in effect for the last after"
            f" {last[-1] - changed:.2f} s, the median after {last[len(last) // 2] - changed:.2f}"
            f" s;{told} others waited {result.longest_ping_seconds * 1_000:.0f} ms at most",
            flush=True,
        )
        await asyncio.to_thread(put, _content(names))
        # Until that is in effect.
        await asyncio.sleep(2)
        clients = {name: client for name, client in clients.items() if client.gone_at is None}
    for client in clients.values():
        client.close()


async def _last_gone(
    clients: dict[str, Device], change: Change, concerned: set[str]
) -> float | None:
    """When the last was told that its connection ends; None where they stay."""
    if change in (Change.ROLE, Change.RIGHTS, Change.ONE):
        return None
    waiting = [client for name, client in clients.items() if name in concerned]
    deadline = time.monotonic() + _LONGEST_SECONDS
    while any(client.gone_at is None for client in waiting):
        if time.monotonic() > deadline:
            raise TimeoutError(f"somebody is still there after {_LONGEST_SECONDS} s")
        await asyncio.sleep(0.05)
    return max(client.gone_at or 0.0 for client in waiting)


async def _connect(clients: dict[str, Device], names: list[str], port: int) -> None:
    async def connect(name: str) -> None:
        client = await connected(port, name, _PASSWORD)
        await client.ask(SubscribePacket(1, [TopicFilter(f"devices/{name}/commands/#")]))
        clients[name] = client

    missing = [name for name in names if name not in clients]
    for start in range(0, len(missing), _AT_ONCE):
        await asyncio.gather(*(connect(name) for name in missing[start : start + _AT_ONCE]))


def _role(*topics: str) -> Role:
    standard = ("devices/%device/telemetry/#", "devices/%device/state")
    return Role(
        publish=Patterns(allow=(*standard, *(f"{topic}/%device" for topic in topics))),
        subscribe=Patterns(allow=("devices/%device/commands/#", "devices/%device/config")),
        will=Patterns(allow=standard),
    )


def _content(names: Sequence[str]) -> Content:
    return Content(
        entries={name: _entry(name) for name in names}, roles={_ROLE: _role(_TOPIC), _LESS: _role()}
    )


def _entry(name: str, *, credential: str = "1") -> Entry:
    password = Password(id=f"{name}/{credential}", hash=_HASHED)
    return Entry(name=name, role=_ROLE, credentials=(password,))


def _changed(content: Content, change: Change, concerned: Sequence[str]) -> Content:
    if change is Change.ROLE:
        return replace(content, roles={**content.roles, _ROLE: _role()})
    entries = dict(content.entries)
    for name in concerned:
        if change is Change.REMOVED:
            del entries[name]
        elif change is Change.CREDENTIAL:
            entries[name] = _entry(name, credential="2")
        elif change is Change.RIGHTS:
            entries[name] = replace(entries[name], role=_LESS)
        else:
            entries[name] = replace(entries[name], blocked=True)
    return replace(content, entries=entries)


@contextmanager
def _registry(kind: str, folder: Path) -> Iterator[Put]:
    """What puts a whole content into the registry, all at once."""
    if kind == "file":
        yield lambda content: write_private(folder / "registry.yaml", content_text(content))
        return
    registry = SqlRegistry(registry_url("sqlite:///registry.db", folder=folder))
    try:
        yield lambda content: registry.take_in(content, instead=True)
    finally:
        registry.close()


@contextmanager
def _broker(kind: str, folder: Path) -> Iterator[int]:
    config = folder / "broker.yaml"
    where = "{file: registry.yaml}" if kind == "file" else '{url: "sqlite:///registry.db"}'
    config.write_text(_CONFIG.format(registry=where))
    # Each that goes is a line.
    with own_broker(config, log=folder / "broker.log") as (_, urls):
        port = urlsplit(urls[0]).port
        assert port is not None
        yield port


if __name__ == "__main__":
    main()
