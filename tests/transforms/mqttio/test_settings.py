from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import apache_beam as beam
import jwt
import pytest
from apache_beam.transforms.window import FixedWindows
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mqtt.client import BrokerAddress, LeavingSubscriber
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter
from transforms.mqttio import (
    BrokerSettings,
    Login,
    MqttShard,
    PublishResult,
    ReadFromMqtt,
    WriteToMqtt,
)
from transforms.mqttio.subscriptions import SubscriptionSettings, subscription
from transforms.secrets import SecretRef

BROKER = BrokerSettings(
    addresses=(BrokerAddress("h", 1883, False),),
    username="u",
    password=SecretRef("env:PASSWORD"),
)


def read(**changes: Any) -> ReadFromMqtt:
    return ReadFromMqtt(**{"broker": BROKER, "client_id": "c", "topics": ["a/#"], **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": ""}, "client_id '': must be the same at every start"),
        ({"client_id": "a/b"}, "client_id 'a/b'"),
        ({"topics": []}, "at least one topic filter"),
        ({"topics": ["a/#/b"]}, "'#' must be a whole level and the last one"),
        ({"topics": ["a/#", "a/+"]}, "'a/#' and 'a/\\+' overlap"),
        ({"topics": ["$share/g/a"]}, "without \\$share"),
        ({"shards": 0}, "shards: must be 1 or more"),
        ({"shards": 2, "shared": False}, "more than one needs a shared subscription"),
        ({"shards": 2, "shards_before": 2}, "must be more than the 2 shards that there are now"),
        ({"session_expiry_seconds": 0}, "would lose what arrives while we are away"),
        ({"event_time_lag_seconds": -1}, "event_time_lag_seconds: must be 0 or more"),
        ({"lists": True, "event_time": float}, "lists are stamped with their receipt"),
    ],
)
def test_a_read_that_cant_work_is_refused_when_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": ""}, "client_id: must not be empty"),
        ({"maximum_in_flight": 0}, "maximum_in_flight: must be 1 to 65,535"),
        ({"retry_seconds": 0}, "retry_seconds: must be more than 0"),
    ],
)
def test_a_write_that_cant_work_is_refused_when_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WriteToMqtt(**{"broker": BROKER, "client_id": "c", **changes})


def test_a_write_refuses_windows() -> None:
    pipeline = beam.Pipeline()
    windowed = pipeline | beam.Create([1]) | beam.WindowInto(FixedWindows(1))
    with pytest.raises(ValueError, match="takes the global window"):
        _ = windowed | WriteToMqtt(broker=BROKER, client_id="c")


def test_certificates_without_tls_are_refused() -> None:
    with pytest.raises(ValueError, match="of use only with mqtts://, not with mqtt://h:1883"):
        BrokerSettings(addresses=BROKER.addresses, ca=SecretRef("file:ca"))
    with pytest.raises(ValueError, match="give both or neither"):
        BrokerSettings(addresses=BROKER.addresses, key=SecretRef("file:key"))


def test_settings_travel_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    pickled = pickle.dumps(BROKER)
    assert b"hunter2" not in pickled
    assert pickle.loads(pickled) == BROKER
    connection = BROKER.connection("c")
    assert connection.password is not None
    assert connection.password() == b"hunter2"
    assert "hunter2" not in repr((BROKER, connection))


def test_each_shard_has_its_client_id_at_every_start() -> None:
    shards = list(MqttShard("c", shards=3).split(20))
    assert [(item.client_id, item.shard) for item in shards] == [("c", 0), ("c", 1), ("c", 2)]
    assert list(shards[1].split(20)) == [shards[1]]
    settings = SubscriptionSettings(
        broker=BROKER, client_id="c", filters=(TopicFilter("a"),), shards=3, shared=True
    )
    assert [settings.shard_client_id(item) for item in range(3)] == ["c-0", "c-1", "c-2"]


def test_a_source_that_nobody_registered_says_how_to_read_it() -> None:
    with pytest.raises(LookupError, match=r"'nobody'.*through ReadFromMqtt"):
        subscription("nobody", 0)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (0x00, PublishResult("accepted", 0x00, "")),
        (0x10, PublishResult("no_subscriber", 0x10, "nobody subscribes to the topic")),
        (0x87, PublishResult("rejected", 0x87, "not authorized")),
        (0x90, PublishResult("rejected", 0x90, "topic name invalid")),
        (0x95, PublishResult("rejected", 0x95, "larger than the broker takes")),
        (0x97, PublishResult("rejected", 0x97, "quota exceeded")),
        (0x9A, PublishResult("rejected", 0x9A, "the broker retains no messages")),
        (0xFE, PublishResult("rejected", 0xFE, "reason unknown")),
    ],
)
def test_a_reason_code_is_told_in_words(code: int, result: PublishResult) -> None:
    assert PublishResult.of(code) == result


def test_the_broker_s_own_words_stand_behind_ours_and_are_no_flood() -> None:
    assert PublishResult.of(0x87, "x").reason == "not authorized; the broker says: x"
    assert len(PublishResult.of(0x87, "x" * 65_535).reason) < 400


def test_one_client_id_is_read_once_in_a_pipeline() -> None:
    pipeline = beam.Pipeline()
    for client_id in ("a", "b"):
        _ = pipeline | client_id >> read(client_id=client_id)
    with pytest.raises(ValueError, match="'a' is read twice"):
        _ = pipeline | "again" >> read(client_id="a", topics=["b/#"])


def test_every_shard_that_there_was_is_read_and_those_that_go_are_left() -> None:
    made = SubscriptionSettings(
        broker=dataclasses.replace(BROKER, password=None),
        client_id="c",
        filters=(TopicFilter.parse("a/#"),),
        shards=2,
        shards_before=4,
        shared=True,
    )
    assert [source.shard for source in MqttShard("c", shards=made.all_shards).split(1)] == [
        *(0, 1, 2, 3)
    ]
    # An updated job has shards of before in its restrictions, whatever it is told.
    opened = [made.subscriber(shard) for shard in range(5)]
    for subscriber in opened:
        subscriber.close()
    assert [isinstance(subscriber, LeavingSubscriber) for subscriber in opened] == [
        *(False, False, True, True, True)
    ]


def test_a_token_is_signed_with_the_key_that_the_reference_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    monkeypatch.setenv("PASSWORD", pem.decode())
    settings = dataclasses.replace(BROKER, login=Login.TOKEN, token_audience="us")
    assert b"PRIVATE KEY" not in pickle.dumps(settings)
    connection = settings.connection("c")
    assert connection.password is not None
    token = connection.password().decode()
    claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], audience="us")
    # A connection ends with its token, so it is for as long as brokers take.
    assert claims["exp"] - claims["iat"] == 24 * 3600


def test_scram_is_handed_on() -> None:
    settings = dataclasses.replace(BROKER, username="u", login=Login.SCRAM)
    assert settings.connection("c").scram
    assert not BROKER.connection("c").scram


@pytest.mark.parametrize(
    "changes",
    [
        {"login": Login.SCRAM, "username": None},
        {"login": Login.SCRAM, "username": "u", "protocol": ProtocolVersion.V311},
        {"login": Login.SCRAM, "username": "u", "password": None},
        {"login": Login.TOKEN},
        {"login": Login.TOKEN, "token_audience": "us", "password": None},
        {"token_audience": "us"},
        {"scram_again_seconds": 60.0},
    ],
)
def test_a_login_without_what_it_needs_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="login"):
        dataclasses.replace(BROKER, **changes)
