"""The cluster's processes: started in order, killed one by one, started again, stopped together.

zookeeper        who leads, and which jobs run            FlinkZooKeeperQuorumPeer
job-manager      schedules, and completes checkpoints     StandaloneSessionClusterEntrypoint
task-manager-N   run the job's steps                      TaskManagerRunner
workers-N        start Python workers for task manager N  pipelines.flink_pool
job-server       makes Flink jobs of Beam pipelines       FlinkJobServerDriver
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from localcloud.endpoints import free_ports
from localcloud.flink.jars import check_java, ensure_jars
from localcloud.flink.rest import FlinkJobs
from localcloud.flink.settings import (
    LOOPBACK,
    WORKERS_NAME,
    ClusterSettings,
    Ports,
    flink_configuration,
    hosts_file,
    java_command,
    workers_address,
    zookeeper_configuration,
)
from localcloud.run.children import Child, ChildEnded, Children, own_environment

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_JOB_SERVER_READY = re.compile(r".*JobService started on .*")
_WORKERS_READY = re.compile(r"workers ready on .*")
_FLINK = "org.apache.flink.runtime"


@dataclass
class Part:
    """One process of the cluster, and how it is started.

    Attributes:
      name: as in the module's table.
      command, environment: of each start.
      child: the process of the last start.
      starts: how often it was started.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    child: Child | None = None
    starts: int = field(default=0)

    @property
    def process(self) -> psutil.Process:
        """The running process. Raises psutil.NoSuchProcess if there is none."""
        assert self.child is not None, f"{self.name} was never started"
        return psutil.Process(self.child.pid)


class FlinkCluster:
    """A cluster on loopback; a context manager that leaves no process behind.

    Args:
      settings: its size and folder.
      environment: variables of the Python workers: where the clouds are that the pipelines speak
        to.
      interrupted: whether to give up while it starts.

    Raises (on entering):
      FlinkUnavailable: no Java or no jars.
      ChildEnded: a process did not come up; names it and its log.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        environment: Mapping[str, str],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self._environment = dict(environment)
        self._interrupted = interrupted
        self.parts: dict[str, Part] = {}

    def __enter__(self) -> Self:
        java, jars = check_java(), ensure_jars()
        folder = self.settings.folder.absolute()
        # A cluster begins without the jobs of an earlier one; checkpoints stay.
        for name in ("scratch", "zookeeper", "high-availability", "artifacts"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("scratch", "zookeeper", "conf"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.ports = Ports(**dict(zip(Ports.__dataclass_fields__, free_ports(9), strict=True)))
        self.jobs = FlinkJobs(self.address)
        self._plan(java, jars, folder)
        self._children = Children(logs=folder / "logs", interrupted=self._interrupted)
        self._children.__enter__()
        try:
            self._start_all()
        except BaseException:  # also Ctrl-C: nothing that was started may outlive it; raised again
            self._children.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._children.__exit__(None, None, None)

    @property
    def job_endpoint(self) -> str:
        """Where pipelines are submitted."""
        return f"{LOOPBACK}:{self.ports.job_server}"

    @property
    def address(self) -> str:
        """Where the job manager's REST API and console are."""
        return f"{LOOPBACK}:{self.ports.rest}"

    def check(self) -> None:
        """Raises ChildEnded if a process ended that nobody killed by :meth:`kill`."""
        self._children.check()

    def options(self) -> tuple[str, ...]:
        """The options by which a pipeline runs here."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint={self.job_endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={WORKERS_NAME}:{self.ports.workers}",
        )

    def start(self, name: str) -> None:
        """Starts a part (again). Its log is NAME.log, then NAME-2.log and so on."""
        part = self.parts[name]
        part.starts += 1
        log = name if part.starts == 1 else f"{name}-{part.starts}"
        part.child = self._children.start(log, part.command, environment=part.environment)

    def kill(self, name: str) -> None:
        """``kill -9``, of this process alone; what it started itself lives or dies by its own."""
        part = self.parts[name]
        assert part.child is not None, f"{name} was never started"
        part.child.stopping = True
        part.child.process.send_signal(signal.SIGKILL)
        part.child.process.wait()

    def workers(self, number: int) -> list[psutil.Process]:
        """The Python workers of a task manager."""
        return self.parts[f"workers-{number}"].process.children()

    def wait_for_task_managers(self, count: int, *, timeout_seconds: float) -> None:
        """Waits until so many are registered. Raises ChildEnded."""
        self._wait(
            lambda: self.jobs.task_managers() >= count, f"{count} task managers", timeout_seconds
        )

    def _plan(self, java: str, jars: Path, folder: Path) -> None:
        conf = folder / "conf"
        (conf / "config.yaml").write_text(flink_configuration(self.settings, self.ports))
        (conf / "zoo.cfg").write_text(zookeeper_configuration(self.settings, self.ports))
        at_conf = ("--configDir", str(conf))
        environment = own_environment() | {"FLINK_CONF_DIR": str(conf)}
        memory: dict[str, str] = {}

        def add_java(
            name: str, main: str, *arguments: str, heap_mb: int, more: Mapping[str, str] = memory
        ) -> None:
            command = java_command(java, jars, main, *arguments, heap_mb=heap_mb, more=more)
            self.parts[name] = Part(name, command, environment)

        add_java(
            "zookeeper",
            f"{_FLINK}.zookeeper.FlinkZooKeeperQuorumPeer",
            *("--zkConfigFile", str(conf / "zoo.cfg"), "--peerId", "1"),
            heap_mb=128,
        )
        add_java(
            "job-manager",
            f"{_FLINK}.entrypoint.StandaloneSessionClusterEntrypoint",
            *at_conf,
            heap_mb=512,
        )
        for number in range(1, self.settings.task_managers + 1):
            hosts = conf / f"hosts-{number}"
            hosts.write_text(hosts_file(number, machine=socket.gethostname()))
            add_java(
                f"task-manager-{number}",
                f"{_FLINK}.taskexecutor.TaskManagerRunner",
                *at_conf,
                heap_mb=768,
                more={"jdk.net.hosts.file": str(hosts)},
            )
            address = workers_address(number)
            self.parts[f"workers-{number}"] = Part(
                f"workers-{number}",
                [
                    *(sys.executable, "-m", "pipelines.flink_pool"),
                    *("--host", address, "--port", str(self.ports.workers)),
                ],
                own_environment() | self._environment,
            )
        add_java(
            "job-server",
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            f"--job-host={LOOPBACK}",
            f"--job-port={self.ports.job_server}",
            f"--artifact-port={self.ports.artifacts}",
            "--expansion-port=-1",
            f"--artifacts-dir={folder}/artifacts",
            f"--flink-master={LOOPBACK}:{self.ports.rest}",
            heap_mb=768,
        )

    def _start_all(self) -> None:
        self.start("zookeeper")
        self.start("job-manager")
        self.start("job-server")
        numbers = range(1, self.settings.task_managers + 1)
        for number in numbers:
            self.start(f"workers-{number}")
            self.start(f"task-manager-{number}")
        for number in numbers:
            self._wait_for_line(f"workers-{number}", _WORKERS_READY)
        self._wait_for_line("job-server", _JOB_SERVER_READY)
        self.wait_for_task_managers(self.settings.task_managers, timeout_seconds=_START_SECONDS)

    def _wait_for_line(self, name: str, pattern: re.Pattern[str]) -> None:
        child = self.parts[name].child
        assert child is not None
        self._children.wait_for_line(child, pattern, timeout_seconds=_START_SECONDS)

    def _wait(self, done: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            self._children.check()
            if time.monotonic() > deadline:
                raise ChildEnded(
                    f"{what}: not there within {timeout_seconds:g} s; the logs are in"
                    f" {self.settings.folder / 'logs'}"
                )
            time.sleep(_POLL_SECONDS)
