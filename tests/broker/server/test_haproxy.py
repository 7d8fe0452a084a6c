"""Behind HAProxy: what it says of a client by PROXY protocol is what we read."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import ConnAckPacket, ConnectPacket

from broker.config import Listener
from localcloud.endpoints import free_ports
from tests.broker.auth.issuing import Issued, Issuer
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw
from tests.harness.certificates import Authority

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
_CONFIG = """\
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend plain
  bind 127.0.0.1:{plain}
  default_backend plain
frontend secured
  bind 127.0.0.1:{secured} ssl crt {server} ca-file {ca} verify optional
  default_backend secured
backend plain
  server broker 127.0.0.1:{broker} send-proxy-v2
backend secured
  server broker 127.0.0.1:{broker} send-proxy-v2-ssl-cn proxy-v2-options crc32c
"""


def haproxy() -> str:
    found = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if found is None:
        pytest.skip("haproxy is not installed")
    return found


class Proxy:
    def __init__(self, folder: Path, broker: Running) -> None:
        self.folder = folder
        self.clients = Issuer("devices")
        self.servers = Authority(folder, "servers")
        own = self.servers.sign("127.0.0.1")
        both = folder / "both.pem"
        both.write_text(Path(own.certificate).read_text() + Path(own.key).read_text())
        ca = folder / "clients.pem"
        ca.write_text(self.clients.pem)
        self.plain, self.secured = free_ports(2)
        self.config = folder / "haproxy.cfg"
        self.config.write_text(
            _CONFIG.format(
                plain=self.plain,
                secured=self.secured,
                server=both,
                ca=ca,
                broker=broker.port,
            )
        )

    @contextmanager
    def connect(self, *, tls: bool = False, issued: Issued | None = None) -> Iterator[Raw]:
        port = self.secured if tls else self.plain
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            if not tls:
                yield Raw(sock)
                return
            context = ssl.create_default_context(cafile=self.servers.file)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if issued is not None:
                context.load_cert_chain(*issued.files(self.folder, "client"))
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as wrapped:
                yield Raw(wrapped)


@pytest.fixture
def behind(start: Callable[..., Running], tmp_path: Path) -> Iterator[tuple[Running, Proxy]]:
    program = haproxy()
    listener = Listener(port=0, proxies=HERE, proxy_common_name="{name}")
    broker = start(listeners=(listener,))
    proxy = Proxy(tmp_path, broker)
    running = subprocess.Popen([program, "-db", "-f", str(proxy.config)], stderr=sys.stderr)
    try:

        def listening() -> bool:
            assert running.poll() is None, "haproxy ended"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", proxy.secured)) == 0

        eventually(listening)
        yield broker, proxy
    finally:
        running.terminate()
        running.wait(10)


def connack(client: Raw, client_id: str, **options: Any) -> int:
    client.send(ConnectPacket(client_id, clean_start=True, **options))
    answer = client.next()
    assert isinstance(answer, ConnAckPacket)
    return int(answer.reason_code)


def test_a_client_has_its_own_address(behind: tuple[Running, Proxy]) -> None:
    broker, proxy = behind
    with proxy.connect() as client:
        client.login(broker, "d1", "d1")
        own = client.socket.getsockname()
        (connection,) = [each for each in broker.server.core.connections if each.session]
        assert connection.peer == f"{own[0]}:{own[1]}"


def test_a_client_s_certificate_is_known_by_its_common_name(
    behind: tuple[Running, Proxy],
) -> None:
    broker, proxy = behind
    with proxy.connect(tls=True, issued=proxy.clients.issue("d1")) as client:
        assert connack(client, "d1") == 0
    with proxy.connect(tls=True, issued=proxy.clients.issue("nobody")) as client:
        assert connack(client, "d1") == 0x86
    with proxy.connect(tls=True) as client:
        assert connack(client, "d1") == 0x86
    password = broker.passwords["d1"].encode()
    with proxy.connect(tls=True) as client:
        assert connack(client, "d1", username="d1", password=password) == 0
