"""What an idle connection costs the broker's process: ``python -m bench.connections``.

Starts the embedded broker with a listener of each type, connects devices with a subscription to
their own commands each, and prints by how much the server's resident memory grew, in KiB for each.
The devices log in by password, and over TLS they may also show a certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ipaddress
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mqtt5 import ConnectPacket, SubscribePacket, TopicFilter

from bench.processes import own_broker
from broker.registry import generate
from broker.server.open_files import allow_open_files

_CONFIG = """\
listeners:
  - {type: tcp, port: 0}
  - {type: tls, port: 0, certificate_file: server.pem, key_file: server.key,
     client_certificates: optional}
registry: {file: registry.yaml}
log: {level: warning}
"""
_KINDS = ("tcp", "tls", "tls with a certificate")
_AT_ONCE = 50
_SETTLED_SECONDS = 1.0


class _Device(asyncio.Protocol):
    """One device with no buffers of its own: the memory of this process is not what is measured."""

    def __init__(self, name: str, password: str, tls: ssl.SSLContext | None) -> None:
        self._name = name
        self._password = password
        self.ready = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._got = b""
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._is_shaken = tls is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._is_shaken:
            self._log_in()
        else:
            self._shake()

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            self._incoming.write(data)
            if not self._is_shaken and not self._shake():
                return
            try:
                while chunk := self._tls.read(65_536):
                    self._got += chunk
            except ssl.SSLWantReadError:
                pass
        else:
            self._got += data
        # CONNACK with success, then SUBACK.
        if self._got[:1] == b"\x20" and b"\x90" in self._got and not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"{self._name} was refused: {exc}"))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def _shake(self) -> bool:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
            self._is_shaken = True
        except ssl.SSLWantReadError:
            pass
        self._flush()
        if self._is_shaken:
            self._log_in()
        return self._is_shaken

    def _log_in(self) -> None:
        connect = ConnectPacket(
            self._name, username=self._name, password=self._password.encode(), clean_start=True
        )
        subscribe = SubscribePacket(1, [TopicFilter(f"devices/{self._name}/commands/#")])
        data = connect.write() + subscribe.write()
        assert self._transport is not None
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)
            self._flush()

    def _flush(self) -> None:
        assert self._transport is not None
        if out := self._outgoing.read():
            self._transport.write(out)


def main() -> None:
    """Measures each kind, and prints one line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.connections", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="connections of each kind")
    options = parser.parse_args()
    allow_open_files(options.count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context, certified = _tls(folder)
        for kind in _KINDS:
            tls = {"tcp": None, "tls": context}.get(kind, certified)
            with _broker(folder, options.count) as (process, ports, passwords):
                port = ports["mqtt" if kind == "tcp" else "mqtts"]
                each, seconds = asyncio.run(_measure(process, port, passwords, tls))
            rate = options.count / seconds
            print(f"{kind}: {each / 1024:.1f} KiB each, {rate:.0f} connected a second", flush=True)


async def _measure(
    process: psutil.Process, port: int, passwords: dict[str, str], tls: ssl.SSLContext | None
) -> tuple[float, float]:
    """Bytes a connection, and how long connecting all took."""
    loop = asyncio.get_running_loop()
    names = list(passwords)
    devices: list[_Device] = []

    async def connect(some: list[str]) -> None:
        made = []
        for name in some:
            _, device = await loop.create_connection(
                partial(_Device, name, passwords[name], tls), "127.0.0.1", port
            )
            made.append(device)
        devices.extend(made)
        await asyncio.gather(*(device.ready for device in made))

    # The first ones make the server load and allocate what it needs once.
    await connect(names[:_AT_ONCE])
    await asyncio.sleep(_SETTLED_SECONDS)
    before, began = process.memory_info().rss, time.monotonic()
    rest = names[_AT_ONCE:]
    for start in range(0, len(rest), _AT_ONCE):
        await connect(rest[start : start + _AT_ONCE])
    seconds = time.monotonic() - began
    await asyncio.sleep(_SETTLED_SECONDS)
    grown = process.memory_info().rss - before
    for device in devices:
        device.close()
    return grown / len(rest), seconds


@contextmanager
def _broker(
    folder: Path, count: int
) -> Iterator[tuple[psutil.Process, dict[str, int], dict[str, str]]]:
    names = [f"idle-{number:06d}" for number in range(count + _AT_ONCE)]
    passwords = generate(folder / "registry.yaml", devices=names)
    config = folder / "broker.yaml"
    config.write_text(_CONFIG)
    with own_broker(config) as (pid, urls):
        ports = {url.split(":")[0]: int(url.rsplit(":", 1)[1]) for url in urls}
        yield psutil.Process(pid), ports, passwords


def _tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of clients without and with a certificate; the server's files go into ``folder``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_file = folder / "server.pem", folder / "server.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    contexts = ssl.create_default_context(cafile=pem), ssl.create_default_context(cafile=pem)
    for context in contexts:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    contexts[1].load_cert_chain(pem, key_file)
    return contexts


if __name__ == "__main__":
    main()
