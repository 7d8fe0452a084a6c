"""TLS as the server speaks it: who may connect, what it costs, what happens at the end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mqtt5 import ConnAckPacket, ConnectPacket, DisconnectPacket, PingReqPacket, PingRespPacket
from OpenSSL import SSL

from broker.config import ClientCertificates, Listener, ListenerType
from broker.core.limits import Limits
from broker.errors import ConfigError
from broker.server.tls import tls_context
from tests.broker.auth.directory import CHEAP
from tests.broker.auth.issuing import Issued, Issuer
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, raw, tls_listener
from tests.harness.certificates import Authority

CA = Issuer("devices")
NONE, OPTIONAL, REQUIRED = ClientCertificates


class Site:
    """A TLS listener with clients' certificates, and a registry that knows some of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "servers")
        self.own = self.authority.sign("127.0.0.1")
        self.pinned = Issuer("anybody").issue("whatever")
        self.revoked = CA.issue("d1")
        devices = {
            "d1": {"password_hash": CHEAP.hash("right")},
            "pinned": {
                "credentials": [
                    {"type": "certificate", "fingerprint": self.pinned.fingerprint.hex()}
                ]
            },
        }
        authorities = {"site": {"pem": CA.pem, "revocation_list": CA.revocation_list(self.revoked)}}
        self.registry = folder / "own.yaml"
        self.registry.write_text(
            yaml.safe_dump({"version": 1, "devices": devices, "authorities": authorities})
        )

    def listener(self, kind: ClientCertificates, type: ListenerType = ListenerType.TLS) -> Listener:
        return Listener(
            type=type,
            port=0,
            certificate_file=Path(self.own.certificate),
            key_file=Path(self.own.key),
            client_certificates=kind,
        )

    def context(self, issued: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if issued is not None:
            context.load_cert_chain(*issued.files(self.folder, "client"))
        return context


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def connack(broker: Running, context: ssl.SSLContext, client_id: str, **options: object) -> int:
    with raw(broker, context) as client:
        client.send(ConnectPacket(client_id, clean_start=True, **options))  # type: ignore[arg-type]  # CONNECT's own fields
        answer = client.next()
        assert isinstance(answer, ConnAckPacket)
        return int(answer.reason_code)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_device_proves_itself_by_its_certificate(
    start: Callable[..., Running], site: Site, version: ssl.TLSVersion
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(OPTIONAL),))
    by_authority, by_fingerprint = site.context(CA.issue("d1")), site.context(site.pinned)
    for context in (by_authority, by_fingerprint):
        context.maximum_version = context.minimum_version = version
    assert connack(broker, by_authority, "d1") == 0
    assert connack(broker, by_authority, "d1", username="d1") == 0
    assert connack(broker, by_fingerprint, "pinned") == 0
    # For whom it is, and nobody else.
    assert connack(broker, by_fingerprint, "d1") == 0x85
    assert connack(broker, by_authority, "d1", username="pinned") == 0x86
    # A password is looked at alone.
    assert connack(broker, by_authority, "d1", username="d1", password=b"wrong") == 0x86


@pytest.mark.parametrize("kind", [OPTIONAL, REQUIRED])
def test_a_certificate_that_proves_nothing_is_told_by_mqtt(
    start: Callable[..., Running], site: Site, kind: ClientCertificates
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(kind),))
    for issued in (site.revoked, Issuer("devices").issue("d1"), CA.issue("d2")):
        assert connack(broker, site.context(issued), "d1") == 0x86


def test_without_a_certificate_the_handshake_fails_where_one_is_required(
    start: Callable[..., Running], site: Site
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(REQUIRED),))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connack(broker, site.context(), "d1", username="d1", password=b"right")
    # With one that is nobody's, a password proves who it is.
    stranger = site.context(Issuer("anybody").issue("x"))
    assert connack(broker, stranger, "d1", username="d1", password=b"right") == 0


def test_a_listener_that_asks_for_no_certificate_gets_none(
    start: Callable[..., Running], site: Site
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(NONE),))
    assert connack(broker, site.context(CA.issue("d1")), "d1") == 0x86
    assert connack(broker, site.context(), "d1", username="d1", password=b"right") == 0


def test_a_resumed_session_of_tls_still_has_its_certificate(
    start: Callable[..., Running], site: Site
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(OPTIONAL),))
    context = site.context(CA.issue("d1"))

    def connect(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", broker.port), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname="127.0.0.1", session=session) as wrapped,
        ):
            client = Raw(wrapped)
            client.send(ConnectPacket("d1", clean_start=True))
            answer = client.next()
            assert isinstance(answer, ConnAckPacket)
            assert int(answer.reason_code) == 0
            return bool(wrapped.session_reused), wrapped.session

    reused, session = connect(None)
    assert not reused
    assert connect(session)[0]


def test_tls_1_1_is_refused_by_us(site: Site) -> None:
    client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client.set_min_proto_version(SSL.TLS1_VERSION)
    client.set_max_proto_version(SSL.TLS1_1_VERSION)
    client.set_cipher_list(b"ALL:@SECLEVEL=0")
    asking = SSL.Connection(client, None)
    asking.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        asking.do_handshake()
    answering = SSL.Connection(tls_context(site.listener(NONE)), None)
    answering.set_accept_state()
    answering.bio_write(asking.bio_read(10_000))
    with pytest.raises(SSL.Error, match="unsupported protocol"):
        answering.do_handshake()


def test_what_is_no_tls_is_closed(start: Callable[..., Running], tmp_path: Path) -> None:
    listener, _ = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    with raw(broker) as client:
        client.send(ConnectPacket("d1"))
        assert client.ends()
    eventually(lambda: not broker.server.core.connections)


def test_a_handshake_has_the_time_that_connect_has(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,), limits=Limits(connect_timeout_seconds=1))
    began = time.monotonic()
    with raw(broker) as silent, raw(broker, context) as shaken:
        assert silent.ends()
        assert shaken.ends()
    assert 0.9 < time.monotonic() - began < 5


def test_a_connection_counts_from_its_first_byte(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    listener, _ = tls_listener(tmp_path)
    broker = start(listeners=(listener,), limits=Limits(connections=1))
    with raw(broker), raw(broker) as second:
        assert second.ends()


def test_both_sides_say_that_tls_ends(start: Callable[..., Running], tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    with raw(broker, context) as client:
        client.login(broker, "d1", "d1")
        client.send(DisconnectPacket())
        # Without close_notify this would raise SSLEOFError.
        assert client.socket.recv(100) == b""
    with raw(broker, context) as client:
        client.login(broker, "d1", "d1")
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.unwrap()
        eventually(lambda: not broker.server.core.connections)


def test_a_client_that_goes_on_sending_reads_why_it_was_disconnected(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    with raw(broker, context) as client:
        client.login(broker, "d1", "d1")
        client.send(ConnectPacket("d1"))
        eventually(lambda: not broker.server.core.connections)
        for _ in range(5):
            client.send(PingReqPacket())
            time.sleep(0.002)
        goodbye = client.next()
        assert isinstance(goodbye, DisconnectPacket)
        assert int(goodbye.reason_code) == 0x82


def test_records_may_come_byte_by_byte(start: Callable[..., Running], tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with raw(broker) as client:

        def send() -> None:
            for byte in outgoing.read():
                client.socket.sendall(bytes((byte,)))

        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                send()
                incoming.write(client.socket.recv(65_536))
        password = broker.passwords["d1"].encode()
        tls.write(ConnectPacket("d1", username="d1", password=password).write())
        send()
        while True:
            try:
                assert tls.read(4)[:1] == b"\x20"
                break
            except ssl.SSLWantReadError:
                incoming.write(client.socket.recv(65_536))


def test_certificates_are_reloaded_and_bad_ones_are_not(
    start: Callable[..., Running], site: Site
) -> None:
    broker = start(registry_file=site.registry, listeners=(site.listener(NONE),))
    (listener,) = broker.server._listeners

    async def reload() -> None:
        listener.reload()

    def serial(client: Raw) -> str:
        assert isinstance(client.socket, ssl.SSLSocket)
        certificate = client.socket.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])

    with raw(broker, site.context()) as early:
        first = serial(early)
        site.own = site.authority.sign("127.0.0.1")
        broker.call(reload())
        with raw(broker, site.context()) as late:
            second = serial(late)
            assert second != first
        # The open connection goes on.
        early.send(ConnectPacket("d1", username="d1", password=b"right"))
        assert isinstance(early.next(), ConnAckPacket)
        early.send(PingReqPacket())
        assert isinstance(early.next(), PingRespPacket)
    Path(site.own.key).write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used"):
        broker.call(reload())
    with raw(broker, site.context()) as later:
        assert serial(later) == second


def test_idle_connections_cost_little(start: Callable[..., Running], tmp_path: Path) -> None:
    """The promise is 60 KiB; here the client's side is in the process, too."""
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,), limits=Limits(connections=400))

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096

    async def connect(count: int) -> list[asyncio.StreamWriter]:
        writers = []
        for _ in range(count):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", broker.port, ssl=context, limit=1_024
            )
            writers.append(writer)
        return writers

    if not Path("/proc/self/statm").exists():
        pytest.skip("there is no /proc here")
    loop = asyncio.new_event_loop()
    try:
        writers = loop.run_until_complete(connect(20))
        before = resident_bytes()
        writers += loop.run_until_complete(connect(200))
        # asyncio's own TLS, at the client's side, takes 278 KiB; on both sides it was 550.
        assert (resident_bytes() - before) / 200 < 360 * 1024
        for writer in writers:
            writer.transport.abort()
        loop.run_until_complete(asyncio.sleep(0.05))
    finally:
        loop.close()
