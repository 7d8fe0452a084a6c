"""A cloud of local processes for one test: Pub/Sub and BigQuery, with names of its own in them."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcloud.bigquery import LocalBigQuery
from localcloud.bigquery.process import BigQueryProcess
from localcloud.endpoints import PROJECT, Endpoints
from localcloud.subscriber import PubSub, subscription_path, topic_path
from tests.harness.brokers import Broker
from tests.harness.processes import Process, Processes

RUNNING = r"^\w+: running$"


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Topics, subscriptions and tables of one test.

    ``pubsub`` and ``bigquery_storage`` are where the services listen; a test that puts a proxy
    before one gives the proxy's address to the pipeline.
    """

    processes: Processes
    pubsub: str
    bigquery: str = ""
    bigquery_storage: str = ""
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))

    @property
    def telemetry_topic(self) -> str:
        return f"telemetry-{self.suffix}"

    @property
    def commands_topic(self) -> str:
        return f"commands-{self.suffix}"

    @property
    def results_topic(self) -> str:
        return f"results-{self.suffix}"

    @property
    def dead_letter_topic(self) -> str:
        return f"dead-letters-{self.suffix}"

    @property
    def warehouse_subscription(self) -> str:
        return f"warehouse-{self.suffix}"

    @property
    def archive_subscription(self) -> str:
        """For the tests of the archive, which create it: what is not read would pile up."""
        return f"archive-{self.suffix}"

    @property
    def commands_subscription(self) -> str:
        return f"commands-mqtt-{self.suffix}"

    @property
    def dataset(self) -> str:
        return f"d{self.suffix}"

    def create(self) -> None:
        """Creates all of it."""
        with PubSub(self.pubsub) as client:
            client.wait_until_up(30)
            client.create_all(
                (
                    self.telemetry_topic,
                    self.commands_topic,
                    self.results_topic,
                    self.dead_letter_topic,
                ),
                {
                    self.warehouse_subscription: self.telemetry_topic,
                    self.commands_subscription: self.commands_topic,
                    # Without one a pipeline warns, as it should.
                    f"results-kept-{self.suffix}": self.results_topic,
                    f"dead-letters-kept-{self.suffix}": self.dead_letter_topic,
                },
            )
        if self.bigquery:
            LocalBigQuery(self.bigquery).create(self.dataset)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Asks BigQuery; ``{dataset}`` stands for this test's."""
        return LocalBigQuery(self.bigquery).query(sql.replace("{dataset}", self.dataset)).rows

    def rows(self, table: str = "telemetry") -> int:
        return int(self.query(f"SELECT COUNT(*) FROM {{dataset}}.{table}")[0][0])

    def start_telemetry(self, broker: Broker, *options: str, **ways: Any) -> Process:
        """Starts the telemetry pipeline; see ``start``."""
        return self.start(
            "telemetry",
            f"--broker={broker.scheme}://{ways.pop('broker_address', broker.address)}",
            "--client_id=telemetry",
            *broker.login("telemetry"),
            f"--output_topic={topic_path(self.telemetry_topic)}",
            f"--dead_letter_topic={topic_path(self.dead_letter_topic)}",
            *options,
            **ways,
        )

    def start_direct(self, broker: Broker, *options: str, **ways: Any) -> Process:
        """Starts the direct pipeline; see ``start``."""
        return self.start(
            "direct",
            f"--broker={broker.scheme}://{ways.pop('broker_address', broker.address)}",
            "--client_id=direct",
            *broker.login("direct"),
            f"--output_table={PROJECT}:{self.dataset}.telemetry",
            *options,
            **ways,
        )

    def start_commands(self, broker: Broker, *options: str, **ways: Any) -> Process:
        """Starts the command pipeline; see ``start``."""
        return self.start(
            "commands",
            f"--broker={broker.scheme}://{ways.pop('broker_address', broker.address)}",
            "--client_id=commands",
            *broker.login("commands"),
            f"--input_subscription={subscription_path(self.commands_subscription)}",
            f"--results_topic={topic_path(self.results_topic)}",
            *options,
            **ways,
        )

    def start_warehouse(self, *options: str, **ways: Any) -> Process:
        """Starts the warehouse pipeline; see ``start``."""
        return self.start(
            "warehouse",
            f"--input_subscription={subscription_path(self.warehouse_subscription)}",
            f"--output_table={PROJECT}:{self.dataset}.telemetry",
            *options,
            **ways,
        )

    def start(
        self,
        name: str,
        *options: str,
        pubsub: str | None = None,
        bigquery_storage: str | None = None,
        wait: bool = True,
    ) -> Process:
        """Starts a pipeline as its user does; an option given twice counts as given last.

        ``pubsub`` and ``bigquery_storage`` are other addresses for the services. With ``wait``
        it is running when this returns.
        """
        last = {item.partition("=")[0]: item for item in options}
        endpoints = Endpoints(
            broker="",
            pubsub=pubsub or self.pubsub,
            bigquery=self.bigquery,
            bigquery_storage=bigquery_storage or self.bigquery_storage,
        )
        process = self.processes.start(
            name,
            [sys.executable, "-m", f"pipelines.{name}", "--runner=DirectRunner", *last.values()],
            environment=endpoints.environment(),
        )
        if wait:
            process.wait_for(RUNNING)
        return process


def start_pubsub(processes: Processes) -> str:
    """Starts the local Pub/Sub and returns its address."""
    process = processes.start("pubsub", [sys.executable, "-m", "localcloud.pubsub", "--port", "0"])
    return process.wait_for(r"^local Pub/Sub ready on (\S+)$")[1]


def start_bigquery(folder: Path) -> BigQueryProcess:
    """Starts the local BigQuery."""
    return BigQueryProcess.start(folder / "data", log=folder / "bigquery.log", timeout_seconds=90)
