"""Who is connected by a certificate that is revoked goes within a second of the new list."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from mqtt5 import ConnAckPacket, ConnectPacket, DisconnectPacket, PingReqPacket, PingRespPacket

from broker.auth.identity import Authority
from broker.config import ClientCertificates, Listener, ListenerType
from broker.registry.entries import Entry
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.auth.issuing import Issued, Issuer
from tests.broker.server.conftest import Running
from tests.broker.server.raw_client import Raw, raw
from tests.cli.commandline import mqttbeam
from tests.harness import certificates

SECOND = 1.0


def connected(client: Raw, name: str) -> bool:
    client.send(ConnectPacket(name, clean_start=True))
    answer = client.next()
    return isinstance(answer, ConnAckPacket) and int(answer.reason_code) == 0


def test_a_certificate_that_the_command_line_revokes_ends_its_connection_and_no_other(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    devices, servers = Issuer("devices"), certificates.Authority(tmp_path, "servers")
    own = servers.sign("127.0.0.1")
    url = registry_url("sqlite:///registry.db", folder=tmp_path)
    registry = SqlRegistry(url)
    registry.edit("d1", lambda _: Entry(name="d1"))
    registry.edit("d2", lambda _: Entry(name="d2"))
    registry.put_authority("site", Authority(id="site", pem=devices.pem))
    registry.close()
    listener = Listener(
        type=ListenerType.TLS,
        port=0,
        certificate_file=Path(own.certificate),
        key_file=Path(own.key),
        client_certificates=ClientCertificates.REQUIRED,
    )
    broker = start(registry_file=None, registry_url=url, listeners=(listener,))

    def context(issued: Issued, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=servers.file)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(*issued.files(tmp_path, name))
        return context

    revoked, kept = devices.issue("d1"), devices.issue("d2")
    with (
        raw(broker, context(revoked, "d1")) as first,
        raw(broker, context(kept, "d2")) as second,
    ):
        assert connected(first, "d1")
        assert connected(second, "d2")
        (tmp_path / "ca.crl").write_text(devices.revocation_list(revoked))
        command = ("devices", "authorities", "set", "site", "--revocation-list", "ca.crl")
        assert mqttbeam(*command, cwd=tmp_path).returncode == 0
        first.socket.settimeout(SECOND)
        goodbye = first.next()
        assert isinstance(goodbye, DisconnectPacket)
        assert int(goodbye.reason_code) == 0x87
        second.send(PingReqPacket())
        assert isinstance(second.next(), PingRespPacket)
    with raw(broker, context(revoked, "d1")) as again:
        assert not connected(again, "d1")
