"""What can't be taken ends in the dead letters with a reason, and its neighbours arrive at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localcloud.subscriber import PubSub
from schemas.messages import CommandOutcome, Outcome
from schemas.times import format_time
from tests.harness.brokers import Broker
from tests.harness.cloud import RUNNING, Cloud
from tests.harness.devices import Device, wait_until_subscribed
from tests.harness.taps import Seen, Tap, publish_all
from tests.harness.waiting import wait_until

# What is promised is at once. This is what two cores that do other things besides may take.
AT_ONCE_SECONDS = 5.0
GOOD = b'{"readings": {"temperature": 21.5}}'
LONG_TOPIC = f"devices/d1/telemetry/{'x' * 1_079}"
AFTER_TIME = "9999-12-31T23:59:59-01:00"


@dataclass
class Poison:
    payload: bytes
    message_id: str
    topic: str = ""
    schema_id: str = "reading.v1"


# These can't be a Pub/Sub message: what the reason says.
NOT_FOR_PUBSUB = {
    "large": (Poison(b"x" * 11_000_000, "large"), ["11,000,000 bytes", "10,000,000"]),
    "long topic": (Poison(GOOD, "long topic", topic=LONG_TOPIC), ["topic", "1100", "1024"]),
}
# These pass through Pub/Sub untouched and are judged where they are decoded.
NOT_FOR_THE_TABLE = {
    "empty": (Poison(b"", "empty"), ["empty"]),
    "no UTF-8": (Poison(b"\xff\xfe\x80", "no UTF-8"), ["UTF-8"]),
    "schema": (Poison(b'{"readings": 7}', "schema"), ["readings"]),
    "no time in UTC": (
        Poison(
            b'{"timestamp": "%s", "readings": {"a": 1}}' % AFTER_TIME.encode(), "no time in UTC"
        ),
        ["outside the years 1 to 9999"],
    ),
    "unknown schema": (Poison(GOOD, "unknown schema", schema_id="no.such.v9"), ["no.such.v9"]),
}


def send(device: Device, poison: Poison) -> int:
    return device.publish(
        poison.payload,
        message_id=poison.message_id,
        topic=poison.topic,
        properties=[("schema-id", poison.schema_id)],
    )


def by_id(seen: Seen) -> str:
    return seen.attributes["messageId"]


def by_reason(seen: Seen) -> str:
    return seen.attributes["deadLetterReason"]


@pytest.fixture
def open_now() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_telemetry_that_can_not_be_taken_is_a_dead_letter_and_stops_nobody(
    warehouse_cloud: Cloud, own_broker: Broker, tmp_path: Path, open_now: ExitStack
) -> None:
    cloud, blobs = warehouse_cloud, tmp_path / "blobs"
    blobs.mkdir()
    warehouse = cloud.start_warehouse(wait=False)
    telemetry = cloud.start_telemetry(own_broker, f"--dead_letter_blob_folder={blobs}", wait=False)
    tap = open_now.enter_context(Tap(cloud.pubsub, cloud.telemetry_topic, key=by_id))
    dead = open_now.enter_context(Tap(cloud.pubsub, cloud.dead_letter_topic, key=by_reason))
    device = open_now.enter_context(Device(own_broker, "d1"))
    warehouse.wait_for(RUNNING)
    telemetry.wait_for(RUNNING)
    wait_until_subscribed(device, tap)
    every = {**NOT_FOR_PUBSUB, **NOT_FOR_THE_TABLE}

    slowest = 0.0
    for number, (poison, _) in enumerate(every.values()):
        send(device, Poison(GOOD, f"before-{number}"))
        send(device, poison)
        last = send(device, Poison(GOOD, f"after-{number}"))
        device.wait_until_acknowledged([last])
        begin = time.monotonic()
        neighbours = {f"before-{number}", f"after-{number}"}
        wait_until(
            lambda wanted=neighbours: wanted <= set(tap.counts),  # type: ignore[misc]  # a set
            seconds=AT_ONCE_SECONDS,
            what=f"the neighbours of {poison.message_id!r}",
        )
        slowest = max(slowest, time.monotonic() - begin)
    print(f"\nneighbours of poison came to Pub/Sub within {slowest:.2f} s")

    for name in NOT_FOR_THE_TABLE:
        wait_until(lambda name=name: tap.of(name), seconds=AT_ONCE_SECONDS, what=name)  # type: ignore[misc]  # a str
        assert [seen.data for seen in tap.of(name)] == [NOT_FOR_THE_TABLE[name][0].payload]
    assert not set(NOT_FOR_PUBSUB) & set(tap.counts)

    wait_until(lambda: len(dead.seen) >= 2, seconds=AT_ONCE_SECONDS, what="the dead letters")
    large, long_topic = sorted(dead.seen, key=lambda seen: "topic" in by_reason(seen))
    for seen, (poison, words) in zip((large, long_topic), NOT_FOR_PUBSUB.values(), strict=True):
        assert all(word in by_reason(seen) for word in words), by_reason(seen)
        assert seen.attributes["deadLetterStage"] == "telemetry"
        assert seen.attributes["message-id"] == poison.message_id
    assert long_topic.data == GOOD
    assert Path(large.attributes["deadLetterBlob"]).read_bytes() == b"x" * 11_000_000

    good = {f"{when}-{number}" for when in ("before", "after") for number in range(len(every))}
    wait_until(
        lambda: (
            {row[0] for row in cloud.query("SELECT message_id FROM {dataset}.telemetry")} == good
        ),
        seconds=20,
        what="the rows of the neighbours, and no others",
    )
    # The probe is poison too: no JSON.
    wait_until(lambda: cloud.rows("dead_letters") > len(NOT_FOR_THE_TABLE), seconds=20, what="rows")
    rejected = cloud.query("SELECT reason, stage, raw, attributes FROM {dataset}.dead_letters")
    found = {row[3]["messageId"]: row for row in rejected}
    assert set(found) == {*NOT_FOR_THE_TABLE, "probe"}
    for name, (poison, words) in NOT_FOR_THE_TABLE.items():
        reason, stage, raw, _ = found[name]
        assert all(word in reason for word in words), reason
        assert (stage, raw or b"") == ("decode", poison.payload)


def test_telemetry_straight_to_the_table_that_can_not_be_taken_is_a_dead_letter(
    warehouse_cloud: Cloud, own_broker: Broker, tmp_path: Path, open_now: ExitStack
) -> None:
    cloud, blobs = warehouse_cloud, tmp_path / "blobs"
    blobs.mkdir()
    pipeline = cloud.start_direct(own_broker, f"--dead_letter_blob_folder={blobs}", wait=False)
    device = open_now.enter_context(Device(own_broker, "d1"))
    pipeline.wait_for(RUNNING)

    def subscribed() -> bool:
        send(device, Poison(GOOD, "probe"))
        return cloud.rows() > 0

    wait_until(subscribed, seconds=30, what="the first row", poll_seconds=0.2)
    # No JSON, and more than a row holds: its bytes go to a blob.
    every = {**NOT_FOR_THE_TABLE, "large": (Poison(b"x" * 9_800_000, "large"), ["UTF-8", "JSON"])}
    for number, (poison, _) in enumerate(every.values()):
        send(device, Poison(GOOD, f"before-{number}"))
        send(device, poison)
        device.wait_until_acknowledged([send(device, Poison(GOOD, f"after-{number}"))])
    good = {f"{when}-{number}" for when in ("before", "after") for number in range(len(every))}
    stored = "SELECT message_id FROM {dataset}.telemetry WHERE message_id != 'probe'"
    wait_until(
        lambda: {row[0] for row in cloud.query(stored)} == good,
        seconds=20,
        what="the rows of the neighbours, and no others",
    )
    wait_until(lambda: cloud.rows("dead_letters") >= len(every), seconds=20, what="dead letters")
    rejected = cloud.query(
        "SELECT reason, stage, raw, attributes, blob, origin FROM {dataset}.dead_letters"
    )
    found = {row[3]["messageId"]: row for row in rejected}
    assert set(found) == set(every)
    for name, (poison, words) in every.items():
        reason, stage, raw, _, blob, origin = found[name]
        assert any(word in reason for word in words), reason
        assert (stage, origin) == ("decode", "devices/d1/telemetry/env")
        whole = Path(blob).read_bytes() if blob else raw or b""
        assert whole == poison.payload


def test_commands_that_are_none_end_as_invalid_or_expired_with_a_reason(
    cloud: Cloud, own_broker: Broker, open_now: ExitStack
) -> None:
    commands = cloud.start_commands(own_broker, wait=False)
    results = open_now.enter_context(
        Tap(cloud.pubsub, cloud.results_topic, key=lambda seen: seen.attributes["commandId"])
    )
    client = open_now.enter_context(PubSub(cloud.pubsub))
    open_now.enter_context(Device(own_broker, "d1", subscribe=["devices/d1/commands/#"]))
    commands.wait_for(RUNNING)
    past = format_time(datetime.now(UTC) - timedelta(seconds=90))
    poison = {
        "wildcard": ({"deviceId": "d+"}, Outcome.INVALID, ["'d+'", "'+'"]),
        "hash": ({"deviceId": "#"}, Outcome.INVALID, ["'#'"]),
        "no device": ({}, Outcome.INVALID, ["deviceId", "missing"]),
        "expired": ({"deviceId": "d1", "expiresAt": past}, Outcome.EXPIRED, ["expired 9", " s "]),
        "no time": (
            {"deviceId": "d1", "expiresAt": "soon"},
            Outcome.INVALID,
            ["expiresAt", "soon"],
        ),
        "no time in UTC": (
            {"deviceId": "d1", "expiresAt": AFTER_TIME},
            Outcome.INVALID,
            ["expiresAt", "outside the years 1 to 9999"],
        ),
        "name": ({"deviceId": "d1", "commandName": "a/#"}, Outcome.INVALID, ["'a/#'"]),
    }
    messages: list[tuple[bytes, dict[str, str]]] = []
    for name, (attributes, _, _) in poison.items():
        for when in ("before", "after"):
            messages.append((b"{}", {"deviceId": "d1", "commandId": f"{when} {name}"}))
            if when == "before":
                messages.append((b"{}", {**attributes, "commandId": name}))
    begin = time.monotonic()
    publish_all(client, cloud.commands_topic, messages)
    wait_until(
        lambda: results.distinct == len(messages),
        seconds=AT_ONCE_SECONDS,
        what=lambda: f"{len(messages)} outcomes, not {results.distinct}",
    )
    print(f"\n{len(messages)} outcomes of commands within {time.monotonic() - begin:.2f} s")
    for name, (_, outcome, words) in poison.items():
        (seen,) = results.of(name)
        said = CommandOutcome.from_json(seen.data)
        assert said.outcome is outcome
        assert said.reason is not None
        assert all(word in said.reason for word in words), said.reason
        for when in ("before", "after"):
            (neighbour,) = results.of(f"{when} {name}")
            assert neighbour.attributes["outcome"] == "accepted"
