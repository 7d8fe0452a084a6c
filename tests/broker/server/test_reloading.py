"""SIGHUP: what may change changes at once, all of it or nothing, and the rest is told."""

from __future__ import annotations

import logging
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker.config import BrokerConfig, Listener, ListenerType, LogLevel
from broker.config_file import load_config
from broker.core.limits import LIVE, Limits, QueueLimits, live
from broker.registry import generate
from broker.server import Server
from broker.server.reloading import LIVE_SETTINGS
from tests.broker.core.harness import House
from tests.broker.server.conftest import Running, eventually
from tests.harness.certificates import Authority
from tests.harness.processes import Processes


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """As it was before the server configured it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@dataclass
class Reloaded:
    """A server with one plain listener, and its file."""

    running: Running
    path: Path

    @property
    def server(self) -> Server:
        return self.running.server

    def by(self, text: str) -> bool:
        """Whether it takes up a file of this text."""
        given = "listeners: [{port: 0}]\nregistry: {file: registry0.yaml}\n"
        self.path.write_text(given + text)
        return self.running.call(self.server.reload(self.path))


@pytest.fixture
def reloaded(start: Callable[..., Running], tmp_path: Path) -> Reloaded:
    return Reloaded(start(), tmp_path / "broker.yaml")


def test_what_may_change_changes_and_the_rest_is_told(reloaded: Reloaded) -> None:
    server = reloaded.server
    assert reloaded.by(
        "limits: {connections: 7, service_queue: {messages: 9}, receive_maximum: 3}\n"
        "log: {level: error}\nsystem_topics_seconds: 0\nhealth: {port: 0}\n"
    )
    assert server.core.limits.connections == 7
    assert server.core.sessions.limits.service_queue.messages == 9
    assert server.core.limits.receive_maximum == Limits().receive_maximum
    assert logging.getLogger().level == logging.ERROR
    assert server.health_url is None
    assert server._config.log_level is LogLevel.ERROR
    assert server._config.health is None


def test_what_is_wrong_is_refused_whole(reloaded: Reloaded, tmp_path: Path) -> None:
    server = reloaded.server
    before = server._config
    assert not reloaded.by("limits: {connections: 7, topic_levels: 0}\nlog: {level: error}")
    registry = tmp_path / "registry0.yaml"
    text = registry.read_text()
    registry.write_text("version: 9")
    assert not reloaded.by("limits: {connections: 7}")
    registry.write_text(text)
    assert server._config == before
    assert server.core.limits == before.limits
    assert reloaded.by("limits: {connections: 7}")
    assert server.core.limits.connections == 7


def test_what_is_named_live_is_there_and_no_more() -> None:
    assert {item.name for item in fields(Limits)} >= LIVE
    assert {item.name for item in fields(BrokerConfig)} >= LIVE_SETTINGS
    limits, waiting = live(Limits(), Limits(connections=5, maximum_packet_bytes=9_999))
    assert limits == Limits(connections=5)
    assert waiting == ["maximum_packet_bytes"]


def test_sessions_and_connections_that_are_there_have_the_new_limits() -> None:
    house = House(service_queue=QueueLimits(messages=1, bytes=10_000))
    reader = house.resume("c-1")
    reader.subscribe("a")
    reader.drop()
    writer = house.connect("cw")
    writer.publish("a", b"1", qos=1)
    writer.publish("a", b"lost", qos=1)
    wanted = Limits(
        service_queue=QueueLimits(messages=3, bytes=10_000), subscriptions_per_session=1
    )
    house.core.change_limits(live(house.core.limits, wanted)[0])
    writer.publish("a", b"2", qos=1)
    writer.publish("a", b"3", qos=1)
    writer.publish("a", b"lost too", qos=1)
    back = house.resume("c-1")
    assert back.payloads() == [b"1", b"2", b"3"]
    assert house.core.counters.dropped_queue_full == 2
    back.subscribe("b")
    session = house.core.sessions.get("c-1")
    assert session is not None
    assert list(session.subscriptions) == ["a"], "the quota of subscriptions is the new one"


def test_sighup_takes_up_renewed_certificates_and_the_file(tmp_path: Path) -> None:
    generate(tmp_path / "registry.yaml", devices=["d1"])
    signed = Authority(tmp_path, "one").sign("127.0.0.1")
    config = tmp_path / "broker.yaml"
    files = f"certificate_file: {signed.certificate}, key_file: {signed.key}"
    text = f"listeners: [{{type: tls, port: 0, {files}}}]\nregistry: {{file: registry.yaml}}\n"
    config.write_text(text)
    with Processes(tmp_path) as processes:
        broker = processes.start(
            "broker", [sys.executable, "-m", "broker.server", "--config", str(config)]
        )
        port = int(broker.wait_for(r"ready mqtts://127\.0\.0\.1:(\d+)")[1])

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", port)).strip()

        first = shown()
        certificate, key = Path(signed.certificate), Path(signed.key)
        old = certificate.read_bytes()
        certificate.write_bytes(b"half of a renew")
        broker.popen.send_signal(signal.SIGHUP)
        broker.wait_for(r"ERROR broker nothing is reloaded: certificate ")
        assert shown() == first
        certificate.write_bytes(old)

        other = Authority(tmp_path, "two").sign("127.0.0.1")
        assert (Path(other.certificate), Path(other.key)) == (certificate, key)
        config.write_text(text + "limits: {connections: 77, receive_maximum: 5}\n")
        broker.popen.send_signal(signal.SIGHUP)
        broker.wait_for(r"INFO broker reloaded: certificates and limits\.connections\n")
        broker.wait_for(r"at the next start only: limits\.receive_maximum\n")
        eventually(lambda: shown() != first)
        assert load_config(config).limits.connections == 77
        broker.popen.send_signal(signal.SIGTERM)
        assert broker.wait_for_end(seconds=10) == 0


def test_one_certificate_that_is_wrong_keeps_all_as_they_were(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    signed = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        signed.append(Authority(tmp_path / name, name).sign("127.0.0.1"))
    listeners = tuple(
        Listener(
            type=ListenerType.TLS,
            port=0,
            certificate_file=Path(each.certificate),
            key_file=Path(each.key),
        )
        for each in signed
    )
    running = start(listeners=listeners)
    port = urlsplit(running.server.urls[0]).port
    assert port is not None
    before = ssl.get_server_certificate(("127.0.0.1", port))
    Authority(tmp_path / "one", "renewed").sign("127.0.0.1")
    Path(signed[1].certificate).write_text("half of a renew")
    path = tmp_path / "broker.yaml"
    path.write_text("limits: {connections: 7}")
    assert not running.call(running.server.reload(path))
    assert ssl.get_server_certificate(("127.0.0.1", port)) == before
    assert running.server.core.limits.connections == Limits().connections
    Authority(tmp_path / "two", "renewed").sign("127.0.0.1")
    assert running.call(running.server.reload(path))
    assert ssl.get_server_certificate(("127.0.0.1", port)) != before
