"""This project's pipelines on the DirectRunner (Prism), as a user starts them."""

from __future__ import annotations

import sys

from bench.brokers import CLIENT_ID_PREFIX, USER
from bench.peers.peer import Direction, Peer
from bench.services import (
    COMMANDS_SUBSCRIPTION,
    RESULTS_TOPIC,
    TELEMETRY_FILTER,
    TELEMETRY_TOPIC,
    Endpoints,
    subscription_path,
    topic_path,
)


class MqttBeam(Peer):
    """``python -m pipelines.telemetry`` and ``python -m pipelines.commands``, Prism included."""

    name = "mqttbeam"

    def unavailable(self) -> str | None:
        """Never: it is what this is about, and a failure to start must be seen."""
        return None

    def command(self, endpoints: Endpoints) -> list[str]:
        """The command line of the direction, with defaults wherever there are any."""
        command = [
            sys.executable,
            "-m",
            f"pipelines.{self.direction.value}",
            f"--broker=mqtt://127.0.0.1:{endpoints.broker_port}",
            f"--client_id={CLIENT_ID_PREFIX}mqttbeam",
            f"--username={USER}",
            "--password=env:BENCH_PASSWORD",
            "--runner=DirectRunner",
        ]
        if self.direction is Direction.TELEMETRY:
            return [
                *command,
                f"--topics={TELEMETRY_FILTER}",
                f"--output_topic={topic_path(TELEMETRY_TOPIC)}",
            ]
        return [
            *command,
            f"--input_subscription={subscription_path(COMMANDS_SUBSCRIPTION)}",
            f"--results_topic={topic_path(RESULTS_TOPIC)}",
        ]
