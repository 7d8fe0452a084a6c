"""The worker pool of a task manager, as a process, asked as a task manager asks."""

from __future__ import annotations

import sys

import grpc
import psutil
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    endpoints_pb2,
)

from localcloud.endpoints import free_ports
from tests.harness.processes import Process, Processes
from tests.harness.waiting import wait_until


@pytest.fixture
def pool(processes: Processes) -> tuple[Process, str]:
    (port,) = free_ports(1)
    process = processes.start(
        "pool", [sys.executable, "-m", "pipelines.flink_pool", "--port", str(port)]
    )
    process.wait_for(r"^workers ready on 127\.0\.0\.1:\d+$")
    return process, f"127.0.0.1:{port}"


def start_worker(channel: grpc.Channel, worker_id: str = "1-1") -> None:
    nobody = endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:1")
    request = beam_fn_api_pb2.StartWorkerRequest(
        worker_id=worker_id, control_endpoint=nobody, logging_endpoint=nobody
    )
    answer = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request)
    assert not answer.error


def stop_worker(channel: grpc.Channel, worker_id: str = "1-1") -> None:
    request = beam_fn_api_pb2.StopWorkerRequest(worker_id=worker_id)
    beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StopWorker(request)


def workers(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_a_worker_is_started_and_ended_as_asked(pool: tuple[Process, str]) -> None:
    process, address = pool
    with grpc.insecure_channel(address) as channel:
        start_worker(channel)
        assert len(workers(process)) == 1
        stop_worker(channel)
        wait_until(lambda: not workers(process), seconds=10, what="the worker's end")
        stop_worker(channel)


def test_two_jobs_with_the_same_worker_id_keep_their_workers(pool: tuple[Process, str]) -> None:
    process, address = pool
    # Else one process shares its connections.
    apart = [("grpc.use_local_subchannel_pool", 1)]
    with (
        grpc.insecure_channel(address, options=apart) as one,
        grpc.insecure_channel(address, options=apart) as other,
    ):
        start_worker(one)
        (first,) = workers(process)
        start_worker(other)
        assert len(workers(process)) == 2
        stop_worker(other)
        wait_until(lambda: workers(process) == [first], seconds=10, what="the other one's end")


def test_workers_end_with_a_pool_that_is_killed(pool: tuple[Process, str]) -> None:
    process, address = pool
    with grpc.insecure_channel(address) as channel:
        start_worker(channel)
        started = workers(process)
    # It watches its pool from its first moment on.
    process.kill()
    _, alive = psutil.wait_procs(started, timeout=15)
    assert not alive


def test_workers_end_with_a_pool_that_is_stopped(pool: tuple[Process, str]) -> None:
    process, address = pool
    with grpc.insecure_channel(address) as channel:
        start_worker(channel)
        started = workers(process)
    process.stop()
    assert process.popen.returncode == 0
    assert not any(worker.is_running() for worker in started)


def test_a_port_that_is_taken_is_named(processes: Processes, pool: tuple[Process, str]) -> None:
    _, address = pool
    port = address.partition(":")[2]
    second = processes.start(
        "second", [sys.executable, "-m", "pipelines.flink_pool", "--port", port]
    )
    assert second.wait_for_end(seconds=60) == 2
    assert f"{address} can't be listened on" in second.said()
