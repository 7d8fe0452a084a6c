"""mosquitto_pub and mosquitto_sub: every QoS, retained, wills, sessions, properties, TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.config import Listener, ListenerType
from tests.broker.server.conftest import Running, eventually
from tests.harness.certificates import Authority

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed"
)
VERSIONS = pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
TELEMETRY, STATE = "devices/d1/telemetry/x", "devices/d1/state"


class Mosquitto:
    """Runs the two programs against one listener."""

    def __init__(self, broker: Running, version: str, *address: str) -> None:
        self.broker = broker
        self._version = version
        self._address = address or ("-p", str(broker.port))

    def command(self, program: str, user: str, client_id: str, *more: str) -> list[str]:
        address = ["-h", "127.0.0.1", *self._address, "-V", self._version]
        login = ["-u", user, "-P", self.broker.passwords[user], "-i", client_id]
        return [program, *address, *login, *more]

    def publish(self, topic: str, payload: str, *more: str) -> None:
        message = ("-t", topic, "-m", payload)
        command = self.command("mosquitto_pub", "d1", "d1", *message, *more)
        subprocess.run(command, check=True, timeout=20)

    @contextmanager
    def subscriber(self, pattern: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """mosquitto_sub, once its subscription stands."""
        before = subscriptions(self.broker)
        command = self.command("mosquitto_sub", "tele", "tele-1", "-t", pattern, "-W", "20", *more)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            eventually(lambda: subscriptions(self.broker) > before or process.poll() is not None)
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def subscriptions(broker: Running) -> int:
    async def count() -> int:
        return sum(len(session.subscriptions) for session in broker.server.core.sessions)

    return broker.call(count())


def lines(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().splitlines()


@VERSIONS
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_messages_arrive_at_every_qos(
    start: Callable[..., Running], tmp_path: Path, version: str, secure: bool
) -> None:
    listener = Listener(port=0)
    address: tuple[str, ...] = ()
    if secure:
        authority = Authority(tmp_path, "tests", identified=True)
        signed = authority.sign("127.0.0.1")
        listener = Listener(
            type=ListenerType.TLS,
            port=0,
            certificate_file=Path(signed.certificate),
            key_file=Path(signed.key),
        )
        address = ("--cafile", authority.file)
    broker = start(listeners=(listener,))
    if secure:
        address += ("-p", str(broker.port))
    programs = Mosquitto(broker, version, *address)
    form = ("-q", "2", "-C", "3", "-F", "%t %q %p")
    with programs.subscriber("devices/+/telemetry/#", *form) as reader:
        for qos in "012":
            programs.publish(TELEMETRY, f"payload {qos}", "-q", qos)
        assert lines(reader) == [f"{TELEMETRY} {qos} payload {qos}" for qos in "012"]


@VERSIONS
def test_a_retained_message_is_there_for_who_comes_later(
    start: Callable[..., Running], version: str
) -> None:
    programs = Mosquitto(start(), version)
    programs.publish(STATE, "on", "-r", "-q", "1")
    with programs.subscriber(STATE, "-C", "1", "-F", "%r %p") as reader:
        assert lines(reader) == ["1 on"]


@VERSIONS
def test_a_will_is_published_when_its_client_is_killed(
    start: Callable[..., Running], version: str
) -> None:
    broker = start()
    programs = Mosquitto(broker, version)
    with programs.subscriber(STATE, "-q", "1", "-C", "1", "-F", "%q %p") as reader:
        will = ("--will-topic", STATE, "--will-payload", "gone", "--will-qos", "1")
        command = programs.command(
            "mosquitto_sub", "d1", "d1", "-t", "devices/d1/commands/#", *will
        )
        before = subscriptions(broker)
        device = subprocess.Popen(command)
        try:
            eventually(lambda: subscriptions(broker) > before)
        finally:
            device.kill()
            device.wait()
        assert lines(reader) == ["1 gone"]


@VERSIONS
def test_a_session_goes_on_where_it_was(start: Callable[..., Running], version: str) -> None:
    programs = Mosquitto(start(), version)
    lasting = ["-c", "-q", "1", *(["-x", "600"] if version == "mqttv5" else [])]
    with programs.subscriber("devices/+/telemetry/#", *lasting):
        pass
    programs.publish(TELEMETRY, "meanwhile", "-q", "1")
    with programs.subscriber("devices/+/telemetry/#", *lasting, "-C", "1") as reader:
        assert lines(reader) == ["meanwhile"]


def test_properties_pass(start: Callable[..., Running]) -> None:
    programs = Mosquitto(start(), "mqttv5")
    form = ("-C", "1", "-F", "%p %C %R %D %P")
    with programs.subscriber("devices/+/telemetry/#", *form) as reader:
        given = [
            ["content-type", "text/x"],
            ["response-topic", "answers"],
            ["correlation-data", "c"],
            ["user-property", "k", "v"],
        ]
        options = [word for each in given for word in ("-D", "publish", *each)]
        programs.publish(TELEMETRY, "x", *options)
        assert lines(reader) == ["x text/x answers c k:v"]
