"""A running broker's figures as Prometheus reads them, made when they are asked for.

Nothing is labelled by client: a fleet would make thousands of series. ``mqttbeam broker clients``
tells of single ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from broker.core import inspecting
from broker.core.counters import Counters
from broker.server.measuring import Durations
from broker.server.shell import Shell
from broker.version import program_version

PREFIX = "mqttbeam_broker_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DROPPED = "dropped_"


class Metrics(Collector):
    """Collects from a shell and its core. ``is_registry_readable`` is asked at each scrape."""

    def __init__(self, shell: Shell, *, is_registry_readable: Callable[[], bool]) -> None:
        self._shell = shell
        self._is_registry_readable = is_registry_readable
        self._core = shell.core
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        # Memory, open files, CPU seconds: process_….
        ProcessCollector(registry=self._registry)

    def answer(self) -> tuple[str, bytes]:
        """The answer to a scrape: its content type, and everything in Prometheus's text format."""
        return CONTENT_TYPE, generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield _gauge("info", "1, with the version.", 1, {"version": program_version()})
        yield _gauge(
            "registry_readable",
            "1 while the registry can be read; 0: changes in it are not seen.",
            int(self._is_registry_readable()),
        )
        yield from self._counters()
        yield from self._listeners()
        yield from self._held()
        yield _histogram(
            "store_commit_seconds", "How long commits took.", self._shell.commit_durations
        )
        yield _histogram(
            "event_loop_lag_seconds",
            "How late the event loop got to a timer, measured twice a second.",
            self._shell.lag.durations,
        )

    def _counters(self) -> Iterator[Metric]:
        counters = self._core.counters
        dropped = CounterMetricFamily(
            f"{PREFIX}messages_dropped", "Messages that a client did not get.", labels=["reason"]
        )
        for item in fields(Counters):
            value = getattr(counters, item.name)
            if item.name.startswith(_DROPPED):
                dropped.add_metric([item.name.removeprefix(_DROPPED)], value)
            else:
                yield CounterMetricFamily(PREFIX + item.name, item.metadata["help"], value=value)
        yield dropped

    def _listeners(self) -> Iterator[Metric]:
        labels = ["listener"]
        connections = GaugeMetricFamily(
            f"{PREFIX}connections", "Open connections, logged in or not.", labels=labels
        )
        accepted = CounterMetricFamily(
            f"{PREFIX}connections_opened", "Connections that clients opened.", labels=labels
        )
        received = CounterMetricFamily(
            f"{PREFIX}received_bytes", "Bytes of MQTT from clients.", labels=labels
        )
        sent = CounterMetricFamily(
            f"{PREFIX}sent_bytes", "Bytes of MQTT to clients.", labels=labels
        )
        for traffic in self._shell.traffic:
            label = [traffic.listener]
            connections.add_metric(label, traffic.open)
            accepted.add_metric(label, traffic.accepted)
            received.add_metric(label, traffic.received_bytes)
            sent.add_metric(label, traffic.sent_bytes)
        yield from (connections, accepted, received, sent)

    def _held(self) -> Iterator[Metric]:
        totals = inspecting.totals(self._core.sessions)
        retained = self._core.retained
        for name, text, value in (
            ("connected_clients", "Clients that are logged in.", totals.connected),
            (
                "slowed_clients",
                "Clients that are not read from now because they sent more than their rate.",
                self._core.pacing.slowed,
            ),
            ("sessions", "Sessions, of clients connected or away.", totals.sessions),
            ("subscriptions", "Subscriptions of all sessions.", totals.subscriptions),
            ("queued_messages", "Messages that wait for a client.", totals.queued),
            (
                "unacknowledged_messages",
                "Messages sent at QoS 1 or 2 whose way isn't over.",
                totals.unacknowledged,
            ),
            ("queue_bytes", "Memory of queued and unacknowledged messages.", totals.held_bytes),
            ("memory_bytes", "All that clients cost in memory.", self._core.budget.used_bytes),
            (
                "memory_limit_bytes",
                "What they may cost.",
                self._core.limits.memory_bytes or 0,
            ),
            ("retained_messages", "Topics with a retained message.", retained.messages),
            ("retained_bytes", "Memory of retained messages.", retained.bytes),
        ):
            yield _gauge(name, text, value)


def _gauge(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    return HistogramMetricFamily(
        PREFIX + name, text, buckets=durations.cumulative(), sum_value=durations.total
    )
