"""The servers of a run: the broker, Pub/Sub and BigQuery, started at once."""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.registry.generate import Service, generate
from localcloud.bigquery import LocalBigQuery
from localcloud.devices.errors import RecordingError
from localcloud.endpoints import DATASET, TOPICS
from localcloud.run.children import Child, Children
from localcloud.run.taps import SUBSCRIPTIONS
from localcloud.subscriber import PubSub

READY_TIMEOUT_SECONDS = 60.0
TELEMETRY_CLIENT = "telemetry-pipeline"
COMMANDS_CLIENT = "command-pipeline"
PIPELINE_SUBSCRIPTIONS = {
    "telemetry-warehouse": "telemetry",
    "telemetry-archive": "telemetry",
    "commands-mqtt": "commands",
}
BROKER_STORE = "broker.db"
"""In the run's folder: what the broker has acknowledged and the pipelines have not taken yet."""

_BROKER_READY = re.compile(r"ready mqtt://(\S+)")
_PUBSUB_READY = re.compile(r"local Pub/Sub ready on (\S+)")
_BIGQUERY_READY = re.compile(r"ready rest=(\S+) grpc=(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Files that hold generated passwords, readable by their owner only."""

    registry: Path
    devices: Path
    pipelines: Mapping[str, Path]


def make_credentials(folder: Path, device_ids: Iterable[str]) -> Credentials:
    """Write the broker's registry, and the passwords that match it for devices and pipelines."""
    names = tuple(device_ids)
    for name in names:
        if name.startswith((TELEMETRY_CLIENT, COMMANDS_CLIENT)):
            raise RecordingError(
                f"device {name!r}: names that begin with {TELEMETRY_CLIENT} or {COMMANDS_CLIENT}"
                " are those of the run's own pipelines; name the device otherwise"
            )
    registry = folder / "registry.yaml"
    passwords = generate(
        registry,
        devices=names,
        services=[
            Service(name=name, role=name, client_id_prefix=name)
            for name in (TELEMETRY_CLIENT, COMMANDS_CLIENT)
        ],
    )
    devices = folder / "devices.json"
    _write_secret(devices, json.dumps({name: passwords[name] for name in names}))
    pipelines = {}
    for name in (TELEMETRY_CLIENT, COMMANDS_CLIENT):
        pipelines[name] = (folder / f"{name}.password").absolute()
        _write_secret(pipelines[name], passwords[name])
    return Credentials(registry=registry, devices=devices, pipelines=pipelines)


class Servers:
    """The three servers, as they come up."""

    def __init__(
        self, children: Children, *, folder: Path, credentials: Credentials, env: Mapping[str, str]
    ) -> None:
        self._children = children
        config = folder / "broker.yaml"
        config.write_text(
            "listeners:\n  - {type: tcp, host: 127.0.0.1, port: 0}\n"
            f"registry: {{file: {json.dumps(credentials.registry.name)}}}\n"
            f"store: {{file: {BROKER_STORE}}}\n"
            # How fast the devices are is what the run was asked for.
            "limits: {device_messages_per_second: null, device_bytes_per_second: null}\n"
        )
        # BigQuery takes longest, so it goes first.
        self._bigquery = children.start(
            "bigquery",
            [sys.executable, "-m", "localcloud.bigquery", "--data-dir", str(folder / "bigquery")],
            environment=env,
        )
        self._pubsub = children.start(
            "pubsub",
            [sys.executable, "-m", "localcloud.pubsub", "--port", "0"],
            environment=env,
        )
        self._broker = children.start(
            "broker",
            [sys.executable, "-m", "broker.server", "--config", str(config)],
            environment=env,
        )

    @property
    def all(self) -> list[Child]:
        """Their processes."""
        return [self._broker, self._pubsub, self._bigquery]

    def wait_for_messaging(self) -> tuple[str, str]:
        """Wait for the broker and Pub/Sub, which then has the run's topics and subscriptions.

        Returns the addresses of both. Raises ChildEnded.
        """
        pubsub = self._ready(self._pubsub, _PUBSUB_READY)[1]
        with PubSub(pubsub) as client:
            client.create_all(TOPICS, PIPELINE_SUBSCRIPTIONS | SUBSCRIPTIONS)
        return self._ready(self._broker, _BROKER_READY)[1], pubsub

    def wait_for_bigquery(self) -> tuple[str, str]:
        """Wait for BigQuery, which then has the dataset, its tables and views.

        Returns its addresses, for REST and for gRPC. Raises ChildEnded.
        """
        ready = self._ready(self._bigquery, _BIGQUERY_READY)
        LocalBigQuery(ready[1]).create(DATASET)
        return ready[1], ready[2]

    def _ready(self, child: Child, pattern: re.Pattern[str]) -> re.Match[str]:
        return self._children.wait_for_line(child, pattern, timeout_seconds=READY_TIMEOUT_SECONDS)


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
