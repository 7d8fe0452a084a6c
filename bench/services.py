"""What a peer runs between: a broker and a local Pub/Sub of its own, on free loopback ports."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bench import brokers
from bench.brokers import BrokerKind
from bench.processes import LOOPBACK, free_port, start, stop, wait_for_port
from bench.pubsub import PubSub

PUBSUB_COMMAND = f"{shlex.quote(sys.executable)} -m localcloud.pubsub --port {{port}}"

PROJECT = "local"
TELEMETRY_TOPIC = "telemetry"
TELEMETRY_SUBSCRIPTION = "telemetry-bench"
COMMANDS_TOPIC = "commands"
COMMANDS_SUBSCRIPTION = "commands-mqtt"
RESULTS_TOPIC = "command-results"
DEAD_LETTER_TOPIC = f"{TELEMETRY_TOPIC}-dead-letters"
TELEMETRY_FILTER = "devices/+/telemetry/#"
COMMANDS_FILTER = "devices/+/commands/#"


def topic_path(topic: str) -> str:
    """The full name of a topic of the bench's project."""
    return f"projects/{PROJECT}/topics/{topic}"


def subscription_path(subscription: str) -> str:
    """The full name of a subscription of the bench's project."""
    return f"projects/{PROJECT}/subscriptions/{subscription}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """What a peer must know. ``pubsub_address``: "host:port", empty beside a broker
    alone; ``password``: the broker's, of user
    ``brokers.USER``; ``folder``: for its files and log; ``broker_pid``: the broker's process.
    """

    broker_port: int
    pubsub_address: str
    password: str
    folder: Path
    broker_pid: int = 0

    def environment(self) -> dict[str, str]:
        """The same as environment variables, for child processes."""
        return {
            "PUBSUB_EMULATOR_HOST": self.pubsub_address,
            "BENCH_BROKER_PORT": str(self.broker_port),
            "BENCH_USER": brokers.USER,
            "BENCH_PASSWORD": self.password,
        }


@contextmanager
def serving(broker: BrokerKind, *, pubsub_address: str = "") -> Iterator[Endpoints]:
    """Runs a broker and nothing else; peers that it is for are told of ``pubsub_address``."""
    with tempfile.TemporaryDirectory(prefix="mqttbeam-bench-") as folder, ExitStack() as stack:
        endpoints = Endpoints(
            broker_port=free_port(),
            pubsub_address=pubsub_address,
            password=secrets.token_urlsafe(),
            folder=Path(folder),
        )
        port = endpoints.broker_port
        command = brokers.command(broker, port, endpoints.folder)
        process = _start(stack, command, "broker", port, endpoints)
        yield replace(endpoints, broker_pid=process.pid)


def _start(
    stack: ExitStack, command: list[str], name: str, port: int, endpoints: Endpoints
) -> subprocess.Popen[bytes]:
    log = endpoints.folder / f"{name}.log"
    process = start(command, log=log, environment=endpoints.environment())
    stack.callback(stop, process, grace_seconds=5.0)
    wait_for_port(port, process, log=log)
    return process


class Services:
    """A broker and a Pub/Sub with the topics and subscriptions of one measurement.

    ``pubsub_command``: the command line that serves Pub/Sub on the port that replaces ``{port}``.
    """

    def __init__(self, broker: BrokerKind, pubsub_command: str = PUBSUB_COMMAND) -> None:
        self._broker = broker
        self._command = pubsub_command
        self._stack = ExitStack()

    def __enter__(self) -> Services:
        with self._stack as stack:
            pubsub_port = free_port()
            self.endpoints = stack.enter_context(
                serving(self._broker, pubsub_address=f"{LOOPBACK}:{pubsub_port}")
            )
            serve = [part.format(port=pubsub_port) for part in shlex.split(self._command)]
            self._pubsub_process = psutil.Process(
                _start(stack, serve, "pubsub", pubsub_port, self.endpoints).pid
            )
            self.pubsub = stack.enter_context(PubSub(self.endpoints.pubsub_address))
            for topic in (TELEMETRY_TOPIC, DEAD_LETTER_TOPIC, COMMANDS_TOPIC, RESULTS_TOPIC):
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

    def pubsub_cpu_seconds(self) -> float:
        """CPU time of the Pub/Sub process: while it grows, messages are still coming in."""
        times = self._pubsub_process.cpu_times()
        return times.user + times.system
