from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidTelemetry
from schemas.layout import Layout, layout_named
from schemas.messages import DeviceRegistry, Rejected, Telemetry
from transforms.lists import MessageList
from transforms.mqttio import MqttMessage
from transforms.pubsubio import FramedMessages, Refused
from transforms.pubsubio.limits import MAXIMUM_DATA_BYTES, refusal
from transforms.pubsubio.wire import unframed
from transforms.telemetry import (
    REJECTED,
    TelemetryFramer,
    TelemetryToPubSub,
    read_device_numbers,
    refused_to_rejected,
)

DEFAULT = layout_named("default")
NOON = 1_769_860_800.123


def message(
    topic: str = "devices/d1/telemetry",
    payload: bytes = b"x",
    received_time: float = NOON,
    **fields: Any,
) -> MqttMessage:
    return MqttMessage(topic, payload, 1, False, False, received_time, **fields)


levels = st.text(st.characters(exclude_characters="\0+#/"), max_size=20)
topics = st.one_of(
    st.builds("devices/{}/telemetry".format, levels),
    st.builds("devices/{}/telemetry/{}/{}".format, levels, levels, levels),
    st.builds("devices/{}/state".format, levels),
    st.builds("/devices/{}/events/{}".format, levels, levels),
    st.text(min_size=1, max_size=40),
)
names = st.sampled_from(["message-id", "event-time", "schema-id", "other"])
values = st.one_of(
    st.text(max_size=30),
    st.just("2026-01-31T12:00:00.5Z"),
    st.just("x" * 1_025),
)
messages = st.builds(
    message,
    topics,
    st.binary(max_size=300),
    st.floats(0, 4e9, allow_nan=False),
    content_type=st.none() | st.text(max_size=30),
    user_properties=st.lists(st.tuples(names, values), max_size=4).map(tuple),
)


def from_mqtt(item: MqttMessage, layout: Layout) -> Telemetry:
    return Telemetry.from_mqtt(
        item.topic,
        item.payload,
        received_time=item.received_time,
        user_properties=item.user_properties,
        content_type=item.content_type,
        layout=layout,
    )


@given(st.lists(messages, min_size=1, max_size=5), st.sampled_from(["default", "iot-core"]))
def test_a_frame_is_what_telemetry_says_of_the_message(
    items: list[MqttMessage], layout_name: str
) -> None:
    layout = layout_named(layout_name)
    framer = TelemetryFramer(layout)
    for item in items:
        expected = outcome(lambda: from_mqtt(item, layout).attributes())  # noqa: B023  # called now
        framed = outcome(lambda: unframed(framer.frame(item)))  # noqa: B023  # called now
        if isinstance(framed, PubsubMessage):
            assert framed.data == item.payload
            assert framed.attributes == expected
            assert refusal(framed.data, framed.attributes) is None
        else:
            assert framed == expected


def test_a_frame_bears_the_registry_that_iot_cores_consumers_read_of() -> None:
    registry = DeviceRegistry(
        project_id="p", location="l", registry_id="r", device_numbers={"d": "42"}
    )
    framer = TelemetryFramer(DEFAULT, registry)
    for properties in ((), (("message-id", "m"),)):
        item = message(topic="devices/d/telemetry", user_properties=properties)
        attributes = unframed(framer.frame(item)).attributes
        assert attributes == from_mqtt(item, DEFAULT).attributes(registry)
        assert attributes["deviceNumId"] == "42"
        assert framer.ordered(item).attributes == attributes


def test_device_numbers_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("a,1\nb,with,comma,2\n\n")
    assert read_device_numbers(str(path)) == {"a": "1", "b,with,comma": "2"}
    path.write_text("a,1\nb\n")
    with pytest.raises(ValueError, match="line 2"):
        read_device_numbers(str(path))
    with pytest.raises(ValueError, match=r"missing\.csv"):
        read_device_numbers(str(tmp_path / "missing.csv"))


def outcome(call: Callable[[], Any]) -> Any:
    """What the call gives, or the words with which it refuses."""
    try:
        return call()
    except InvalidTelemetry as error:
        return str(error)


def run(*items: MqttMessage, **settings: Any) -> tuple[list[Any], list[Rejected]]:
    """The outputs of one list: what goes on, and what is rejected."""
    step = TelemetryToPubSub(DEFAULT, **settings)
    step.setup()
    outputs = list(step.process(MessageList(items)))
    rejected = [item.value for item in outputs if isinstance(item, beam.pvalue.TaggedOutput)]
    assert all(
        item.tag == REJECTED for item in outputs if isinstance(item, beam.pvalue.TaggedOutput)
    )
    return [item for item in outputs if not isinstance(item, beam.pvalue.TaggedOutput)], rejected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message("elsewhere/d1"), "topic 'elsewhere/d1'"),
        (message("devices/d1/telemetry/" + "x" * 1_100), "1,024"),
        (message(user_properties=(("event-time", "noon"),)), "event-time"),
        (message(user_properties=(("message-id", "x" * 1_025),)), "message id"),
    ],
    ids=["topic", "long topic", "event time", "message id"],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_no_telemetry_is_rejected_with_its_reason_and_its_neighbours_pass(
    bad: MqttMessage, reason: str, ordered: bool
) -> None:
    good, rejected = run(message(payload=b"1"), bad, message(payload=b"2"), ordered=ordered)
    sent = [unframed(part) for parts in good for part in parts] if not ordered else good
    assert [item.data for item in sent] == [b"1", b"2"]
    (letter,) = rejected
    assert reason.replace(",", "") in letter.reason.replace(",", "")
    assert (letter.stage, letter.origin, letter.raw) == ("telemetry", bad.topic, bad.payload)
    assert letter.attributes == dict(bad.user_properties)
    assert letter.time.timestamp() == pytest.approx(NOON, abs=0.001)


def test_a_payload_that_pubsub_cant_take_is_rejected() -> None:
    _, (letter,) = run(message(payload=bytes(MAXIMUM_DATA_BYTES + 1)))
    assert "the payload has 10,000,001 bytes; Pub/Sub takes 10,000,000" in letter.reason
    _, rejected = run(message(payload=bytes(MAXIMUM_DATA_BYTES)))
    assert rejected == []


def test_an_empty_payload_and_any_bytes_pass_untouched() -> None:
    ((parts),), _ = run(message(payload=b""), message(payload=bytes(range(256))))
    assert isinstance(parts, FramedMessages)
    assert [unframed(part).data for part in parts] == [b"", bytes(range(256))]


def test_the_device_is_the_ordering_key_where_asked_for() -> None:
    sent, _ = run(message("devices/d7/telemetry"), ordered=True)
    assert [(item.ordering_key, item.attributes["deviceId"]) for item in sent] == [("d7", "d7")]


def test_two_equal_messages_have_one_id_and_others_another() -> None:
    ((parts),), _ = run(message(payload=b"1"), message(payload=b"1"), message(payload=b"2"))
    first, same, other = [unframed(part).attributes["messageId"] for part in parts]
    assert first == same != other


def test_what_pubsub_refused_keeps_its_reason_and_bytes() -> None:
    refused = Refused(PubsubMessage(b"raw", {"deviceId": "d1"}), "too odd")
    letter = refused_to_rejected(refused, "projects/p/topics/t")
    assert (letter.stage, letter.reason, letter.origin) == (
        "publish",
        "too odd",
        "projects/p/topics/t",
    )
    assert (letter.raw, letter.attributes) == (b"raw", {"deviceId": "d1"})
