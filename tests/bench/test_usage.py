import os
import sys
from pathlib import Path

from bench.processes import family_of, start, stop, wait_until
from bench.soak import memory_of
from bench.usage import Sample, UsageSampler


def test_cpu_time_between_two_moments_is_interpolated() -> None:
    usage = UsageSampler(os.getpid())
    usage.samples = [Sample(at=10.0, cpu_seconds=1.0), Sample(at=12.0, cpu_seconds=3.0)]
    assert usage.cpu_between(10.5, 11.0) == 0.5


def test_a_processs_children_are_ended_with_it(tmp_path: Path) -> None:
    child = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    process = start([sys.executable, "-c", child], log=tmp_path / "log")
    wait_until(lambda: len(family_of(process.pid)) == 2, seconds=10, what="a child")
    family = family_of(process.pid)
    stop(process)
    wait_until(
        lambda: not any(member.is_running() and member.status() != "zombie" for member in family),
        seconds=10,
        what="the end of all",
    )


def test_a_leak_shows_as_a_slope() -> None:
    samples = [
        Sample(at=float(second), cpu_seconds=0.0, resident_bytes={"python:1": 1_000_000 * second})
        for second in range(100)
    ]
    (memory,) = memory_of(samples)
    assert round(memory.slope_megabytes_a_minute, 3) == 60.0
    assert memory.maximum_megabytes == 99.0
