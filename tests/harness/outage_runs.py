"""The pipelines while something is cut off: what must hold, and how long recovery takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from localcloud.subscriber import PubSub
from schemas.messages import CommandOutcome, Outcome
from tests.harness.brokers import Broker
from tests.harness.cloud import RUNNING, Cloud
from tests.harness.devices import Device, Traffic, observer, wait_until_subscribed
from tests.harness.processes import Process
from tests.harness.taps import Tap, command_id, message_id, publish_all
from tests.harness.waiting import wait_until
from tests.harness.warehouse import DistinctRows, telemetry_message

Cut = Callable[[], AbstractContextManager[None]]

WITHIN_SECONDS = 5.0
"""So long after the return everything must be through."""

LEASED_SECONDS = 7.0
"""How long is waited, so that late can be told from lost, where Pub/Sub's subscriber was reset:
what was on the wire to it is leased to nobody until its lease of 10 s, the service's shortest, is
over, 5 s after the return. Past WITHIN_SECONDS it is no pass."""

VANISHED_SECONDS = 7.0
"""The same where packets vanished. TCP sends again after pauses that double, so that the next may
come as long after the return as the cut was long, and only then begins what waited to flow."""

_BEFORE = 500
_RATE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Messages that waited when the way was free again, and how long until they were through."""

    what: str
    cut_seconds: float
    waiting: int
    first_seconds: float
    seconds: float
    duplicates: int

    def __str__(self) -> str:
        return (
            f"\n{self.what}: cut for {self.cut_seconds:g} s, {self.waiting} messages waited; the"
            f" first came {self.first_seconds:.2f} s after the return and the last"
            f" {self.seconds:.2f} s, {self.duplicates} duplicates"
        )


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One cut in the midst of traffic.

    Attributes:
      what: names it in the figures.
      cut: cuts for the length of a ``with`` block.
      cut_seconds: so long it lasts, and longer if the traffic of that time is not yet sent.
      within_seconds: so long after the return everything must be through.
    """

    what: str
    cut: Cut
    cut_seconds: float
    within_seconds: float = WITHIN_SECONDS

    @property
    def total(self) -> int:
        """Messages in all, before the cut and during it."""
        return _BEFORE + int(_RATE * self.cut_seconds)

    def strike(
        self,
        pipeline: Process,
        *,
        send: Callable[[range], None],
        arrived: Callable[[], int],
        copies: Callable[[], int],
    ) -> Recovery:
        """Cuts while messages pass, and waits until all of them are through.

        ``send`` sends the messages of these numbers, ``arrived`` counts the distinct ones that
        are where they belong, and ``copies`` all that are there.
        """
        with Traffic(send, total=self.total, rate=_RATE) as traffic:
            pipeline.wait_for(RUNNING)
            traffic.allow(_BEFORE)
            wait_until(
                lambda: arrived() >= _BEFORE,
                seconds=60,
                what=lambda: f"{_BEFORE} messages, not {arrived()}:\n{pipeline.said()}",
            )
            traffic.allow(self.total)
            wait_until(lambda: arrived() > _BEFORE, seconds=30, what="traffic before the cut")
            begin = time.monotonic()
            with self.cut():
                traffic.wait(seconds=60)
                wait_until(
                    lambda: time.monotonic() - begin >= self.cut_seconds,
                    seconds=60,
                    what="the time",
                )
                there = arrived()
            back = time.monotonic()
        waiting = self.total - there
        assert waiting > _RATE * self.cut_seconds / 2, f"only {waiting} waited: the cut was none"
        first: list[float] = []

        def all_arrived() -> bool:
            now = arrived()
            if now > there and not first:
                first.append(time.monotonic() - back)
            return now >= self.total

        wait_until(
            all_arrived,
            seconds=self.within_seconds,
            what=lambda: (
                f"{self.total} messages after the return, not {arrived()}, the first after"
                f" {first} s:\n{pipeline.said()}"
            ),
        )
        seconds = time.monotonic() - back
        assert pipeline.running
        return Recovery(
            what=self.what,
            cut_seconds=self.cut_seconds,
            waiting=waiting,
            first_seconds=first[0],
            seconds=seconds,
            duplicates=copies() - self.total,
        )


def telemetry(cloud: Cloud, broker: Broker, outage: Outage, **where: str) -> Recovery:
    """Telemetry from a device that is not cut off, to a Pub/Sub that is watched directly."""
    with (
        Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id) as tap,
        Device(broker, "d1") as device,
    ):
        pipeline = cloud.start_telemetry(broker, **where)
        wait_until_subscribed(device, tap)

        def send(numbers: range) -> None:
            for n in numbers:
                device.publish(b"%d" % n, message_id=f"m-{n}")

        recovery = outage.strike(
            pipeline,
            send=send,
            arrived=lambda: tap.distinct - 1,
            copies=lambda: tap.counts.total() - tap.counts["probe"],
        )
        assert set(tap.counts) == {"probe"} | {f"m-{n}" for n in range(outage.total)}
    return recovery


def commands(cloud: Cloud, broker: Broker, outage: Outage, **where: str) -> Recovery:
    """Commands from a Pub/Sub that is asked directly, to devices that are not cut off."""
    with (
        PubSub(cloud.pubsub) as client,
        Tap(cloud.pubsub, cloud.results_topic, key=command_id) as results,
        observer(broker) as device,
    ):
        pipeline = cloud.start_commands(broker, **where)

        def send(numbers: range) -> None:
            publish_all(
                client,
                cloud.commands_topic,
                [(b"%d" % n, {"deviceId": "d1", "commandId": f"c-{n}"}) for n in numbers],
            )

        recovery = outage.strike(
            pipeline,
            send=send,
            arrived=lambda: min(results.distinct, len(device.commands)),
            copies=device.commands.total,
        )
        wanted = {f"c-{n}" for n in range(outage.total)}
        assert set(device.commands) == wanted == set(results.counts)
        for item in results.seen:
            assert CommandOutcome.from_json(item.data).outcome is Outcome.ACCEPTED
    return recovery


def warehouse(cloud: Cloud, outage: Outage, **where: str) -> Recovery:
    """Telemetry from Pub/Sub to BigQuery, which is asked directly."""
    with PubSub(cloud.pubsub) as client:

        def send(numbers: range) -> None:
            publish_all(client, cloud.telemetry_topic, [telemetry_message(n) for n in numbers])

        recovery = outage.strike(
            cloud.start_warehouse(**where),
            send=send,
            arrived=DistinctRows(cloud),
            copies=cloud.rows,
        )
    ids = {row[0] for row in cloud.query("SELECT message_id FROM {dataset}.telemetry")}
    assert ids == {f"m-{n}" for n in range(outage.total)}
    return recovery


def direct(cloud: Cloud, broker: Broker, outage: Outage, **where: str) -> Recovery:
    """Telemetry from a device that is not cut off, to a BigQuery that is asked directly."""
    rows = DistinctRows(cloud)
    with Device(broker, "d1") as device:
        pipeline = cloud.start_direct(broker, **where)

        def subscribed() -> bool:
            device.publish(b"{}", message_id="probe")
            return rows() > 0

        wait_until(subscribed, seconds=30, what="the first row", poll_seconds=0.1)

        def send(numbers: range) -> None:
            for n in numbers:
                device.publish(b'{"readings": {"n": %d}}' % n, message_id=f"m-{n}")

        recovery = outage.strike(
            pipeline, send=send, arrived=lambda: rows() - 1, copies=lambda: _but_probes(cloud)
        )
    found = {row[0] for row in cloud.query("SELECT message_id FROM {dataset}.telemetry")}
    assert found == {"probe"} | {f"m-{n}" for n in range(outage.total)}
    return recovery


def _but_probes(cloud: Cloud) -> int:
    sql = "SELECT COUNT(*) FROM {dataset}.telemetry WHERE message_id != 'probe'"
    return int(cloud.query(sql)[0][0])
