"""SIGHUP: what may change of a running broker changes, all of it or nothing.

The new configuration, the registry and every certificate are read and checked first, outside
the event loop. If one of them is wrong, all stays as it is, and the log says what is wrong. What
can't change in a running process is told, and waits for the next start.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

from broker.config import BrokerConfig
from broker.config_file import load_config
from broker.core.limits import Limits, live
from broker.errors import BrokerError
from broker.registry.opening import count_registered
from broker.server.logs import about
from broker.server.memory_limit import with_memory
from broker.server.tls import tls_context

LOG = logging.getLogger("broker")

LIVE_SETTINGS = frozenset({"log_level", "log_format", "shutdown_seconds", "system_topics_seconds"})
"""Fields of ``BrokerConfig`` that change at once; ``limits`` by ``broker.core.limits.LIVE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What is to be done. ``changed`` and ``waiting``: keys that differ, now and at the next start.

    ``config``: that of the running broker from now on.
    """

    config: BrokerConfig
    changed: list[str]
    waiting: list[str]


async def prepare(path: Path, running: BrokerConfig) -> Reload | None:
    """Reads and checks everything anew. None where something is wrong, which is logged."""
    try:
        wanted = await asyncio.to_thread(_checked, path, running)
    except BrokerError as error:
        for line in str(error).splitlines():
            LOG.error("nothing is reloaded: %s", line, extra=about("reload_refused", reason=line))
        return None
    return _compared(running, wanted)


def _checked(path: Path, running: BrokerConfig) -> BrokerConfig:
    wanted = with_memory(load_config(path))
    # The registry is followed all the time; a wrong one is refused here with the rest.
    count_registered(file=wanted.registry_file, url=wanted.registry_url)
    for listener in running.listeners:
        if listener.type.has_tls:
            tls_context(listener)
    return wanted


def _compared(running: BrokerConfig, wanted: BrokerConfig) -> Reload:
    limits, waiting = live(running.limits, wanted.limits)
    waiting = [f"limits.{name}" for name in waiting]
    changed = [
        f"limits.{item.name}"
        for item in fields(Limits)
        if getattr(limits, item.name) != getattr(running.limits, item.name)
    ]
    settings: dict[str, object] = {"limits": limits}
    for item in fields(BrokerConfig):
        value = getattr(wanted, item.name)
        if item.name == "limits" or value == getattr(running, item.name):
            continue
        if item.name in LIVE_SETTINGS:
            settings[item.name] = value
            changed.append(item.name)
        else:
            waiting.append(item.name)
    config = replace(running, **settings)  # type: ignore[arg-type]  # of its own fields
    return Reload(config=config, changed=changed, waiting=waiting)
