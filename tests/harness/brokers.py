"""MQTT brokers as processes: this project's own, mosquitto, amqtt."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.registry import Service, generate
from localcloud.endpoints import free_ports
from tests.harness.processes import Process, Processes
from tests.harness.waiting import wait_until

SERVICES = (
    Service(name="telemetry", role="telemetry-pipeline", client_id_prefix="telemetry"),
    Service(name="direct", role="telemetry-pipeline", client_id_prefix="direct"),
    Service(name="commands", role="command-pipeline", client_id_prefix="commands"),
    Service(name="observer", role="observer", client_id_prefix="observer"),
)

# Nothing is dropped for want of room, and 11 MB pass.
_MOSQUITTO = """\
persistence false
max_inflight_messages 2000
max_queued_messages 0
set_tcp_nodelay true
log_type error
log_type warning
log_type notice
"""

_AMQTT = """\
listeners:
  default:
    type: {kind}
    bind: 127.0.0.1:{port}
    max_connections: 50
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A broker that runs. Without ``passwords`` it takes anybody."""

    host: str
    port: int
    scheme: str = "mqtt"
    passwords: Mapping[str, str] = field(default_factory=dict)
    folder: Path
    process: Process | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def login(self, user: str) -> list[str]:
        """The options by which a pipeline logs in."""
        if user not in self.passwords:
            return []
        file = self.folder / f"{user}.password"
        file.write_text(self.passwords[user])
        return [f"--username={user}", f"--password=file:{file}"]


def start_own(
    processes: Processes,
    folder: Path,
    *,
    devices: Sequence[str],
    services: Sequence[Service] = SERVICES,
    listeners: Sequence[str] = ("{type: tcp, host: 127.0.0.1, port: 0}",),
    roles: Mapping[str, Any] | None = None,
    settings: str = "",
    wrapper: Sequence[str] = (),
) -> Broker:
    """Starts our own broker with generated credentials; its address is the first listener's.

    ``roles``: beside the standard ones, as a registry file has them. ``settings``: more of the
    configuration. ``wrapper`` goes before the command, to run it in another network namespace, say.
    """
    registry = folder / "registry.yaml"
    passwords = generate(registry, devices=devices, services=services)
    if roles:
        registry.write_text(f"{registry.read_text()}roles: {json.dumps(roles)}\n")
    config = folder / "broker.yaml"
    config.write_text(
        f"listeners: [{', '.join(listeners)}]\nregistry: {{file: {registry.name}}}\n{settings}"
    )
    process = processes.start(
        "broker", [*wrapper, sys.executable, "-m", "broker.server", "--config", str(config)]
    )
    scheme, host, port = process.wait_for(r"^ready (mqtts?)://([^\s:]+):(\d+)\b").groups()
    return Broker(
        scheme=scheme,
        host=host,
        port=int(port),
        passwords=passwords,
        folder=folder,
        process=process,
    )


def mosquitto_path() -> str:
    """Where mosquitto is. Skips the test where it isn't."""
    # Debian puts it into sbin, which is not on everybody's PATH.
    for place in ("mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"):
        if found := shutil.which(place):
            return found
    pytest.skip("mosquitto is not installed")


def start_mosquitto(
    processes: Processes,
    folder: Path,
    *,
    hosts: Sequence[str] = ("127.0.0.1",),
    wrapper: Sequence[str] = (),
    password_file: Path | None = None,
) -> Broker:
    """Starts mosquitto; its address is the first host's.

    Who reaches it is let in, by the ``password_file`` if there is one. Skips the test where it
    isn't installed. ``wrapper`` as for ``start_own``.
    """
    program = mosquitto_path()
    (port,) = free_ports(1)
    config = folder / "mosquitto.conf"
    access = "allow_anonymous true\n"
    if password_file is not None:
        # Root's mosquitto would be somebody else, who can't read it.
        user = getpass.getuser()
        access = f"allow_anonymous false\npassword_file {password_file}\nuser {user}\n"
    listeners = "".join(f"listener {port} {host}\n" for host in hosts)
    config.write_text(_MOSQUITTO + access + listeners)
    process = processes.start("mosquitto", [*wrapper, program, "-c", str(config)])
    wait_for_port(port, process, host=hosts[0])
    return Broker(host=hosts[0], port=port, folder=folder, process=process)


def start_amqtt(processes: Processes, folder: Path, *, websocket: bool = False) -> Broker:
    """Starts amqtt, open to anybody on loopback."""
    (port,) = free_ports(1)
    config = folder / "amqtt.yaml"
    config.write_text(_AMQTT.format(port=port, kind="ws" if websocket else "tcp"))
    program = str(Path(sys.executable).parent / "amqtt")
    process = processes.start("amqtt", [program, "-c", str(config)])
    wait_for_port(port, process)
    return Broker(host="127.0.0.1", port=port, folder=folder, process=process)


def wait_for_port(port: int, process: Process, *, host: str = "127.0.0.1") -> None:
    """Waits until somebody listens."""

    def listening() -> bool:
        assert process.running, f"{process.name} ended:\n{process.said()}"
        with socket.socket() as probe:
            return probe.connect_ex((host, port)) == 0

    wait_until(listening, seconds=30, what=f"{process.name} on port {port}")
