"""A real mosquitto lets in whom the registry does, by the file of passwords that is exported."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.commandline import mqttbeam
from tests.harness.brokers import Broker, start_mosquitto
from tests.harness.processes import Processes
from tests.harness.waiting import wait_until

ACCEPTED, NOT_AUTHORIZED = 0, 5
"""Return codes of a CONNACK [MQTT-3.2.2-6]."""


def devices(folder: Path, *arguments: str) -> str:
    result = mqttbeam("devices", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def generated(folder: Path, *arguments: str) -> str:
    """The password that a command shows once."""
    return devices(folder, *arguments).split("shown once, password: ")[1].strip()


def connected(broker: Broker, name: str, password: str) -> tuple[socket.socket, int]:
    """A connection after its CONNECT (MQTT 3.1.1), and the return code that it got."""
    texts = [text.encode() for text in (name, name, password)]
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(
        len(text).to_bytes(2, "big") + text for text in texts
    )
    assert len(body) < 128
    client = socket.create_connection((broker.host, broker.port), timeout=20)
    client.sendall(b"\x10" + bytes([len(body)]) + body)
    answer = client.recv(4, socket.MSG_WAITALL)
    assert answer[:3] == b"\x20\x02\x00"
    return client, answer[3]


def code(broker: Broker, name: str, password: str) -> int:
    client, found = connected(broker, name, password)
    client.close()
    return found


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as running:
        yield running


def test_mosquitto_lets_in_whom_the_registry_does(processes: Processes, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    export = ("formats", "export", "mosquitto", file.name)
    devices(tmp_path, "add", "earlier")
    devices(tmp_path, "formats", "add", "mosquitto", "--accept-cost")
    passwords = {name: generated(tmp_path, "add", name) for name in ("stays", "goes", "blocked")}
    role = ("--service", "--role", "telemetry-pipeline", "--client-id-prefix", "pipeline-")
    passwords["pipeline"] = generated(tmp_path, "add", "pipeline", *role)
    (tmp_path / "chosen").write_text("wörd")
    devices(tmp_path, "add", "human", "--password-file", "chosen")
    passwords["human"] = "wörd"
    devices(tmp_path, *export)
    broker = start_mosquitto(processes, tmp_path, password_file=file)
    assert {code(broker, *login) for login in passwords.items()} == {ACCEPTED}
    wrong = [("stays", passwords["goes"]), ("stays", ""), ("nobody", "x"), ("earlier", "")]
    assert {code(broker, *login) for login in wrong} == {NOT_AUTHORIZED}

    with ExitStack() as stack:
        held = {}
        for name in ("stays", "goes", "blocked"):
            held[name], accepted = connected(broker, name, passwords[name])
            stack.enter_context(held[name])
            assert accepted == ACCEPTED
        devices(tmp_path, "remove", "goes")
        devices(tmp_path, "block", "blocked")
        before = passwords["pipeline"]
        passwords["pipeline"] = generated(tmp_path, "rotate", "pipeline", "--overlap", "3600")
        devices(tmp_path, *export)
        assert broker.process is not None
        broker.process.popen.send_signal(signal.SIGHUP)
        # Who is connected and isn't in the file any more is sent away.
        assert [held[name].recv(1) for name in ("goes", "blocked")] == [b"", b""]
        held["stays"].sendall(b"\xc0\x00")
        assert held["stays"].recv(2, socket.MSG_WAITALL) == b"\xd0\x00"
    for name in ("goes", "blocked"):
        assert code(broker, name, passwords[name]) == NOT_AUTHORIZED
    assert code(broker, "pipeline", before) == NOT_AUTHORIZED
    for name in ("stays", "pipeline", "human"):
        assert code(broker, name, passwords[name]) == ACCEPTED

    devices(tmp_path, "unblock", "blocked")
    devices(tmp_path, *export)
    broker.process.popen.send_signal(signal.SIGHUP)
    wait_until(
        lambda: code(broker, "blocked", passwords["blocked"]) == ACCEPTED,
        seconds=20,
        what="who is not blocked any more is let in",
    )
