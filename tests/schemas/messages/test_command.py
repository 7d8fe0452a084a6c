from datetime import UTC, datetime

import pytest

from schemas.errors import InvalidCommand
from schemas.messages import Command

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_command_takes_the_pubsub_id_unless_it_brings_one() -> None:
    plain = Command.from_pubsub(b"x", {"deviceId": "a", "subFolder": "reboot"}, "77")
    assert (plain.command_id, plain.name, plain.expires_at) == ("77", "reboot", None)
    named = Command.from_pubsub(
        b"x",
        {
            "deviceId": "a",
            "commandId": "c-1",
            "commandName": "set/speed",
            "expiresAt": "2026-01-31T12:00:01Z",
            "contentType": "text/plain",
        },
        "77",
    )
    assert named.command_id == "c-1"
    assert named.seconds_left(NOON) == 1.0
    assert Command.from_pubsub(b"x", named.attributes(), "78") == named


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "deviceId is missing"),
        ({"deviceId": "a/+"}, "device id 'a/\\+'"),
        ({"deviceId": "a", "commandName": "#"}, "command name '#'"),
        ({"deviceId": "a", "commandId": "x/y"}, "command id 'x/y'"),
        ({"deviceId": "a", "expiresAt": "soon"}, "expiresAt: 'soon'"),
    ],
)
def test_an_invalid_command_says_why(attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidCommand, match=reason):
        Command.from_pubsub(b"", attributes, "77")
