"""Starting and stopping a server."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from broker.auth.authenticator import Authenticator
from broker.auth.identity import Directory
from broker.config import BrokerConfig
from broker.config_file import load_config
from broker.core import inspecting
from broker.errors import ConfigError, ListenError
from broker.registry.opening import open_registry
from broker.server import logs, reloading
from broker.server.administration import Administration
from broker.server.client_events import ClientEvents
from broker.server.decoys import decoy_key
from broker.server.following import Following, principals, unknown
from broker.server.health import Health, Phase
from broker.server.listeners import OpenListener, open_listener
from broker.server.memory_limit import with_memory
from broker.server.metrics import Metrics
from broker.server.open_files import allow_open_files, too_few
from broker.server.recorder import Recorder, Records
from broker.server.shell import Shell
from broker.server.system_topics import SystemTopics
from broker.store import SqliteStore
from broker.version import program_version

LOG = logging.getLogger("broker")


class Server:
    """A running broker, for whoever has an event loop of their own."""

    def __init__(
        self,
        shell: Shell,
        listeners: list[OpenListener],
        config: BrokerConfig,
        health: Health,
        following: Following,
        events: ClientEvents,
        registry: Directory,
    ) -> None:
        self._following = following
        self._events = events
        self._registry = registry
        self.core = shell.core
        self._shell = shell
        self._listeners = listeners
        self._config = config
        self._health = health
        self.health_url: str | None = None
        health.metrics = Metrics(shell, is_registry_readable=lambda: following.is_answered).answer
        shell.failed.add_done_callback(self._failed)
        self._system_topics = SystemTopics(shell)
        self._system_topics.tell_every(config.system_topics_seconds)
        self._administration = Administration(shell, self.status)
        self._started_at = shell.loop.time()

    @classmethod
    async def start(cls, config: BrokerConfig) -> Server:
        """Reads the registry and the store and opens every listener, or none.

        Raises:
          BrokerError: the registry is wrong, the store or a certificate cannot be used, an address
            is taken.
        """
        config = with_memory(config)
        if config.registry_name is None:
            LOG.warning(
                "no registry is configured: nobody can connect", extra=logs.about("no_registry")
            )
        loop = asyncio.get_running_loop()
        listeners: list[OpenListener] = []
        health = Health()
        async with AsyncExitStack() as opened:
            health_url = None
            if config.health is not None:
                # Before all that takes time: that it isn't ready yet can be asked.
                health_url = await health.open(config.health.host, config.health.port)
                opened.push_async_callback(health.close)
            registry = open_registry(file=config.registry_file, url=config.registry_url)
            opened.callback(registry.close)
            has_one = config.registry_name is not None
            if has_one and not await asyncio.to_thread(registry.count):
                LOG.warning(
                    "%s has nobody: nobody can connect until `mqttbeam devices add …`",
                    config.registry_name,
                    extra=logs.about("empty_registry"),
                )
            # Whatever is removed from now on is followed.
            version = (await asyncio.to_thread(registry.changes, 0)).version
            store = None
            if config.store is None:
                LOG.warning(
                    "no store is configured: what is acknowledged is in memory alone",
                    extra=logs.about("no_store"),
                )
            else:
                store = SqliteStore(
                    config.store.file,
                    synchronous=config.store.synchronous,
                    core_to_wall=time.time() - loop.time(),
                )
                opened.callback(store.close)
            authenticator = Authenticator(
                registry,
                audiences=config.token_audiences,
                decoy_key=decoy_key(config.scram_decoy_key_file),
            )
            shell = Shell(
                limits=config.limits,
                authenticator=authenticator,
                loop=loop,
                store=store,
                commit_delay_seconds=config.store.commit_delay_ms / 1_000 if config.store else 0.0,
            )
            opened.callback(shell.lag.stop)
            await shell.take_up(
                removed=partial(unknown, registry), principals=partial(principals, registry)
            )
            recorder = None
            if isinstance(registry, Records):
                recorder = Recorder(
                    registry,
                    shell.core.counters,
                    keep_seconds=config.events.keep_days * 86_400,
                )
                opened.callback(recorder.stop, 0.0)
            events = ClientEvents(
                shell.core,
                topic=config.events.topic,
                recorder=recorder,
                loop=loop,
                wall=time.time,
            )
            opened.callback(events.pause)
            shell.telling.hear = events.heard
            following = Following(
                registry,
                shell.core,
                forget=authenticator.forget,
                failed=partial(shell.fail, event="following_failed"),
                wake=shell.heed,
                loop=loop,
                wall=time.time,
            )
            opened.push_async_callback(following.stop)
            following.start(version)
            for listener in config.listeners:
                listeners += [
                    await open_listener(
                        listener,
                        shell.factory(listener),
                        loop,
                        doorkeeper=shell.doorkeeper,
                        maximum_packet_bytes=config.limits.maximum_packet_bytes,
                        connect_timeout_seconds=config.limits.connect_timeout_seconds,
                    )
                ]
                opened.callback(listeners[-1].close)
            server = cls(shell, listeners, config, health, following, events, registry)
            server.health_url = health_url
            opened.callback(server._system_topics.tell_every, 0)
            if config.administration_socket is not None:
                await server._administration.open(config.administration_socket)
            opened.pop_all()
        health.phase = Phase.READY
        if health_url is not None:
            LOG.info("health and metrics at %s", health_url, extra=logs.about("health_open"))
        return server

    @property
    def urls(self) -> list[str]:
        """Where clients connect to, such as ``mqtt://127.0.0.1:1883``."""
        return [listener.url for listener in self._listeners]

    @property
    def failed(self) -> asyncio.Future[None]:
        """Ends with the StoreError that ended the broker, if one does."""
        return self._shell.failed

    def status(self) -> dict[str, Any]:
        """What the server knows of itself, for operators, as JSON has it."""
        store = self._shell.store
        core = self.core
        return {
            "version": program_version(),
            "process": os.getpid(),
            "uptime_seconds": self._shell.loop.time() - self._started_at,
            "listeners": self.urls,
            "store": None if store is None else str(store.path),
            "slowed_clients": core.pacing.slowed,
            "memory_bytes": core.budget.used_bytes,
            "memory_limit_bytes": core.limits.memory_bytes,
            "retained_messages": core.retained.messages,
            "retained_bytes": core.retained.bytes,
            **asdict(inspecting.totals(core.sessions)),
            "counters": asdict(core.counters),
        }

    async def reload(self, path: Path) -> bool:
        """Takes up a changed configuration and changed certificates; see ``reloading``.

        Returns whether it did. If not, all is as before and the log says why.
        """
        ready = await reloading.prepare(path, self._config)
        if ready is None:
            return False
        try:
            for listener in self._listeners:
                listener.reload()
        except ConfigError as error:
            # It was right a moment ago.
            LOG.error("nothing is reloaded: %s", error, extra=logs.about("reload_refused"))
            return False
        try:
            await self._administration.renew()
        except ListenError as error:
            LOG.error("%s", error, extra=logs.about("administration_failed", reason=str(error)))
        config = self._config = ready.config
        logs.configure(config.log_level, config.log_format)
        allow_open_files(config.limits.connections)
        self.core.change_limits(config.limits)
        self._shell.heed()
        self._system_topics.tell_every(config.system_topics_seconds)
        changed = ", ".join(ready.changed) or "no setting"
        LOG.info("reloaded: certificates and %s", changed, extra=logs.about("reloaded"))
        if ready.waiting:
            waiting = ", ".join(ready.waiting)
            LOG.warning(
                "at the next start only: %s",
                waiting,
                extra=logs.about("reload_waits", reason=waiting),
            )
        return True

    async def stop(self) -> None:
        """Takes no more connections and says goodbye to every client (DISCONNECT 0x8B)."""
        if self._health.phase is Phase.READY:
            self._health.phase = Phase.STOPPING
        self._system_topics.tell_every(0)
        for listener in self._listeners:
            listener.close()
        await self._administration.close()
        await self._following.stop()
        await self._shell.stop(timeout_seconds=self._config.shutdown_seconds)
        await self._events.stop(timeout_seconds=self._config.shutdown_seconds)
        self._registry.close()
        if self._shell.store is not None:
            self._shell.store.close()
        await self._health.close()

    def _failed(self, failed: asyncio.Future[None]) -> None:
        if not failed.cancelled():
            self._health.phase = Phase.FAILED


def serve(config_path: Path) -> None:
    """Runs a broker until SIGTERM or SIGINT, reloads on SIGHUP; logs to standard error.

    When every listener is open, one line ``ready URL…`` goes to standard output.

    Raises:
      BrokerError: what is wrong with the configuration, the registry, the store or an address;
        also later, where the store can't be written any more.
    """
    config = load_config(config_path)
    logs.configure(config.log_level, config.log_format)
    asyncio.run(_serve(config, config_path))


async def _serve(config: BrokerConfig, path: Path) -> None:
    # Messages are freed by their reference count, so looking for cycles among thousands of
    # sessions after every few hundred of them is of no use: with 2,000 devices connected it took
    # a third of the time. Connections do leave cycles behind, so it isn't turned off.
    gc.set_threshold(50_000, 20, 100)
    allow_open_files(config.limits.connections)
    too_few_files = too_few(config.limits.connections)
    if too_few_files is not None:
        LOG.warning("%s", too_few_files)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server: Server | None = None
    reloads: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        if server is None:
            # It has only just read everything.
            return
        task = loop.create_task(server.reload(path))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    # What a start makes stays: a collector that looked at a million messages again and again would
    # take as long as all the rest, and stop everybody later on.
    gc.disable()
    try:
        server = await Server.start(config)
    finally:
        gc.enable()
    gc.freeze()
    sys.stdout.write(f"ready {' '.join(server.urls)}\n")
    sys.stdout.flush()
    server.failed.add_done_callback(lambda failed: stopping.set())
    await stopping.wait()
    LOG.info("stopping", extra=logs.about("stopping"))
    await server.stop()
    if server.failed.done():
        server.failed.result()
