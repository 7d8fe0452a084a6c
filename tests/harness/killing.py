"""Killing a pipeline again and again while messages pass, each time in the midst of work."""

from __future__ import annotations

import enum
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.harness.cloud import RUNNING
from tests.harness.devices import Traffic
from tests.harness.processes import Process
from tests.harness.waiting import wait_until

_END_SECONDS = 10.0
_PROGRESS_SECONDS = 120.0
_PROMPT_SECONDS = 5.0


class Victim(enum.Enum):
    """What ``kill -9`` is sent to."""

    PYTHON = "Python"
    PRISM = "Prism"
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class KillRun:
    """One run.

    Attributes:
      start: starts the pipeline and returns without waiting for it.
      ready: waits, after the first start, until messages pass.
      traffic: what passes; it must be open.
      total: messages of the traffic.
      arrived: how many distinct ones are where they belong by now.
      kills: how often it is killed.
      seed: of the moments at which it is.
    """

    start: Callable[[], Process]
    traffic: Traffic
    total: int
    arrived: Callable[[], int]
    kills: int
    ready: Callable[[], None] = lambda: None
    seed: int = 1

    def run(self, *, drain_seconds: float = 150.0) -> Process:
        """Kills in turn Python, Prism and both, then waits until everything has arrived.

        A part of the messages waits while the pipeline is away and the rest is sent while it
        runs; it dies after a random number of them has passed. Returns the last pipeline.
        """
        rng = random.Random(self.seed)
        part = self.total // (self.kills + 1)
        pipeline = self._started()
        self.ready()
        for number, victim in enumerate(itertools.islice(itertools.cycle(Victim), self.kills)):
            self.traffic.allow((number + 1) * part)
            self._wait_for(self.arrived() + rng.randrange(1, part // 2), pipeline)
            kill(pipeline, victim)
            # Half of the next part waits for the pipeline, half comes while it runs.
            self.traffic.allow((number + 1) * part + part // 2)
            pipeline = self._started()
        self.traffic.allow(self.total)
        self.traffic.wait(seconds=_PROGRESS_SECONDS)
        self._wait_for(self.total, pipeline, seconds=drain_seconds)
        return pipeline

    def _started(self) -> Process:
        pipeline = self.start()
        pipeline.wait_for(RUNNING)
        return pipeline

    def _wait_for(
        self, wanted: int, pipeline: Process, *, seconds: float = _PROGRESS_SECONDS
    ) -> None:
        wait_until(
            lambda: self.arrived() >= wanted,
            seconds=seconds,
            what=lambda: f"{wanted} messages, only {self.arrived()} arrived:\n{pipeline.said()}",
            poll_seconds=0.002,
        )


def kill(pipeline: Process, victim: Victim) -> None:
    """Kills, and sees that nothing of the pipeline is left and that it said why."""
    assert pipeline.running, f"it ended by itself:\n{pipeline.said()}"
    prism = pipeline.descendants("prism")
    assert len(prism) == 1
    if victim is not Victim.PYTHON:
        prism[0].kill()
    if victim is not Victim.PRISM:
        pipeline.kill()
    else:
        status = pipeline.wait_for_end(seconds=_PROMPT_SECONDS)
        said = pipeline.said().partition("running\n")[2]
        assert status == 1
        assert re.search(r"^python -m pipelines\.\w+: Prism was killed by signal 9", said, re.M)
        assert "start it again" in said
        assert "Traceback" not in said, said
    _, alive = psutil.wait_procs(prism, timeout=_END_SECONDS)
    assert not alive, f"Prism outlived its pipeline: {alive}"
