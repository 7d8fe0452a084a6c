"""Flink's REST API, as far as it is asked here: which jobs there are, and their checkpoints."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

_TIMEOUT_SECONDS = 5.0


class JobState(NamedTuple):
    """A job: ``state`` in Flink's words (RUNNING, RESTARTING, FAILED, …)."""

    job_id: str
    name: str
    state: str


class FlinkJobs:
    """Asks a job manager at ``address`` ("host:port"). One that is away has nothing to tell."""

    def __init__(self, address: str) -> None:
        self._base = f"http://{address}"

    def task_managers(self) -> int:
        """How many are registered; 0 while the job manager is away."""
        return int((self._get("/overview") or {}).get("taskmanagers", 0))

    def jobs(self) -> list[JobState]:
        """All jobs of the cluster; empty while the job manager is away."""
        answer = self._get("/jobs/overview") or {}
        return [JobState(job["jid"], job["name"], job["state"]) for job in answer.get("jobs", ())]

    def tasks_running(self, job_id: str) -> bool:
        """Whether every task of a job runs."""
        answer = self._get(f"/jobs/{job_id}") or {}
        vertices = answer.get("vertices", ())
        return bool(vertices) and all(
            vertex["tasks"]["RUNNING"] == vertex["parallelism"] for vertex in vertices
        )

    def checkpoints(self, job_id: str) -> int:
        """How many checkpoints of a job have been completed."""
        answer = self._get(f"/jobs/{job_id}/checkpoints") or {}
        return int(answer.get("counts", {}).get("completed", 0))

    def restarts(self, job_id: str) -> int:
        """How many checkpoints a job has been restored from."""
        answer = self._get(f"/jobs/{job_id}/checkpoints") or {}
        return int(answer.get("counts", {}).get("restored", 0))

    def latest_checkpoint(self, job_id: str) -> str | None:
        """The path of the newest checkpoint, as ``--savepoint_path`` takes it."""
        answer = self._get(f"/jobs/{job_id}/checkpoints") or {}
        newest = (answer.get("latest") or {}).get("completed") or {}
        path: str | None = newest.get("external_path")
        return path

    def cancel(self, job_id: str) -> None:
        """Asks for a job's end. Raises OSError."""
        request = urllib.request.Request(  # noqa: S310  # http, to loopback
            f"{self._base}/jobs/{job_id}?mode=cancel", method="PATCH"
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310  # the same
            pass

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(  # noqa: S310  # http, to loopback
                f"{self._base}{path}", timeout=_TIMEOUT_SECONDS
            ) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (urllib.error.URLError, OSError, ValueError):
            return None
