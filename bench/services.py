"""What a peer runs between: a broker and a local Pub/Sub of its own, on free loopback ports."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.processes import LOOPBACK, BenchError, free_port, start, stop, wait_for_port
from bench.pubsub import PubSub

# Unlimited queues, and a window in flight that leaves packet identifiers to spare (65,535 in
# all): with mosquitto's defaults (20 in flight, 1,000 queued) it would drop what it cannot
# deliver at once. QoS 1 to a slow peer is then never lost at the broker.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 20000
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_type error
log_type warning
"""

# mosquitto names its user even where it is started by hand, and Debian puts it into sbin, which
# is not on everybody's PATH.
_MOSQUITTO_PLACES = ("mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")

PUBSUB_COMMAND = f"{shlex.quote(sys.executable)} -m localcloud.pubsub --port {{port}}"

PROJECT = "local"
TELEMETRY_TOPIC = "telemetry"
TELEMETRY_SUBSCRIPTION = "telemetry-bench"
COMMANDS_TOPIC = "commands"
COMMANDS_SUBSCRIPTION = "commands-mqtt"
RESULTS_TOPIC = "command-results"
TELEMETRY_FILTER = "devices/+/telemetry/#"
COMMANDS_FILTER = "devices/+/commands/#"


def topic_path(topic: str) -> str:
    """The full name of a topic of the bench's project."""
    return f"projects/{PROJECT}/topics/{topic}"


def subscription_path(subscription: str) -> str:
    """The full name of a subscription of the bench's project."""
    return f"projects/{PROJECT}/subscriptions/{subscription}"


def find_mosquitto() -> str | None:
    """The path of mosquitto where it is installed."""
    return next((found for place in _MOSQUITTO_PLACES if (found := shutil.which(place))), None)


def mosquitto_version() -> str:
    """What mosquitto says it is, for the report."""
    path = find_mosquitto()
    if path is None:
        return "not installed"
    said = subprocess.run([path, "-h"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else "mosquitto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """What a peer must know. ``pubsub_address``: "host:port"; ``folder``: for its files and log."""

    broker_port: int
    pubsub_address: str
    folder: Path


class Services:
    """A broker and a Pub/Sub with the topics and subscriptions of one measurement.

    ``pubsub_command``: the command line that serves Pub/Sub on the port that replaces ``{port}``.
    """

    def __init__(self, pubsub_command: str = PUBSUB_COMMAND) -> None:
        self._command = pubsub_command
        self._stack = ExitStack()

    def __enter__(self) -> Services:
        with self._stack as stack:
            temporary = tempfile.TemporaryDirectory(prefix="mqttbeam-bench-")
            folder = Path(stack.enter_context(temporary))
            broker_port = self._start_broker(stack, folder)
            pubsub_port = free_port()
            process, log = self._start(
                stack,
                [part.format(port=pubsub_port) for part in shlex.split(self._command)],
                folder / "pubsub.log",
            )
            wait_for_port(pubsub_port, process, log=log)
            self._pubsub_process = psutil.Process(process.pid)
            self.endpoints = Endpoints(
                broker_port=broker_port,
                pubsub_address=f"{LOOPBACK}:{pubsub_port}",
                folder=folder,
            )
            self.pubsub = stack.enter_context(PubSub(self.endpoints.pubsub_address))
            for topic in (TELEMETRY_TOPIC, COMMANDS_TOPIC, RESULTS_TOPIC):
                self.pubsub.create_topic(topic_path(topic))
            for subscription, topic in (
                (TELEMETRY_SUBSCRIPTION, TELEMETRY_TOPIC),
                (COMMANDS_SUBSCRIPTION, COMMANDS_TOPIC),
            ):
                self.pubsub.create_subscription(subscription_path(subscription), topic_path(topic))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_broker(self, stack: ExitStack, folder: Path) -> int:
        mosquitto = find_mosquitto()
        if mosquitto is None:
            raise BenchError("mosquitto is not installed: apt-get install mosquitto")
        port = free_port()
        config = folder / "mosquitto.conf"
        config.write_text(_MOSQUITTO.format(port=port))
        process, log = self._start(stack, [mosquitto, "-c", str(config)], folder / "broker.log")
        wait_for_port(port, process, log=log)
        return port

    @staticmethod
    def _start(
        stack: ExitStack, command: list[str], log: Path
    ) -> tuple[subprocess.Popen[bytes], Path]:
        process = start(command, log=log)
        stack.callback(stop, process, grace_seconds=5.0)
        return process, log

    def pubsub_cpu_seconds(self) -> float:
        """CPU time of the Pub/Sub process: while it grows, messages are still coming in."""
        times = self._pubsub_process.cpu_times()
        return times.user + times.system
