"""Where a local cloud listens, and how a second terminal finds the running one.

The run writes `.mqttbeam/run.json` in its working directory once everything is up, and removes
it at its stop; the command line reads it there.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT = "local"
DATASET = "mqttbeam"
TELEMETRY_TABLE = "telemetry"
TELEMETRY_TOPIC = "telemetry"
COMMANDS_TOPIC = "commands"
RESULTS_TOPIC = "command-results"
DEAD_LETTERS_TOPIC = "dead-letters"
TOPICS = (TELEMETRY_TOPIC, COMMANDS_TOPIC, RESULTS_TOPIC, DEAD_LETTERS_TOPIC)

STATE_FOLDER = Path(".mqttbeam")
STATE_FILE = "run.json"
ARCHIVE = "archive"


class NoRunningCloud(Exception):
    """No local cloud runs in this folder; the message says how to start one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The addresses of a running local cloud, each `host:port`."""

    broker: str
    pubsub: str
    bigquery: str
    bigquery_storage: str

    @property
    def broker_url(self) -> str:
        """The broker as the pipelines and devices take it."""
        return f"mqtt://{self.broker}"

    def environment(self) -> dict[str, str]:
        """Return the variables by which Google's clients, and ours, find it."""
        return {
            "PUBSUB_EMULATOR_HOST": self.pubsub,
            "BIGQUERY_EMULATOR_HOST": f"http://{self.bigquery}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.bigquery_storage,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCloud:
    """A running local cloud: its endpoints, its runner and the devices that take part."""

    endpoints: Endpoints
    runner_pid: int
    run_id: str
    devices: tuple[str, ...]

    def write(self, folder: Path = STATE_FOLDER) -> None:
        """Write `run.json`, whole or not at all."""
        path = folder / STATE_FILE
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        new.replace(path)

    @classmethod
    def find(cls, folder: Path = STATE_FOLDER) -> "RunningCloud":
        """Read `run.json`; raises NoRunningCloud where none is or its runner is gone."""
        try:
            state = json.loads((folder / STATE_FILE).read_text())
            cloud = cls(
                endpoints=Endpoints(**state["endpoints"]),
                runner_pid=state["runner_pid"],
                run_id=state["run_id"],
                devices=tuple(state["devices"]),
            )
            os.kill(cloud.runner_pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            raise NoRunningCloud(
                f"no local cloud runs in {Path.cwd()}: start one there with `make run` "
                "and leave it running in another terminal"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise NoRunningCloud(
                f"{folder / STATE_FILE} can't be read ({error!r}): stop the run and start anew"
            ) from None
        return cloud


def free_ports(count: int) -> list[int]:
    """Return distinct ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def without_endpoints(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which no variable leads to another cloud, local or real."""
    ours = Endpoints(broker="", pubsub="", bigquery="", bigquery_storage="").environment()
    return {name: value for name, value in environment.items() if name not in ours}
