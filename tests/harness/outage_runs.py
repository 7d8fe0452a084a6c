"""The three pipelines while something is cut off: what must hold, and how long recovery takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
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


@dataclass(frozen=True, slots=True)
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


def telemetry(
    cloud: Cloud,
    broker: Broker,
    *,
    cut: Cut,
    cut_seconds: float,
    what: str,
    within_seconds: float = WITHIN_SECONDS,
    **where: str,
) -> Recovery:
    """Telemetry from a device that is not cut off, to a Pub/Sub that is watched directly."""
    total = _total(cut_seconds)
    with ExitStack() as open_now:
        enter = open_now.enter_context
        tap = enter(Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id))
        device = enter(Device(broker, "d1"))
        pipeline = cloud.start_telemetry(broker, **where)
        wait_until_subscribed(device, tap)

        def send(numbers: range) -> None:
            for n in numbers:
                device.publish(b"%d" % n, message_id=f"m-{n}")

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        waiting, first, seconds = _through(
            cut, cut_seconds, traffic, total, lambda: tap.distinct - 1, pipeline, within_seconds
        )
        assert set(tap.counts) == {"probe"} | {f"m-{n}" for n in range(total)}
        duplicates = tap.duplicates - (tap.counts["probe"] - 1)
        return Recovery(what, cut_seconds, waiting, first, seconds, duplicates)


def commands(
    cloud: Cloud,
    broker: Broker,
    *,
    cut: Cut,
    cut_seconds: float,
    what: str,
    within_seconds: float = WITHIN_SECONDS,
    **where: str,
) -> Recovery:
    """Commands from a Pub/Sub that is asked directly, to devices that are not cut off."""
    total = _total(cut_seconds)
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        results = enter(Tap(cloud.pubsub, cloud.results_topic, key=command_id))
        device = enter(observer(broker))
        pipeline = cloud.start_commands(broker, **where)

        def send(numbers: range) -> None:
            publish_all(
                client,
                cloud.commands_topic,
                [(b"%d" % n, {"deviceId": "d1", "commandId": f"c-{n}"}) for n in numbers],
            )

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        waiting, first, seconds = _through(
            cut,
            cut_seconds,
            traffic,
            total,
            lambda: min(results.distinct, len(device.commands)),
            pipeline,
            within_seconds,
        )
        wanted = {f"c-{n}" for n in range(total)}
        assert set(device.commands) == wanted == set(results.counts)
        for item in results.seen:
            assert CommandOutcome.from_json(item.data).outcome is Outcome.ACCEPTED
        duplicates = sum(device.commands.values()) - total
        return Recovery(what, cut_seconds, waiting, first, seconds, duplicates)


def warehouse(
    cloud: Cloud,
    *,
    cut: Cut,
    cut_seconds: float,
    what: str,
    within_seconds: float = WITHIN_SECONDS,
    **where: str,
) -> Recovery:
    """Telemetry from Pub/Sub to BigQuery, which is asked directly."""
    total = _total(cut_seconds)
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        pipeline = cloud.start_warehouse(**where)

        def send(numbers: range) -> None:
            publish_all(client, cloud.telemetry_topic, [telemetry_message(n) for n in numbers])

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        waiting, first, seconds = _through(
            cut, cut_seconds, traffic, total, DistinctRows(cloud), pipeline, within_seconds
        )
    ids = {row[0] for row in cloud.query("SELECT message_id FROM {dataset}.telemetry")}
    assert ids == {f"m-{n}" for n in range(total)}
    return Recovery(what, cut_seconds, waiting, first, seconds, cloud.rows() - total)


def _total(cut_seconds: float) -> int:
    return _BEFORE + int(_RATE * cut_seconds)


def _through(
    cut: Cut,
    cut_seconds: float,
    traffic: Traffic,
    total: int,
    arrived: Callable[[], int],
    pipeline: Process,
    within_seconds: float,
) -> tuple[int, float, float]:
    """Cuts in the midst of traffic; returns how many waited at the end, and how many seconds
    after it the first and the last were through.
    """
    pipeline.wait_for(RUNNING)
    traffic.allow(_BEFORE)
    wait_until(
        lambda: arrived() >= _BEFORE,
        seconds=60,
        what=lambda: f"{_BEFORE} messages, not {arrived()}:\n{pipeline.said()}",
    )
    traffic.allow(total)
    wait_until(lambda: arrived() > _BEFORE, seconds=30, what="traffic before the cut")
    begin = time.monotonic()
    with cut():
        traffic.wait(seconds=60)
        wait_until(lambda: time.monotonic() - begin >= cut_seconds, seconds=60, what="the time")
        there = arrived()
    back = time.monotonic()
    waiting = total - there
    assert waiting > _RATE * cut_seconds / 2, f"only {waiting} waited: the cut was none"
    first: list[float] = []

    def all_arrived() -> bool:
        now = arrived()
        if now > there and not first:
            first.append(time.monotonic() - back)
        return now >= total

    wait_until(
        all_arrived,
        seconds=within_seconds,
        what=lambda: (
            f"{total} messages after the return, not {arrived()}, the first after {first} s:\n"
            f"{pipeline.said()}"
        ),
    )
    assert pipeline.running
    return waiting, first[0], time.monotonic() - back
