"""What a row costs: ``python -m bench.warehouse [--rows N] [--pipeline warehouse|direct]``.

CPU seconds of the pipeline's processes, Prism included, for 10,000 rows. A backlog of telemetry of
200 bytes waits before the pipeline starts: for the warehouse pipeline in its subscription, as the
telemetry pipeline publishes it, for the direct one in its session at the broker. Counted is from
its word that it runs until the last row is in the table, so the start of an interpreter is not in
it. How many rows a second is no figure of ours: the local BigQuery is
what limits that here, and it is not Google's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.brokers import CLIENT_ID_PREFIX, USER, default_broker
from bench.load import DEVICES, payload
from bench.peers.peer import Direction
from bench.processes import (
    LOOPBACK,
    BenchError,
    free_port,
    start,
    stop,
    tail,
    wait_for_port,
    wait_until,
)
from bench.pubsub import MESSAGES_A_REQUEST, PubSub
from bench.services import (
    PROJECT,
    TELEMETRY_FILTER,
    TELEMETRY_SUBSCRIPTION,
    TELEMETRY_TOPIC,
    serving,
    subscription_path,
    topic_path,
)
from bench.throughput import finish, generate
from bench.usage import UsageSampler
from localcloud.bigquery import LocalBigQuery
from localcloud.bigquery.process import BigQueryProcess
from schemas.messages import Telemetry
from schemas.tables import TELEMETRY

_DATASET = "bench"
_START_SECONDS = 90.0
_WORK_SECONDS = 180.0
_ASK_SECONDS = 0.5
"""How often the table is asked for its rows: more would take cores from the pipeline."""


class _Pipeline:
    """A pipeline as its user starts it, with its log."""

    def __init__(
        self, name: str, options: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._command = [
            *(sys.executable, "-m", f"pipelines.{name}", "--runner=DirectRunner"),
            f"--output_table={PROJECT}:{_DATASET}.{TELEMETRY.name}",
            *options,
        ]
        self._running = f"{name}: running"
        self._environment = environment
        self._log = log

    def check(self) -> None:
        """Raises BenchError if it ended by itself."""
        if self._process.poll() is not None:
            raise BenchError(f"the pipeline ended:\n{tail(self._log)}")

    def start(self) -> int:
        """Starts it; returns its process id. Raises BenchError."""
        self._process = start(self._command, log=self._log, environment=self._environment)
        return self._process.pid

    def wait_until_it_runs(self) -> None:
        """Raises BenchError if it doesn't."""

        def running() -> bool:
            self.check()
            return self._running in self._log.read_text(errors="replace")

        wait_until(running, seconds=_START_SECONDS, what=self._running)

    def stop(self) -> None:
        """Asks it to end and waits for that."""
        stop(self._process)


def measure(rows: int, *, pipeline: str = "warehouse") -> float:
    """CPU seconds of a pipeline, ``warehouse`` or ``direct``, for 10,000 rows, from a run of
    ``rows``.

    Raises:
      BenchError: a process does not start, ends by itself, or is not done in time.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mqttbeam-bench-")))
        served = BigQueryProcess.start(
            folder / "data", log=folder / "bigquery.log", timeout_seconds=_START_SECONDS
        )
        stack.callback(served.stop)
        bigquery = LocalBigQuery(served.rest, project=PROJECT)
        bigquery.create(_DATASET)
        environment = {
            "BIGQUERY_EMULATOR_HOST": f"http://{served.rest}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": served.grpc,
        }
        waiting = _waiting_at_the_broker if pipeline == "direct" else _waiting_in_pubsub
        started = waiting(stack, folder, environment, rows)
        return _cpu_seconds(started, bigquery, rows) / rows * 10_000


def _waiting_in_pubsub(
    stack: ExitStack, folder: Path, environment: Mapping[str, str], rows: int
) -> _Pipeline:
    port = free_port()
    log = folder / "pubsub.log"
    served = start([sys.executable, "-m", "localcloud.pubsub", "--port", str(port)], log=log)
    stack.callback(stop, served, grace_seconds=5.0)
    wait_for_port(port, served, log=log)
    address = f"{LOOPBACK}:{port}"
    _fill(address, rows)
    return _Pipeline(
        "warehouse",
        [f"--input_subscription={subscription_path(TELEMETRY_SUBSCRIPTION)}"],
        {**environment, "PUBSUB_EMULATOR_HOST": address},
        folder / "pipeline.log",
    )


def _waiting_at_the_broker(
    stack: ExitStack, folder: Path, environment: Mapping[str, str], rows: int
) -> _Pipeline:
    endpoints = stack.enter_context(serving(default_broker()))
    options = [
        f"--broker=mqtt://{LOOPBACK}:{endpoints.broker_port}",
        f"--client_id={CLIENT_ID_PREFIX}direct",
        f"--username={USER}",
        "--password=env:BENCH_PASSWORD",
        f"--topics={TELEMETRY_FILTER}",
    ]
    environment = {**environment, **endpoints.environment()}
    # A first start makes its session at the broker, which then keeps what is published.
    first = _Pipeline("direct", options, environment, folder / "first.log")
    first.start()
    try:
        first.wait_until_it_runs()
    finally:
        first.stop()
    finish(generate(endpoints, Direction.TELEMETRY, range(rows), device_properties=True))
    return _Pipeline("direct", options, environment, folder / "pipeline.log")


def _fill(address: str, rows: int) -> None:
    with PubSub(address) as pubsub:
        pubsub.create_topic(topic_path(TELEMETRY_TOPIC))
        pubsub.create_subscription(
            subscription_path(TELEMETRY_SUBSCRIPTION), topic_path(TELEMETRY_TOPIC)
        )
        for first in range(0, rows, MESSAGES_A_REQUEST):
            numbers = range(first, min(rows, first + MESSAGES_A_REQUEST))
            pubsub.publish(topic_path(TELEMETRY_TOPIC), [_message(number) for number in numbers])


def _message(number: int) -> tuple[bytes, Mapping[str, str]]:
    now = time.time()
    telemetry = Telemetry.from_mqtt(
        f"devices/device-{number % DEVICES}/telemetry",
        payload(number, now),
        received_time=now,
        content_type="application/json",
        user_properties=(
            ("message-id", f"{number:032x}"),
            ("event-time", datetime.fromtimestamp(now, UTC).isoformat()),
        ),
    )
    return telemetry.payload, telemetry.attributes()


def _cpu_seconds(pipeline: _Pipeline, bigquery: LocalBigQuery, rows: int) -> float:
    count = f"SELECT COUNT(*) FROM {_DATASET}.{TELEMETRY.name}"
    pid = pipeline.start()
    try:
        with UsageSampler(pid, interval_seconds=0.02) as usage:
            pipeline.wait_until_it_runs()
            began = time.time()
            deadline = time.monotonic() + _WORK_SECONDS
            while bigquery.query(count).rows[0][0] < rows:
                pipeline.check()
                if time.monotonic() > deadline:
                    raise BenchError(f"{rows:,} rows: not in {_WORK_SECONDS:g} s")
                time.sleep(_ASK_SECONDS)
            return usage.cpu_between(began, time.time())
    finally:
        pipeline.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it and prints the figure; 1 where it could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.warehouse", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the run (default 50000)")
    parser.add_argument(
        "--pipeline",
        choices=("warehouse", "direct"),
        default="warehouse",
        help="from Pub/Sub (default), or from MQTT",
    )
    options = parser.parse_args(arguments)
    if options.rows < 1:
        parser.error(f"--rows {options.rows}: expected a number from 1")
    try:
        figure = measure(options.rows, pipeline=options.pipeline)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(
        f"{figure:.2f} CPU seconds per 10,000 rows, {os.cpu_count()} cores, {options.rows:,} rows"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
