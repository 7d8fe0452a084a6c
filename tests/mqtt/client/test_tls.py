from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import PubAckPacket, PublishPacket

from mqtt.client import BrokerAddress, Message, TlsFiles
from mqtt.errors import BrokerUnreachable, CertificateRejected
from tests.harness.certificates import Authority, server_context
from tests.mqtt.client.conftest import Connect, Subscribe
from tests.mqtt.client.scripted_broker import ScriptedBroker
from tests.mqtt.client.test_publisher import publishing

ONE_ATTEMPT: dict[str, Any] = {"backoff_initial_seconds": 30, "backoff_maximum_seconds": 30}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_private_authority_and_a_client_certificate(
    authority: Authority, publish: Connect, version: ssl.TLSVersion
) -> None:
    context = server_context(authority.sign("localhost"), clients=authority, version=version)
    ours = authority.sign("client")
    files = TlsFiles(ca_file=authority.file, certificate_file=ours.certificate, key_file=ours.key)
    with ScriptedBroker(tls=context) as broker:
        publisher = publish(broker.settings(tls=files))
        # Larger than a TLS record and than the socket's buffers.
        large = Message(topic="t", payload=bytes(range(256)) * 20_000)
        call = publishing(publisher, [large])
        peer, _ = broker.welcome()
        packet = peer.expect(PublishPacket)
        assert packet.payload == large.payload
        assert packet.packet_id is not None
        peer.send(PubAckPacket(packet.packet_id))
        assert call.result() == [0]


def test_messages_arrive_over_tls(authority: Authority, subscribe: Subscribe) -> None:
    with ScriptedBroker(tls=server_context(authority.sign("localhost"))) as broker:
        subscriber = subscribe(broker.settings(tls=TlsFiles(ca_file=authority.file)))
        peer, _ = broker.subscribed()
        payload = bytes(range(256)) * 4_000
        peer.publish(("a/1", payload), ("a/2", b"small"))
        got: list[bytes] = []
        while len(got) < 2:
            batch = subscriber.take(10, 5)
            assert batch is not None
            got += [packet.payload for packet in batch.packets]
            subscriber.acknowledge([batch])
        assert got == [payload, b"small"]
        assert [peer.expect(PubAckPacket).packet_id for _ in range(2)] == [1, 2]


def refused(broker: ScriptedBroker) -> None:
    """The broker's side of a handshake that fails."""
    with pytest.raises(OSError, match=r"SSL|reset|EOF|closed"):
        broker.accept()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_of_another_authority_is_not_trusted(
    authority: Authority, tmp_path: Path, subscribe: Subscribe, version: ssl.TLSVersion
) -> None:
    other = Authority(tmp_path, "other")
    with ScriptedBroker(tls=server_context(other.sign("localhost"), version=version)) as broker:
        subscriber = subscribe(broker.settings(tls=TlsFiles(ca_file=authority.file)))
        refused(broker)
        with pytest.raises(CertificateRejected, match=r"is not trusted.*give the CA") as told:
            subscriber.wait_ready(5)
        assert told.value.permanent


def test_a_broker_without_the_name_in_its_certificate_is_not_trusted(
    authority: Authority, subscribe: Subscribe
) -> None:
    with ScriptedBroker(tls=server_context(authority.sign("elsewhere.example"))) as broker:
        subscriber = subscribe(broker.settings(tls=TlsFiles(ca_file=authority.file)))
        refused(broker)
        with pytest.raises(CertificateRejected, match=r"Hostname mismatch.*'localhost'"):
            subscriber.wait_ready(5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("which", ["none", "of another authority"])
def test_a_client_certificate_that_is_refused_is_told(
    authority: Authority,
    tmp_path: Path,
    subscribe: Subscribe,
    version: ssl.TLSVersion,
    which: str,
) -> None:
    context = server_context(authority.sign("localhost"), clients=authority, version=version)
    files = TlsFiles(ca_file=authority.file)
    if which != "none":
        ours = Authority(tmp_path, "other").sign("client")
        files = TlsFiles(
            ca_file=authority.file, certificate_file=ours.certificate, key_file=ours.key
        )
    with ScriptedBroker(tls=context) as broker:
        subscriber = subscribe(broker.settings(tls=files))
        refused(broker)
        with pytest.raises(CertificateRejected, match="does it want a client certificate"):
            subscriber.wait_ready(5)


def test_a_plain_port_under_mqtts_is_told(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    plain = scripted.address
    address = BrokerAddress(plain.host, plain.port, tls=True)
    subscriber = subscribe(scripted.settings(addresses=(address,), **ONE_ATTEMPT))
    scripted.accept().close()
    with pytest.raises(BrokerUnreachable, match="check that port, scheme and TLS belong together"):
        subscriber.wait_ready(0.5)


def test_a_tls_port_under_mqtt_is_told(authority: Authority, subscribe: Subscribe) -> None:
    with ScriptedBroker(tls=server_context(authority.sign("localhost"))) as broker:
        address = BrokerAddress("localhost", broker.address.port, tls=False)
        subscriber = subscribe(broker.settings(addresses=(address,), **ONE_ATTEMPT))
        refused(broker)
        with pytest.raises(BrokerUnreachable, match="check that port, scheme and TLS"):
            subscriber.wait_ready(0.5)


def test_a_silent_port_under_mqtts_is_given_up_in_its_time(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    address = BrokerAddress("localhost", scripted.address.port, tls=True)
    subscriber = subscribe(
        scripted.settings(addresses=(address,), connect_timeout_seconds=0.3, **ONE_ATTEMPT)
    )
    with pytest.raises(BrokerUnreachable, match="timed out"):
        subscriber.wait_ready(1)


def test_a_certificate_file_that_is_not_there_is_named(
    scripted: ScriptedBroker, subscribe: Subscribe, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing.pem")
    address = BrokerAddress("localhost", scripted.address.port, tls=True)
    subscriber = subscribe(scripted.settings(addresses=(address,), tls=TlsFiles(ca_file=missing)))
    with pytest.raises(CertificateRejected, match=r"can't be used.*missing\.pem"):
        subscriber.wait_ready(5)


def test_a_certificate_goes_with_its_key() -> None:
    with pytest.raises(ValueError, match="needs its key"):
        TlsFiles(certificate_file="c.pem")
