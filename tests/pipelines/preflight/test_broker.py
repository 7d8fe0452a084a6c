"""A broker is looked at by a connection of its own, which takes nothing from the pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mqtt5 import DisconnectPacket, SubAckPacket, SubAckReasonCode, SubscribePacket

from localcloud.endpoints import free_ports
from mqtt.client import BrokerAddress, Message, Publisher, Subscriber
from mqtt.topics import TopicFilter
from pipelines.preflight import Access, Broker, Finding, Outcome
from pipelines.preflight.broker import examine_broker
from tests.harness import brokers
from tests.harness.certificates import Authority
from tests.harness.google_apis import GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess
from tests.harness.processes import Processes
from tests.mqtt.client.scripted_broker import ScriptedBroker
from transforms.mqttio import BrokerSettings
from transforms.secrets import SecretRef

SECRET = "projects/my-project/secrets/mqtt-password"
FILTER = "devices/+/telemetry/#"


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[brokers.Broker, BrokerAddress, Authority]]:
    """Our own broker, its TLS listener, which is `127.0.0.1` by its certificate, and the CA."""
    folder = tmp_path_factory.mktemp("broker")
    authority = Authority(folder, "authority")
    signed = authority.sign("127.0.0.1")
    (port,) = free_ports(1)
    tls = (
        f"{{type: tls, host: 127.0.0.1, port: {port}, certificate_file: {signed.certificate},"
        f" key_file: {signed.key}}}"
    )
    with Processes(folder) as processes:
        broker = brokers.start_own(
            processes,
            folder,
            devices=("d1",),
            listeners=("{type: tcp, host: 127.0.0.1, port: 0}", tls),
        )
        yield broker, BrokerAddress("127.0.0.1", port, tls=True), authority


@pytest.fixture
def settings(
    running: tuple[brokers.Broker, BrokerAddress, Authority], tmp_path: Path
) -> BrokerSettings:
    """The plain listener, as the telemetry pipeline's user."""
    broker, _, _ = running
    file = tmp_path / "password"
    file.write_text(broker.passwords["telemetry"])
    return BrokerSettings(
        addresses=(BrokerAddress(broker.host, broker.port, tls=False),),
        username="telemetry",
        password=SecretRef(f"file:{file}"),
    )


def need(settings: BrokerSettings, *filters: str, shared: bool = False) -> Broker:
    return Broker(
        settings=settings, client_id="telemetry", filters=filters or (FILTER,), shared=shared
    )


def looked(need: Broker, access: Access, *, in_network: bool = False) -> list[Finding]:
    return list(examine_broker(need, access, seconds=10, in_network=in_network))


def test_a_broker_that_takes_credential_and_filters(
    settings: BrokerSettings, access: MakeAccess
) -> None:
    findings = looked(need(settings, FILTER, "devices/+/state"), access())
    assert [finding.outcome for finding in findings] == [Outcome.OK] * 3
    assert findings[0].resource == str(settings.addresses[0])


def test_each_filter_that_is_refused_is_named_and_the_others_are_not(
    settings: BrokerSettings, access: MakeAccess
) -> None:
    findings = looked(need(settings, "secret/#", FILTER, "$SYS/#", shared=True), access())
    refused = [each.asked for each in findings if each.outcome is Outcome.FAILED]
    assert refused == [
        "lets telemetry subscribe to secret/#",
        "lets telemetry subscribe to $SYS/#",
    ]
    assert findings[-1].asked == f"lets telemetry subscribe to {FILTER}"
    assert findings[-1].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"hunter2", ""),
        (b"{password}\n", "; the secret ends with a line end, which is sent along"),
        (b"", "; the secret is empty"),
        (b"\xff\xfeh\x00", "; the secret is no UTF-8 text, and is sent byte by byte as it is"),
    ],
    ids=["wrong", "with a line end", "empty", "no text"],
)
def test_a_password_that_is_refused_is_mended_by_another_version_of_its_secret(
    apis: GoogleApis,
    access: MakeAccess,
    running: tuple[brokers.Broker, BrokerAddress, Authority],
    settings: BrokerSettings,
    wrong: bytes,
    why: str,
) -> None:
    password = running[0].passwords["telemetry"].encode()
    apis.rights[ACCOUNT, f"v1/{SECRET}"] = {"secretmanager.versions.access"}
    managed = dataclasses.replace(settings, password=SecretRef.parse(SECRET))
    apis.secrets[f"{SECRET}/versions/latest"] = ("ENABLED", password)
    assert looked(need(managed), access())[0].outcome is Outcome.OK
    apis.secrets[f"{SECRET}/versions/latest"] = (
        "ENABLED",
        wrong.replace(b"{password}", password),
    )
    (finding,) = looked(need(managed), access())
    assert finding.outcome is Outcome.FAILED
    assert "wrong user name or password" in finding.words
    assert finding.words.partition("; the secret")[1:] == why.partition("; the secret")[1:]
    assert finding.command == (
        'printf %s "$PASSWORD" | gcloud secrets versions add mqtt-password --project=my-project'
        " --data-file=-"
    )
    assert "hunter2" not in str(finding)
    assert password.decode() not in str(finding)


def test_a_secret_that_can_t_be_read_leaves_the_credential_untold(
    settings: BrokerSettings, access: MakeAccess
) -> None:
    managed = dataclasses.replace(settings, password=SecretRef.parse(SECRET))
    (finding,) = looked(need(managed), access())
    assert finding.outcome is Outcome.UNKNOWN
    assert SECRET in finding.words


def test_what_can_t_be_reached_may_be_from_the_workers_network(
    settings: BrokerSettings, access: MakeAccess
) -> None:
    nobody = BrokerAddress("127.0.0.1", free_ports(1)[0], tls=False)
    both = dataclasses.replace(settings, addresses=(nobody, *settings.addresses))
    findings = list(examine_broker(need(both), access(), seconds=2, in_network=False))
    # One address that is away does not hide the other.
    assert [str(each.outcome) for each in findings] == ["ok", "ok", "unknown"]
    assert findings[-1].resource == str(nobody)
    assert "--in-network" in findings[-1].words


def test_in_the_workers_network_an_address_out_of_reach_fails_if_it_is_the_only_one(
    settings: BrokerSettings, access: MakeAccess
) -> None:
    nobody = BrokerAddress("127.0.0.1", free_ports(1)[0], tls=False)
    both = dataclasses.replace(settings, addresses=(nobody, *settings.addresses))
    findings = list(examine_broker(need(both), access(), seconds=2, in_network=True))
    assert [str(each.outcome) for each in findings] == ["ok", "ok", "warning"]
    alone = dataclasses.replace(settings, addresses=(nobody,))
    (finding,) = examine_broker(need(alone), access(), seconds=1, in_network=True)
    assert (finding.resource, finding.outcome) == (str(nobody), Outcome.FAILED)


def test_a_certificate_of_another_authority_or_for_another_name_is_refused(
    running: tuple[brokers.Broker, BrokerAddress, Authority],
    settings: BrokerSettings,
    access: MakeAccess,
    tmp_path: Path,
) -> None:
    _, address, authority = running
    ca = SecretRef(f"file:{authority.file}")
    over_tls = dataclasses.replace(settings, addresses=(address,), ca=ca)
    assert {each.outcome for each in looked(need(over_tls), access())} == {Outcome.OK}
    other = SecretRef(f"file:{Authority(tmp_path, 'other').file}")
    (finding,) = looked(need(dataclasses.replace(over_tls, ca=other)), access())
    assert finding.outcome is Outcome.FAILED
    assert "not trusted" in finding.words
    renamed = dataclasses.replace(address, host="localhost")
    (finding,) = looked(need(dataclasses.replace(over_tls, addresses=(renamed,))), access())
    assert finding.outcome is Outcome.FAILED
    assert "Hostname mismatch" in finding.words


def test_no_message_is_taken_from_the_pipeline_that_runs(
    settings: BrokerSettings,
    access: MakeAccess,
    running: tuple[brokers.Broker, BrokerAddress, Authority],
) -> None:
    pipeline = Subscriber(
        settings.connection("telemetry-0", session_expiry_seconds=60),
        [TopicFilter(FILTER, share="telemetry")],
    )
    device = Publisher(
        BrokerSettings(addresses=settings.addresses, username="d1")
        .connection("d1")
        .replace(password=running[0].passwords["d1"].encode)
    )
    try:
        pipeline.wait_ready(10)
        device.wait_ready(10)
        messages = [Message(topic="devices/d1/telemetry", payload=b"%d" % n) for n in range(200)]
        sending = device.open(timeout_seconds=20)
        sending.add(messages[:100])
        findings = looked(need(settings, shared=True), access())
        sending.add(messages[100:])
        assert not any(sending.wait())
        assert {each.outcome for each in findings} == {Outcome.OK}
        got: list[bytes] = []
        while len(got) < len(messages):
            batch = pipeline.take(1_000, 5)
            assert batch is not None, f"{len(got)} of {len(messages)} came"
            got += [packet.payload for packet in batch.packets]
            pipeline.acknowledge([batch])
        assert sorted(map(int, got)) == list(range(200))
        # It was connected once, all the while.
        assert pipeline.link.counters.drain()["connects"] == 1
    finally:
        device.close()
        pipeline.close()


def test_the_probe_s_connection_is_its_own_and_leaves_nothing(access: MakeAccess) -> None:
    with ScriptedBroker() as broker, ThreadPoolExecutor(1) as pool:
        settings = BrokerSettings(addresses=(broker.address,), username="telemetry")
        looking = pool.submit(looked, need(settings, FILTER, shared=True), access())
        broker.welcome()  # the credential; then the filters
        peer, connect = broker.welcome()
        subscribe = peer.expect(SubscribePacket)
        peer.send(SubAckPacket(subscribe.packet_id, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]))
        peer.publish(("devices/d1/telemetry", b"a copy"))
        assert {finding.outcome for finding in looking.result(10)} == {Outcome.OK}
        assert (connect.client_id, connect.clean_start) == ("telemetry-preflight", True)
        assert not connect.session_expiry_interval
        assert connect.receive_max == 1
        (asked,) = subscribe.topic_filters
        # In the pipeline's own group, `telemetry`, it would be dealt messages and take them along.
        assert asked.pattern == f"$share/telemetry-preflight/{FILTER}"
        # The copy is not acknowledged, and the goodbye is one without a will.
        assert isinstance(peer.next(), DisconnectPacket)


def test_the_right_to_publish_is_not_tried(settings: BrokerSettings, access: MakeAccess) -> None:
    commands = Broker(
        settings=settings, client_id="telemetry", publishes="devices/DEVICE/commands/#"
    )
    connected, publish = looked(commands, access())
    assert connected.outcome is Outcome.OK
    assert publish.outcome is Outcome.UNKNOWN
    assert "not tried" in publish.words
