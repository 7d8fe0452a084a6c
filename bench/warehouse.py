"""What a row costs the warehouse pipeline: ``python -m bench.warehouse [--rows N]``.

CPU seconds of the pipeline's processes, Prism included, for 10,000 rows. A backlog of telemetry of
200 bytes, as the telemetry pipeline publishes it, is in the subscription before the pipeline
starts; counted is from its word that it runs until the last row is in the table, so the start of
an interpreter is not in it. How many rows a second is no figure of ours: the local BigQuery is
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

from bench.load import DEVICES, payload
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
    TELEMETRY_SUBSCRIPTION,
    TELEMETRY_TOPIC,
    subscription_path,
    topic_path,
)
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
_RUNNING = "warehouse: running"


def measure(rows: int) -> float:
    """CPU seconds of the pipeline for 10,000 rows, from a run of ``rows``.

    Raises:
      BenchError: a process does not start, ends by itself, or is not done in time.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mqttbeam-bench-")))
        port = free_port()
        served = start(
            [sys.executable, "-m", "localcloud.pubsub", "--port", str(port)],
            log=folder / "pubsub.log",
        )
        stack.callback(stop, served, grace_seconds=5.0)
        wait_for_port(port, served, log=folder / "pubsub.log")
        warehouse = BigQueryProcess.start(
            folder / "data", log=folder / "bigquery.log", timeout_seconds=_START_SECONDS
        )
        stack.callback(warehouse.stop)
        table = LocalBigQuery(warehouse.rest, project=PROJECT)
        table.create(_DATASET)
        address = f"{LOOPBACK}:{port}"
        _fill(address, rows)
        environment = {
            "PUBSUB_EMULATOR_HOST": address,
            "BIGQUERY_EMULATOR_HOST": f"http://{warehouse.rest}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": warehouse.grpc,
        }
        return _cpu_seconds(folder / "warehouse.log", environment, table, rows) / rows * 10_000


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


def _cpu_seconds(
    log: Path, environment: Mapping[str, str], table: LocalBigQuery, rows: int
) -> float:
    command = [
        *(sys.executable, "-m", "pipelines.warehouse", "--runner=DirectRunner"),
        f"--input_subscription={subscription_path(TELEMETRY_SUBSCRIPTION)}",
        f"--output_table={PROJECT}:{_DATASET}.{TELEMETRY.name}",
    ]
    count = f"SELECT COUNT(*) FROM {_DATASET}.{TELEMETRY.name}"
    pipeline = start(command, log=log, environment=environment)

    def alive() -> None:
        if pipeline.poll() is not None:
            raise BenchError(f"the pipeline ended:\n{tail(log)}")

    def running() -> bool:
        alive()
        return _RUNNING in log.read_text(errors="replace")

    try:
        with UsageSampler(pipeline.pid, interval_seconds=0.02) as usage:
            wait_until(running, seconds=_START_SECONDS, what=_RUNNING)
            began = time.time()
            deadline = time.monotonic() + _WORK_SECONDS
            while table.query(count).rows[0][0] < rows:
                alive()
                if time.monotonic() > deadline:
                    raise BenchError(f"{rows:,} rows: not in {_WORK_SECONDS:g} s:\n{tail(log)}")
                time.sleep(_ASK_SECONDS)
            return usage.cpu_between(began, time.time())
    finally:
        stop(pipeline)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it and prints the figure; 1 where it could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.warehouse", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the run (default 50000)")
    options = parser.parse_args(arguments)
    if options.rows < 1:
        parser.error(f"--rows {options.rows}: expected a number from 1")
    try:
        figure = measure(options.rows)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(
        f"{figure:.2f} CPU seconds per 10,000 rows, {os.cpu_count()} cores, {options.rows:,} rows"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
