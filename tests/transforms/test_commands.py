"""A command becomes the message its parts say, and its outcome is what the broker says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import mqtt5
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from mqtt.codec import Decoder, ProtocolVersion
from mqtt.outgoing import encoded
from schemas.errors import InvalidCommand
from schemas.layout import DEFAULT, LAYOUTS, Layout
from schemas.messages import Command, CommandOutcome, Outcome
from transforms.commands import (
    CommandEncoder,
    ExpiredCommand,
    FrameOutcomes,
    ParseCommands,
    command_message,
    outcome_of,
)
from transforms.lists import MessageList
from transforms.mqttio import EncodedMessages, PublishResult
from transforms.pubsubio.wire import unframed

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5

ids = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["1234567890", "6f1c-44aa", "0", "1", "01", "00-11", 'a"b', "ü", "a/b", "x" * 300]
    ),
)
names = st.one_of(st.text(max_size=12), st.sampled_from(["reboot", "0/1", "led/on", "a//b"]))
times = st.sampled_from(
    ["2026-01-31T12:00:30Z", "2026-01-31T11:59:30Z", "9999-12-31T00:00:00Z", "soon", ""]
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "deviceId": ids,
        "commandId": ids,
        "commandName": names,
        "subFolder": names,
        "contentType": st.one_of(st.text(max_size=20), st.just("application/json")),
        "expiresAt": times,
        "other": st.text(max_size=5),
    },
)
messages = st.builds(PubsubMessage, st.binary(max_size=300), attributes, st.just("4711"))


def expected(message: PubsubMessage, layout: Layout, protocol: ProtocolVersion) -> Any:
    """Key, head and tail by way of Command, or the words with which it is refused."""
    try:
        command = Command.from_pubsub(message.data, message.attributes, message.message_id)
        left = command.seconds_left(NOW)
        if left is not None and left <= 0:
            return f"expired {-left:.0f} s before it was taken from the subscription"
        expiry = None if left is None else min(round(left), 0xFFFFFFFF)
        head, tail = encoded(command_message(command, layout, expiry), protocol)
    except InvalidCommand as error:
        return str(error)
    except ValueError as error:
        return f"it is nothing that MQTT can carry: {error}"
    return (command.device_id, command.command_id), head, tail


@given(
    st.lists(messages, min_size=1, max_size=4),
    st.sampled_from(list(LAYOUTS.values())),
    st.sampled_from(ProtocolVersion),
)
def test_what_is_encoded_once_is_what_a_command_says(
    items: list[PubsubMessage], layout: Layout, protocol: ProtocolVersion
) -> None:
    encoder = CommandEncoder(layout, protocol)
    for item in items:
        got: Any
        try:
            got = encoder.encode(item, NOW)
        except (InvalidCommand, ExpiredCommand) as error:
            got = str(error)
        assert got == expected(item, layout, protocol)


def parse(*items: PubsubMessage, **settings: Any) -> tuple[list[Any], list[CommandOutcome]]:
    """The outputs of one list: what goes on, and what has an outcome at once."""
    step = ParseCommands(DEFAULT, **{"protocol": V5, "clock": lambda: NOW, **settings})
    step.setup()
    main: list[Any] = []
    outcomes: list[CommandOutcome] = []
    for output in step.process(MessageList(items)):
        if isinstance(output, EncodedMessages):
            main.append(output)
        else:
            outcomes += output.value
    return main, outcomes


def test_a_command_tells_the_device_where_to_answer_and_when_it_is_over() -> None:
    item = PubsubMessage(
        b"{}",
        {
            "deviceId": "d1",
            "commandId": "c-1",
            "commandName": "led/on",
            "contentType": "application/json",
            "expiresAt": (NOW + timedelta(seconds=29.5)).isoformat(),
        },
        "4711",
    )
    ((commands,), outcomes) = parse(item)
    assert list(commands) == [("d1", "c-1")]
    assert outcomes == []
    (packet,) = Decoder(protocol=V5).feed(commands.heads[0] + b"\0\1" + commands.tails[0])
    assert packet == mqtt5.PublishPacket(
        "devices/d1/commands/led/on",
        b"{}",
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=1,
        message_expiry_interval=30,
        content_type="application/json",
        response_topic="devices/d1/responses/c-1",
        user_properties=[("command-id", "c-1")],
    )


def test_what_is_no_command_has_its_outcome_and_its_neighbours_go_on() -> None:
    good = PubsubMessage(b"x", {"deviceId": "d1"}, "1")
    ((commands,), outcomes) = parse(
        good,
        PubsubMessage(b"x", {}, "2"),
        PubsubMessage(b"x", {"deviceId": "a+b", "commandId": "\0"}, "3"),
        PubsubMessage(b"x", {"deviceId": "d", "contentType": "a\0"}, "4"),
        PubsubMessage(b"x", {"deviceId": "d", "expiresAt": "2026-01-31T11:59:30Z"}, "5"),
        good,
    )
    assert list(commands) == [("d1", "1"), ("d1", "1")]
    assert [(item.command_id, item.outcome) for item in outcomes] == [
        ("2", Outcome.INVALID),
        ("\0", Outcome.INVALID),
        ("4", Outcome.INVALID),
        ("5", Outcome.EXPIRED),
    ]
    assert "deviceId" in str(outcomes[0].reason)
    assert "30 s" in str(outcomes[3].reason)


results = st.builds(PublishResult.of, st.sampled_from([0x00, 0x10, 0x87, 0x95]))


@given(st.lists(st.tuples(st.tuples(st.text(min_size=1, max_size=8), ids), results), max_size=5))
def test_a_framed_outcome_is_the_outcome(
    pairs: list[tuple[tuple[str, str], PublishResult]],
) -> None:
    pairs = [pair for pair in pairs if pair[0][1]]
    (frames,) = FrameOutcomes().process(MessageList(pairs))
    for (key, result), frame in zip(pairs, frames, strict=True):
        message = unframed(frame)
        said = CommandOutcome.from_json(message.data)
        assert said == outcome_of(key, result, said.time)
        assert json.loads(message.data)["commandId"] == key[1]
        assert message.attributes == said.attributes()
        assert abs((datetime.now(UTC) - said.time).total_seconds()) < 60


def test_outcomes_that_are_known_at_once_are_framed_too() -> None:
    outcome = CommandOutcome(command_id="c", outcome=Outcome.EXPIRED, time=NOW, reason="late")
    (frames,) = FrameOutcomes().process(MessageList([outcome]))
    assert CommandOutcome.from_json(unframed(frames[0]).data) == outcome


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_list_of_encoded_messages_survives_a_pickle(protocol: ProtocolVersion) -> None:
    import pickle

    ((commands,), _) = parse(PubsubMessage(b"x", {"deviceId": "d1"}, "1"), protocol=protocol)
    copy = pickle.loads(pickle.dumps(commands))  # of this very test
    assert (list(copy), copy.heads, copy.tails, copy.protocol) == (
        list(commands),
        commands.heads,
        commands.tails,
        protocol,
    )
