"""A Python worker pool for one Flink task manager: ``python -m pipelines.flink_pool --port 50000``.

Run one on each machine that has a task manager, in the environment that has this code; a job then
says ``--environment_type=EXTERNAL --environment_config=localhost:50000``. Beam's own pool does the
same, but it listens on every interface, starts whatever ``python`` is first on the path, leaves the
output of its workers unread and its workers behind when it is killed. Here a worker ends with its
pool, and with the task manager that it works for.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.utils import thread_pool_executor
from google.protobuf import text_format

_LOGGER = logging.getLogger(__name__)

_END_SECONDS = 5.0
_STOP_SECONDS = 1.0


class FlinkWorkers(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts a worker process for each that a task manager asks for, and ends it when told.

    Worker ids are of one job: those of two jobs are the same. So a worker is known by its id and
    the connection on which it was asked for, which a job keeps for it. Where that broke in between,
    the worker ends all the same, with the stream of instructions that it lives on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802  # the service's name
        """Starts a worker that connects to the endpoints of the request."""
        command = [sys.executable, "-m", "pipelines.flink_pool", "--work"]
        environment = os.environ | {
            "WORKER_ID": request.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(request.control_endpoint),
            "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(request.logging_endpoint),
            "PIPELINE_OPTIONS": "{}",
        }
        try:
            # The pipe's end tells the worker that its pool is gone, however it went.
            worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"{command[0]}: {error}")
        key = (context.peer(), request.worker_id)
        _LOGGER.info("worker %s of %s is process %d", request.worker_id, key[0], worker.pid)
        with self._lock:
            self._workers[key] = worker
        threading.Thread(target=self._reap, args=(key, worker), daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802  # the service's name
        """Ends a worker; one that has ended is all right."""
        with self._lock:
            worker = self._workers.get((context.peer(), request.worker_id))
        if worker is not None:
            _end([worker])
        return beam_fn_api_pb2.StopWorkerResponse()

    def end_all(self) -> None:
        """Ends every worker."""
        with self._lock:
            workers = list(self._workers.values())
        _end(workers)

    def _reap(self, key: tuple[str, str], worker: subprocess.Popen[bytes]) -> None:
        status = worker.wait()
        assert worker.stdin is not None
        worker.stdin.close()
        _LOGGER.info("worker %s, process %d, ended with status %d", key[1], worker.pid, status)
        with self._lock:
            if self._workers.get(key) is worker:
                del self._workers[key]


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends processes: SIGTERM first, SIGKILL for those that need long."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _descriptor(endpoint: Any) -> str:
    """Returns an endpoint as Beam's worker reads it from its environment."""
    return text_format.MessageToString(
        endpoints_pb2.ApiServiceDescriptor(url=endpoint.url), as_one_line=True
    )


def work() -> None:
    """Is a worker until its pool or its task manager is gone."""
    threading.Thread(target=_end_with_pool, name="end-with-pool", daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    try:
        sdk_worker_main.main(sys.argv[:1])
    finally:
        # Threads of a dead attempt must not stand in the way of the next one's: they would go on
        # extending leases, and take their sessions over.
        os._exit(1)


def _end_with_pool() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.flink_pool", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: %(default)s")
    parser.add_argument("--port", type=int, help="where to listen")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.work:
        work()
    if options.port is None:
        parser.error("--port is missing: the one that --environment_config names, as 50000")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = grpc.server(
        thread_pool_executor.shared_unbounded_instance(),
        options=[
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.max_ping_strikes", 0),
            # Else a second pool would share the port, and the task manager's calls, in silence.
            ("grpc.so_reuseport", 0),
        ],
    )
    workers = FlinkWorkers()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(workers, server)
    try:
        server.add_insecure_port(f"{options.host}:{options.port}")
    except RuntimeError as error:
        parser.error(f"{options.host}:{options.port} can't be listened on: {error}")
    server.start()
    print(f"workers ready on {options.host}:{options.port}", flush=True)  # noqa: T201  # its word
    ended.wait()
    server.stop(_STOP_SECONDS).wait()
    workers.end_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
