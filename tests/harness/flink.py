"""A Flink cluster for tests: pipelines submitted to it, and its processes killed in turn."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from localcloud.flink.cluster import FlinkCluster
from localcloud.flink.rest import JobState
from tests.harness.brokers import Broker
from tests.harness.processes import Process
from tests.harness.waiting import wait_until

_SUBMIT_SECONDS = 120.0
_READERS_SECONDS = 45.0
_RESTORE_SECONDS = 90.0
_END_SECONDS = 20.0
_ATTEMPTS = 3


class Victim(enum.Enum):
    """What ``kill -9`` is sent to."""

    TASK_MANAGER = "a task manager"
    WORKER = "a Python worker"
    POOL = "a worker pool"
    JOB_MANAGER = "the job manager"


@dataclass
class FlinkJobsOfTest:
    """The jobs that a test submitted to a cluster."""

    cluster: FlinkCluster
    jobs: dict[str, JobState] = field(default_factory=dict)

    def submit(self, start: Callable[[], Process]) -> Process:
        """Starts a pipeline and waits until all tasks of its job run."""
        known = {job.job_id for job in self.cluster.jobs.jobs()}
        pipeline = start()
        found: list[JobState] = []

        def runs() -> bool:
            assert pipeline.running, f"{pipeline.name} ended:\n{pipeline.said()}"
            found[:] = [job for job in self.cluster.jobs.jobs() if job.job_id not in known]
            return any(self.cluster.jobs.tasks_running(job.job_id) for job in found)

        wait_until(
            runs,
            seconds=_SUBMIT_SECONDS,
            what=lambda: f"a job of {pipeline.name}, of {found}:\n{pipeline.said()}",
            poll_seconds=0.2,
        )
        self.jobs[pipeline.name] = found[0]
        return pipeline

    def submit_readers(self, start: Callable[[], Process], broker: Broker, shards: int) -> Process:
        """The same for a pipeline with shards, until each has its connection.

        Now and then Flink leaves some of them waiting until the job starts again.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            pipeline = self.submit(start)
            try:
                wait_until(
                    lambda: len(self.readers(broker)) == shards,
                    seconds=_READERS_SECONDS,
                    what=lambda: f"{shards} readers, not {self.readers(broker)}",
                    poll_seconds=0.2,
                )
            except AssertionError:
                if attempt == _ATTEMPTS:
                    raise
                self.cancel(pipeline)
            else:
                return pipeline
        raise AssertionError("no attempt was made")

    def cancel(self, pipeline: Process) -> None:
        """Cancels a pipeline's job and waits until none of its tasks runs."""
        job = self.jobs.pop(pipeline.name)
        self.cluster.jobs.cancel(job.job_id)

        def cancelled() -> bool:
            states = {found.job_id: found.state for found in self.cluster.jobs.jobs()}
            return states[job.job_id] == "CANCELED"

        wait_until(cancelled, seconds=_END_SECONDS, what="the job's end", poll_seconds=0.2)
        pipeline.stop()

    def readers(self, broker: Broker) -> list[int]:
        """The number of the task manager of each connection that a worker has to the broker."""
        found = []
        for number in range(1, self.cluster.settings.task_managers + 1):
            for worker in self.cluster.workers(number):
                with suppress(psutil.NoSuchProcess):
                    found += [
                        number
                        for connection in worker.net_connections("tcp")
                        if connection.status == psutil.CONN_ESTABLISHED
                        and connection.raddr.port == broker.port
                    ]
        return found

    def kill(self, victim: Victim, number: int) -> None:
        """Kills it, and starts it again as whoever runs a cluster does; workers Flink starts.

        ``number``: of the task manager that it is or belongs to, where there are several.
        """
        cluster = self.cluster
        if victim is Victim.JOB_MANAGER:
            cluster.kill("job-manager")
            cluster.start("job-manager")
            return
        workers = cluster.workers(number)
        assert workers, f"task manager {number} has no Python worker"
        if victim is Victim.WORKER:
            for worker in workers:
                worker.kill()
            return
        name = f"task-manager-{number}" if victim is Victim.TASK_MANAGER else f"workers-{number}"
        cluster.kill(name)
        # What worked for it must not go on holding its sessions and leases.
        _, alive = psutil.wait_procs(workers, timeout=_END_SECONDS)
        assert not alive, f"workers outlived {name}: {alive}"
        cluster.start(name)

    def wait_until_restored(self, broker: Broker | None = None, shards: int = 0) -> float:
        """Waits until all jobs are back, with so many readers of the broker, and checkpoints go
        on; returns how long.
        """
        jobs = self.cluster.jobs
        ids = [job.job_id for job in self.jobs.values()]
        before: dict[str, int] = {}

        def back() -> bool:
            if not all(jobs.tasks_running(job) for job in ids):
                before.clear()
                return False
            if broker is not None and len(self.readers(broker)) != shards:
                return False
            for job in ids:
                before.setdefault(job, jobs.checkpoints(job))
            return all(jobs.checkpoints(job) > before[job] for job in ids)

        return wait_until(
            back,
            seconds=_RESTORE_SECONDS,
            what=lambda: f"the jobs again, with {shards} readers: {jobs.jobs()}",
            poll_seconds=0.2,
        )
