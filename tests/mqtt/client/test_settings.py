from __future__ import annotations

from typing import Any

import pytest

from mqtt.client import BrokerAddress, ConnectionSettings
from mqtt.codec import ProtocolVersion

ADDRESS = BrokerAddress("localhost", 1883, False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://h", BrokerAddress("h", 1883, False)),
        ("tcp://h", BrokerAddress("h", 1883, False)),
        ("mqtts://h", BrokerAddress("h", 8883, True)),
        ("ssl://h", BrokerAddress("h", 8883, True)),
        ("MQTTS://H.example/", BrokerAddress("h.example", 8883, True)),
        ("mqtt://10.0.0.1:99", BrokerAddress("10.0.0.1", 99, False)),
        ("ws://h", BrokerAddress("h", 80, False, "/mqtt")),
        ("wss://h:8443/a/b", BrokerAddress("h", 8443, True, "/a/b")),
        ("ws://h/", BrokerAddress("h", 80, False, "/")),
        ("mqtt://[::1]:99", BrokerAddress("::1", 99, False)),
    ],
)
def test_an_address_is_read(url: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == address


@pytest.mark.parametrize(
    "url", ["mqtt://h:1", "mqtts://h:2", "mqtt://[::1]:3", "ws://h:4/a", "wss://h:5/mqtt"]
)
def test_an_address_is_shown_as_it_is_written(url: str) -> None:
    assert str(BrokerAddress.parse(url)) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h", "the scheme must be mqtt:// or tcp://"),
        ("h:1883", "the scheme must be"),
        ("", "the scheme must be"),
        ("mqtt://", "must be SCHEME://HOST"),
        ("mqtt://:1883", "must be SCHEME://HOST"),
        ("mqtt://h/path", "must be SCHEME://HOST"),
        ("ws://h/mqtt?x=1", r"must be SCHEME://HOST\[:PORT\]\[/PATH\]"),
        ("mqtt://h?x=1", "must be SCHEME://HOST"),
        ("mqtt://h#x", "must be SCHEME://HOST"),
        ("mqtt://h:0", "the port must be 1 to 65535"),
        ("mqtt://h:65536", "the port must be 1 to 65535"),
        ("mqtt://h:port", "the port must be 1 to 65535"),
        ("mqtt://[::1", "must be SCHEME://HOST"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BrokerAddress.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://someone:hunter2@h",
        "http://someone:hunter2@h",
        "mqtt://someone:hunter2/x@h",
        "someone:hunter2@h",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="options of their own") as refused:
        BrokerAddress.parse(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"addresses": ()}, "at least one broker address"),
        ({"client_id": ""}, "client_id: must not be empty"),
        ({"client_id": "x" * 65_536}, "client_id: at most 65,535 bytes"),
        ({"keep_alive_seconds": 0}, "keep_alive_seconds: must be 1 to 65535, got 0"),
        ({"receive_maximum": 65_536}, "receive_maximum: must be 1 to 65535, got 65536"),
        ({"session_expiry_seconds": -1}, "session_expiry_seconds: must be 0 to"),
        ({"maximum_packet_bytes": 1}, "maximum_packet_bytes: must be 64 to"),
        ({"connect_timeout_seconds": 0}, "connect_timeout_seconds: must be more than 0"),
        ({"stable_seconds": -1}, "stable_seconds: must be more than 0"),
        (
            {"protocol": ProtocolVersion.V311, "password": lambda: b"x"},
            "only together with a username",
        ),
    ],
)
def test_settings_that_cant_work_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ConnectionSettings(**{"addresses": (ADDRESS,), "client_id": "c", **changes})


def test_a_password_is_never_shown() -> None:
    settings = ConnectionSettings(
        addresses=(ADDRESS,), client_id="c", username="u", password=lambda: b"hunter2"
    )
    assert "password" not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_a_changed_copy_is_checked_too() -> None:
    settings = ConnectionSettings(addresses=(ADDRESS,), client_id="c")
    with pytest.raises(ValueError, match="keep_alive_seconds"):
        settings.replace(keep_alive_seconds=0)
