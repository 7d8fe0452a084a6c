"""What the cluster's processes are told: their configuration files and command lines, as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
WORKERS_NAME = "workers.localhost"
"""Where a task manager finds its Python workers. A job names one address for all of them, and on
a cluster of machines that is each one's own localhost; here a hosts file gives each its own."""

# What Flink's own launcher sets for Java 17; the access that it had before.
_OPENED = (
    *("lang", "net", "io", "nio", "lang.reflect", "lang.invoke", "text", "time"),
    *("util", "util.concurrent", "util.concurrent.atomic", "util.concurrent.locks"),
)
_JAVA_OPTIONS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The cluster's ports on loopback; the workers' is the same on each pool's own address."""

    zookeeper: int
    zookeeper_peer: int
    zookeeper_election: int
    job_manager: int
    rest: int
    blobs: int
    job_server: int
    artifacts: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """A cluster.

    Attributes:
      folder: for configuration, checkpoints, logs and what else the processes keep.
      task_managers: how many; each has a Python worker pool.
      slots: of each task manager. A job takes as many as its parallelism.
      heartbeat_timeout_seconds: after so long without a word a killed process counts as gone.
    """

    folder: Path
    task_managers: int = 2
    slots: int = 3
    heartbeat_timeout_seconds: float = 6.0

    def __post_init__(self) -> None:
        if not 1 <= self.task_managers <= 8:
            raise ValueError(f"task_managers: must be 1 to 8, got {self.task_managers}")
        if not 1 <= self.slots <= 64:
            raise ValueError(f"slots: must be 1 to 64, got {self.slots}")
        if self.heartbeat_timeout_seconds < 2:
            raise ValueError(
                "heartbeat_timeout_seconds: must be 2 or more, twice the beat,"
                f" got {self.heartbeat_timeout_seconds:g}"
            )


def flink_configuration(settings: ClusterSettings, ports: Ports) -> str:
    """Returns Flink's config.yaml, for job manager, task managers and job server alike."""
    folder = settings.folder.absolute()
    values: dict[str, object] = {
        "jobmanager.rpc.address": LOOPBACK,
        "jobmanager.rpc.port": ports.job_manager,
        "jobmanager.bind-host": LOOPBACK,
        "jobmanager.memory.process.size": "1000m",
        "rest.address": LOOPBACK,
        "rest.bind-address": LOOPBACK,
        "rest.port": ports.rest,
        "blob.server.port": ports.blobs,
        "taskmanager.host": LOOPBACK,
        "taskmanager.bind-host": LOOPBACK,
        "taskmanager.numberOfTaskSlots": settings.slots,
        # Not all shards on the first one that has room.
        "taskmanager.load-balance.mode": "SLOTS",
        "taskmanager.cpu.cores": settings.slots,
        "taskmanager.memory.task.heap.size": "512m",
        "taskmanager.memory.task.off-heap.size": "128m",
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.managed.size": "64m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "64m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "128m",
        "taskmanager.memory.jvm-overhead.max": "128m",
        "state.checkpoints.dir": f"file://{folder}/checkpoints",
        "state.savepoints.dir": f"file://{folder}/savepoints",
        "io.tmp.dirs": f"{folder}/scratch",
        # Grows with failures that follow each other, and forgets them after a quiet time.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
        "heartbeat.interval": 1_000,
        "heartbeat.timeout": int(1_000 * settings.heartbeat_timeout_seconds),
        "slot.request.timeout": 60_000,
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{LOOPBACK}:{ports.zookeeper}",
        "high-availability.zookeeper.client.session-timeout": 6_000,
        "high-availability.storageDir": f"file://{folder}/high-availability",
        "high-availability.jobmanager.port": ports.job_manager,
        "classloader.check-leaked-classloader": False,
    }
    return "".join(f"{name}: {_yaml(value)}\n" for name, value in values.items())


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def zookeeper_configuration(settings: ClusterSettings, ports: Ports) -> str:
    """Returns the configuration of a ZooKeeper of one."""
    return (
        "tickTime=500\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n"
        f"clientPort={ports.zookeeper}\nclientPortAddress={LOOPBACK}\n"
        f"dataDir={settings.folder.absolute()}/zookeeper\n"
        f"server.1={LOOPBACK}:{ports.zookeeper_peer}:{ports.zookeeper_election}\n"
    )


def workers_address(number: int) -> str:
    """Returns the loopback address of the ``number``th task manager's worker pool, from 1."""
    return f"127.0.0.{number}"


def hosts_file(number: int, *, machine: str) -> str:
    """Returns the names that the ``number``th task manager's Java knows, from 1; no others.

    ``machine``: this machine's own, which Flink looks up.
    """
    return f"{LOOPBACK} localhost {machine}\n{workers_address(number)} {WORKERS_NAME}\n"


def java_command(
    java: str, jars: Path, main: str, *arguments: str, heap_mb: int, more: Mapping[str, str]
) -> list[str]:
    """Returns the command line of one of the cluster's Java processes.

    ``more``: system properties.
    """
    return [
        *(java, f"-Xmx{heap_mb}m", *_JAVA_OPTIONS),
        *(f"-D{name}={value}" for name, value in more.items()),
        *("-cp", f"{jars}/*", main, *arguments),
    ]
