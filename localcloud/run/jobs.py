"""The jobs of a run: the three pipelines on the DirectRunner, and the devices."""

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from localcloud.endpoints import (
    DATASET,
    DEAD_LETTERS_TOPIC,
    PROJECT,
    RESULTS_TOPIC,
    TELEMETRY_TOPIC,
    Endpoints,
)
from localcloud.run.children import Children
from localcloud.run.servers import COMMANDS_CLIENT, TELEMETRY_CLIENT, Credentials
from localcloud.run.settings import RunSettings
from localcloud.subscriber import subscription_path, topic_path
from schemas.layout import DEFAULT
from schemas.tables import TELEMETRY

# So long whoever stops a run may have to wait for the last file.
_ARCHIVE_WINDOW_SECONDS = 5.0


def telemetry_command(broker: str, credentials: Credentials) -> list[str]:
    """Return the command line of the telemetry pipeline."""
    return _pipeline(
        "telemetry",
        *_login(broker, TELEMETRY_CLIENT, credentials),
        f"--topics={','.join(DEFAULT.telemetry_filters())}",
        f"--output_topic={topic_path(TELEMETRY_TOPIC)}",
        f"--dead_letter_topic={topic_path(DEAD_LETTERS_TOPIC)}",
    )


def commands_command(broker: str, credentials: Credentials) -> list[str]:
    """Return the command line of the command pipeline."""
    return _pipeline(
        "commands",
        *_login(broker, COMMANDS_CLIENT, credentials),
        f"--input_subscription={subscription_path('commands-mqtt')}",
        f"--results_topic={topic_path(RESULTS_TOPIC)}",
    )


def warehouse_command(archive: Path) -> list[str]:
    """Return the command line of the warehouse pipeline, which archives to a folder."""
    return _pipeline(
        "warehouse",
        f"--input_subscription={subscription_path('telemetry-warehouse')}",
        f"--output_table={PROJECT}:{DATASET}.{TELEMETRY.name}",
        f"--archive_subscription={subscription_path('telemetry-archive')}",
        f"--archive_folder={archive.absolute()}",
        f"--archive_window_seconds={_ARCHIVE_WINDOW_SECONDS:g}",
    )


def _pipeline(name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", f"pipelines.{name}", "--runner=DirectRunner", *options]


def _login(broker: str, client: str, credentials: Credentials) -> tuple[str, ...]:
    return (
        f"--broker=mqtt://{broker}",
        f"--client_id={client}",
        f"--username={client}",
        f"--password=file:{credentials.pipelines[client]}",
    )


class Devices:
    """The devices' process; `counters` is the last line that it reported."""

    def __init__(
        self,
        children: Children,
        settings: RunSettings,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        journal: Path,
        run_id: str,
        env: Mapping[str, str],
    ) -> None:
        self.journal = journal
        self.counters: dict[str, int | str] = {}
        self.counted_at = 0.0
        command = [
            *(sys.executable, "-m", "localcloud.devices"),
            *("--broker", endpoints.broker_url),
            *("--credentials", str(credentials.devices)),
            *("--journal", str(journal)),
            *("--run-id", run_id),
            *("--rate", str(settings.rate_per_second)),
            *("--seed", str(settings.seed)),
            *("--devices", str(settings.sensor_count)),
            "--wait-for-subscriber",
        ]
        for name, value in (
            ("--input", settings.recording),
            ("--device-column", settings.device_column),
            ("--time-column", settings.time_column),
        ):
            if value is not None:
                # One word: a value may begin with a dash.
                command.append(f"{name}={value}")
        self.child = children.start("devices", command, environment=env, read_output=True)
        # It ends with the process, whose output is what it reads.
        threading.Thread(target=self._read, name="devices", daemon=True).start()

    @property
    def is_publishing(self) -> bool:
        """Whether all are connected and have begun."""
        return self.counters.get("state") == "publishing"

    def be_quiet(self) -> None:
        """Have them publish no more; they still receive commands."""
        if self.child.process.poll() is None:
            self.child.process.send_signal(signal.SIGUSR1)

    def count(self, name: str) -> int:
        """Return a counter of `localcloud.devices.fleet.Counters`."""
        return int(self.counters.get(name, 0))

    def _read(self) -> None:
        assert self.child.process.stdout is not None
        for line in self.child.process.stdout:
            self.counters = json.loads(line)
            self.counted_at = time.monotonic()
